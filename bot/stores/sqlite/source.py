"""An SQLite database that is read out, batch by batch, while nobody writes to it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bot.stores.sqlite.group_commit import store_error
from bot.stores.sqlite.migrate import migrate

OWN_NOTES = "store/%"  # what an engine notes for itself, as LIKE takes it
_WAIT_S = 5.0

Row = tuple[Any, ...]


class Source:
    """The tables of a database that stays as it is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def living(self) -> int:
        """Return how many processes work on the database."""
        return self._one("SELECT count(*) FROM worker WHERE expires_at > ?", time.time())

    def columns(self, table: str) -> Sequence[str]:
        """Return the names of the table's columns."""
        return [name for (name,) in self._connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]

    def count(self, table: str) -> int:
        """Return how many rows the table has, without the engine's own notes."""
        return self._one(f"SELECT count(*) FROM {table} WHERE {_wanted(table)}")  # noqa: S608  (names of our tables)

    def batch(self, table: str, *, after: int, limit: int) -> Sequence[Row]:
        """Return the next rows behind the one with the number `after`, each with its number in front."""
        return self._connection.execute(
            f"SELECT rowid, * FROM {table} WHERE rowid > ? AND {_wanted(table)} ORDER BY rowid LIMIT ?",  # noqa: S608  (names of our tables)
            (after, limit),
        ).fetchall()

    def mark(self, tables: Sequence[str]) -> str:
        """Return a digest that is another one after anything was done on the database."""
        found = [
            [self._row(f"SELECT count(*), max(rowid) FROM {table}") for table in tables],  # noqa: S608  (names of our tables)
            self._row("SELECT total(fence), total(attempts), total(input_tokens), max(ended_at) FROM turn"),
            self._row("SELECT total(window_message_id), total(summary_message_id), max(read_until) FROM conversation"),
            self._row("SELECT total(turns), total(input_tokens), total(output_tokens) FROM spending"),
            self._row("SELECT total(version) FROM ask"),
            self._connection.execute(
                "SELECT name, text FROM note WHERE name NOT LIKE ? ORDER BY name", (OWN_NOTES,)
            ).fetchall(),
        ]
        return hashlib.sha256(json.dumps(found).encode("utf-8", "surrogatepass")).hexdigest()

    def _row(self, statement: str) -> Row:
        return self._connection.execute(statement).fetchone()

    def _one(self, statement: str, *parameters: object) -> int:
        return self._connection.execute(statement, parameters).fetchone()[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _wanted(table: str) -> str:
    return f"name NOT LIKE '{OWN_NOTES}'" if table == "note" else "true"


@contextmanager
def open_source(path: Path) -> Generator[Source]:
    """Open a database that is there, bring its schema up to date, and let nobody write to it while it is open.

    Raises:
        StoreError: It cannot be used: damaged, locked, or written by a newer version.
    """
    try:
        with closing(
            sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        ) as connection:
            connection.text_factory = _text
            migrate(connection)
            connection.execute("BEGIN IMMEDIATE")
            yield Source(connection)
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise store_error(error, name=str(path)) from error
