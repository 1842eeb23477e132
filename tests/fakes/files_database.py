"""The table of files on a real PostgreSQL server, in a schema of its own for each test, and what stands before it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from tests.fakes import postgres

MIGRATION = Path(__file__).parents[2] / "bot" / "stores" / "postgres" / "migrations" / "0014_files.sql"


@dataclass(frozen=True, kw_only=True)
class FilesDatabase:
    """A schema with the table; `url` is that of the server."""

    url: str
    schema: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement in the schema, by a connection of its own."""
        with psycopg.connect(self.url, autocommit=True, options=f"-c search_path={self.schema}") as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def with_option(self, name: str, value: str) -> str:
        """Return the URL with one option more."""
        return make_conninfo(self.url, **{name: value})

    def cut(self) -> int:
        """End all other connections, as a restart of the server does; return how many there were."""
        return len(
            self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tool%'")
        )


@contextmanager
def files_database(schema: str = "") -> Generator[FilesDatabase]:
    """Make a schema with the table; it goes at the end."""
    database = FilesDatabase(url=postgres.server().url, schema=schema or postgres.new_schema())
    with psycopg.connect(database.url, autocommit=True) as connection:
        name = Identifier(database.schema)
        connection.execute(SQL("CREATE SCHEMA {}").format(name))
        connection.execute(SQL("SET search_path TO {}").format(name))
        connection.execute(MIGRATION.read_bytes())
        yield database
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(name))


class Door:
    """Where clients of the server come in: each chunk that a client sends goes through `passes`, which may cut it."""

    def __init__(self, url: str, passes: Callable[[bytes, socket.socket], bool]) -> None:
        upstream = conninfo_to_dict(url)
        self._server = str(upstream["host"]), int(upstream["port"] or 0)
        self._passes = passes
        self._ends: list[socket.socket] = []
        self._is_shut = False
        self.refused = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(url, port=self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self) -> None:
        """Cut all clients, and hang up on those that come."""
        self._is_shut = True
        for end in self._ends:
            _hang_up(end)

    def open(self) -> None:
        """Let clients in again."""
        self._is_shut = False

    def close(self) -> None:
        """End all of it."""
        self.shut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_shut:
                    client.close()
                    self.refused.set()
                    continue
                server = socket.create_connection(self._server)
                self._ends += (client, server)
                threading.Thread(target=self._forward, args=(client, server, self._passes), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, _pass), daemon=True).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, passes: Callable[[bytes, socket.socket], bool]
    ) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65_536):
                if not passes(data, sink):
                    _hang_up(source)
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


def _pass(_data: bytes, _sink: socket.socket) -> bool:
    return True


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def pausing(url: str) -> Generator[tuple[str, Door]]:
    """Stand before the server; yield the URL there, and what can be shut and opened."""
    door = Door(url, _pass)
    try:
        yield door.url, door
    finally:
        door.close()


@contextmanager
def cutting(url: str, *, after: bool) -> Generator[str]:
    """Stand before the server, and cut the first connection that commits: before the server has it, or after."""
    is_cut = threading.Event()

    def passes(data: bytes, sink: socket.socket) -> bool:
        if b"COMMIT" not in data or is_cut.is_set():
            return True
        is_cut.set()
        if after:
            sink.sendall(data)
        return False

    door = Door(url, passes)
    try:
        yield door.url
        assert is_cut.is_set()
    finally:
        door.close()
