"""The database of a history, as whoever examines it reads it, on either engine."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.rows import dict_row

from bot.stores.db import Row
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.store import open_sqlite
from bot.stores.store import EngineStore
from tests.fakes.postgres import PostgresServer

SCHEMA = PostgresOptions().schema

Rows = Callable[..., Sequence[Row]]  # of a statement with `?`, and its parameters


class Database(Protocol):
    """A database that may not be there yet."""

    def open(self) -> AbstractAsyncContextManager[EngineStore]:
        """Open the store of the bot on it."""
        ...

    def reading(self) -> AbstractContextManager[Rows]:
        """Read it as it is at one moment, in a context; what has no tables yet raises LookupError."""
        ...

    @property
    def is_scrubbed(self) -> bool:
        """Whether what was deleted has left its files, as far as this engine has that."""
        ...

    def holds(self, words: str) -> bool:
        """Return whether the words are stored anywhere in it."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database file with its write-ahead file; `is_shared` where processes are at work on it while it is read."""

    file: Path
    is_shared: bool = False

    def open(self) -> AbstractAsyncContextManager[EngineStore]:
        return open_sqlite(self.file)

    @property
    def wal(self) -> Path:
        return self.file.with_name(f"{self.file.name}-wal")

    @contextmanager
    def reading(self) -> Generator[Rows]:
        with tempfile.TemporaryDirectory(dir=self.file.parent) as folder:
            file = self.file if self.is_shared else self._copied(Path(folder))
            if not file.exists():
                raise LookupError(file.name)
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.execute("BEGIN")
                if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'slot'").fetchone():
                    raise LookupError("no tables yet")

                def rows(statement: str, *parameters: object) -> Sequence[Row]:
                    return db.execute(statement, parameters).fetchall()

                yield rows

    def _copied(self, folder: Path) -> Path:
        """Copy the files: reading them themselves would tidy up what a kill left."""
        for file in (self.file, self.wal):
            if file.exists():
                shutil.copy(file, folder)
        return folder / self.file.name

    @property
    def is_scrubbed(self) -> bool:
        return not self.wal.stat().st_size

    def holds(self, words: str) -> bool:
        """Return whether the words are in any byte of the files."""
        return any(file.exists() and words.encode() in file.read_bytes() for file in (self.file, self.wal))


@contextmanager
def serving(engine: str) -> Generator[str]:
    """Start what the engine needs, and yield the URL of its server: none for SQLite."""
    if engine == "sqlite":
        yield ""
        return
    server = PostgresServer()
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def new_database(server: str) -> Generator[str]:
    """Make a database on the PostgreSQL server and yield its URL; without a server there is none."""
    if not server:
        yield ""
        return
    name = f"world_{uuid.uuid4().hex}"
    _run(server, f"CREATE DATABASE {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of a PostgreSQL server."""

    url: str

    @property
    def is_scrubbed(self) -> bool:
        return True  # what was deleted leaves its files when the server vacuums them

    def open(self) -> AbstractAsyncContextManager[EngineStore]:
        return open_postgres(self.url)

    @contextmanager
    def reading(self) -> Generator[Rows]:
        with psycopg.connect(self.url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(f'SET LOCAL search_path TO "{SCHEMA}"'.encode())
            if cursor.execute("SELECT to_regclass('slot') AS found").fetchall() == [{"found": None}]:
                raise LookupError("no tables yet")

            def rows(statement: str, *parameters: object) -> Sequence[Row]:
                return cursor.execute(statement.replace("?", "%s").encode(), parameters).fetchall()

            yield rows

    def holds(self, words: str) -> bool:
        try:
            return self._holds(words)
        except LookupError:
            return False

    def _holds(self, words: str) -> bool:
        with self.reading() as rows:
            columns = rows(
                "SELECT table_name AS name, column_name AS part FROM information_schema.columns"
                " WHERE table_schema = ? AND data_type = 'text'",
                SCHEMA,
            )
            return any(
                rows(f'SELECT 1 FROM "{one["name"]}" WHERE strpos("{one["part"]}", ?) > 0 LIMIT 1', words)
                for one in columns
            )
