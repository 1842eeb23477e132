"""A copy of an SQLite database as it is at one moment, also while others write to it; what a file has in it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import StoreError
from bot.stores.sqlite.group_commit import store_error

_WAIT_S = 5.0
_PAGES = 4_000  # from one look at `stop` to the next
# Tells of processes that live now, so of none that will open the copy.
_LEFT_OUT = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a database has: the number of its schema, and how many rows each table has."""

    schema: int
    rows: Mapping[str, int]


def copy_database(source: Path, copy: Path, *, stop: threading.Event) -> Contents:
    """Write what the database has now to the file `copy`, which is not there yet; return what that is. Blocks.

    Nobody has to wait for it. Once `stop` is set, it ends with what it has.

    Raises:
        StoreError: One of the files cannot be used, the database is damaged, or the copy was stopped.
    """

    def heed_stop(_status: int, _remaining: int, _total: int) -> None:
        if stop.is_set():
            raise StoreError("The copy of the database was stopped.")

    with _opened(source) as connection, _opened(copy, mode="rwc", name=str(source)) as target:
        # A transaction that reads sees one state until its end: the copy does not begin again when others write.
        # https://www.sqlite.org/isolation.html
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.backup(target, pages=_PAGES, progress=heed_stop)
        connection.execute("ROLLBACK")
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without others beside it
        target.execute(f"DELETE FROM {_LEFT_OUT}")  # noqa: S608  (a table of ours)
        return _contents(target, name=str(source))


def read_contents(path: Path) -> Contents:
    """Return what the database has. Blocks.

    Raises:
        StoreError: It cannot be used, or it is damaged.
    """
    with _opened(path) as connection:
        return _contents(connection, name=str(path))


def living_workers(path: Path) -> Sequence[str]:
    """Return the processes that work on the database, by the leases in it; none where it is damaged or not there.

    Raises:
        StoreError: Another process has locked it.
    """
    try:
        with _opened(path) as connection:
            found = connection.execute("SELECT id FROM worker WHERE expires_at > ?", (time.time(),)).fetchall()
    except StoreError as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # the primary code, without the extended part
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return []
    return [worker for (worker,) in found]


def _contents(connection: sqlite3.Connection, *, name: str) -> Contents:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        damage = sqlite3.DatabaseError(found)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise store_error(damage, name=name)
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    )
    names = sorted(table for (table,) in tables if table != _LEFT_OUT)
    rows = {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in names}  # noqa: S608  (names of tables)
    return Contents(schema=schema, rows=rows)


@contextmanager
def _opened(path: Path, *, mode: str = "rw", name: str = "") -> Generator[sqlite3.Connection]:
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"  # "rw" makes no file where there is none
        with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise store_error(error, name=name or str(path)) from error
