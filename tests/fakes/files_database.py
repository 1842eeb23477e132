"""The table of files on a real PostgreSQL server, in a schema of its own for each test, and what stands before it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
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


@contextmanager
def cutting(url: str, *, after: bool) -> Generator[str]:
    """Stand before the server, and cut the first connection that commits: before the server has it, or after."""
    upstream = conninfo_to_dict(url)
    server_address = str(upstream["host"]), int(upstream["port"] or 0)
    is_cut = threading.Event()

    def forward(source: socket.socket, sink: socket.socket, *, is_client: bool) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65_536):
                if is_client and b"COMMIT" in data and not is_cut.is_set():
                    is_cut.set()
                    if after:
                        sink.sendall(data)
                    source.shutdown(socket.SHUT_RDWR)
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)

    def serve(door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                server = socket.create_connection(server_address)
                for ends, is_client in (((client, server), True), ((server, client), False)):
                    threading.Thread(target=forward, args=ends, kwargs={"is_client": is_client}, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=serve, args=(door,), daemon=True).start()
        yield make_conninfo(url, port=door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)
        assert is_cut.is_set()
