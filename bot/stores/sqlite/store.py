"""The store on an SQLite file: WAL, synchronous=FULL, one writer with group commit, one reader beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from bot.domain.errors import StoreError
from bot.keeping.private import make_folder
from bot.ports.cluster_store import Topic
from bot.stores.db import Unit
from bot.stores.leases import LeaseClock
from bot.stores.sqlite.connection import Connection, SqliteDb
from bot.stores.sqlite.group_commit import GroupCommit, store_error
from bot.stores.sqlite.migrate import migrate
from bot.stores.sqlite.scrubbing import REWRITTEN_BYTES, is_due, rewrite, truncate_wal
from bot.stores.store import EngineStore
from bot.stores.waiting import settled

BUSY_TIMEOUT_S = 5.0
SCRUB_S = 1.0  # how long a caller waits until others have read what is in the write-ahead file
SCRUB_PAUSE_S = 0.1
SCRUB_LATER_S = 5.0  # until it is tried again in the background

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite(
    path: Path,
    *,
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] | None = None,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    rewritten_bytes: int = REWRITTEN_BYTES,
    scrub_later_s: float = SCRUB_LATER_S,
) -> AsyncGenerator[EngineStore]:
    """Open the database file, making it and its folder where they are missing, and bring its schema up to date.

    `now` gives seconds since the epoch, `steady` seconds of a clock that is never set; without it that is the system's,
    or `now` itself where that was given. `rewritten_bytes` and `scrub_later_s` are for `scrub`: how large a file may be
    to be written again at once, and when the write-ahead file is tried again.

    Raises:
        StoreError: The file cannot be used: no permission, damaged, locked, or written by a newer version.
    """
    _make_private_file(path)
    async with (
        _connected(path, busy_timeout_s, thread="store-writer") as writer,
        _connected(path, busy_timeout_s, thread="store-reader") as reader,
    ):
        await writer.run(migrate)
        await reader.run(lambda connection: connection.execute("PRAGMA query_only = ON"))
        commits = GroupCommit(writer)
        engine = SqliteEngine(commits, reader, writer, rewritten_bytes=rewritten_bytes)
        writing = asyncio.create_task(commits.write(), name="store:writer")
        scrubbing = asyncio.create_task(engine.scrub_later(every_s=scrub_later_s), name="store:scrubbing")
        try:
            steady = steady or (time.monotonic if now is time.time else now)
            yield EngineStore(engine, now, leases=LeaseClock(now, steady))
        finally:
            scrubbing.cancel()
            await asyncio.wait([scrubbing])
            commits.close()
            await settled(writing)


class SqliteEngine:
    """See `bot.stores.db.Engine`."""

    keeps_files = False

    def __init__(
        self, commits: GroupCommit, reader: Connection, writer: Connection, *, rewritten_bytes: int = REWRITTEN_BYTES
    ) -> None:
        self._commits = commits
        self._reader = reader
        self._writer = writer  # only for what is no unit: it runs between two commits
        self._rewritten_bytes = rewritten_bytes
        self._is_left = asyncio.Event()  # something is in the write-ahead file that was to leave it

    async def read(self, unit: Unit[T]) -> T:
        try:
            return await self._reader.run(lambda connection: unit(SqliteDb(connection)))
        except sqlite3.Error as error:
            raise store_error(error) from error

    async def read_behind(self, unit: Unit[T]) -> T:
        return await self.write(unit)  # they are written in turn

    def write(self, unit: Unit[T], *, is_urgent: bool = False, of: Hashable = None) -> Awaitable[T]:
        return self._commits.run(unit, is_urgent=is_urgent)

    def listen(self, hear: Callable[[Topic], None]) -> None:
        pass  # SQLite cannot tell

    def measure(self, committed: Callable[[int], None]) -> None:
        self._commits.measure = committed

    async def scrub(self) -> bool:
        is_rewritten = await self._run(partial(rewrite, max_bytes=self._rewritten_bytes))
        for _ in range(int(SCRUB_S / SCRUB_PAUSE_S)):
            if await self._run(truncate_wal):
                return is_rewritten
            await asyncio.sleep(SCRUB_PAUSE_S)
        self._is_left.set()
        return False

    async def scrub_at_start(self) -> bool:
        if not await self._run(is_due):
            return False
        await self._run(partial(rewrite, max_bytes=None))
        await self._run(truncate_wal)
        return True

    async def scrub_later(self, *, every_s: float) -> None:
        """Empty the write-ahead file whenever `scrub` had to leave that, once nobody reads it; never returns."""
        while True:
            await self._is_left.wait()
            await asyncio.sleep(every_s)
            with suppress(StoreError):  # every other use of the database reports it
                if await self._run(truncate_wal):
                    self._is_left.clear()

    async def _run(self, work: Callable[[sqlite3.Connection], bool]) -> bool:
        try:
            return await self._writer.run(work)
        except sqlite3.Error as error:
            raise store_error(error) from error

    async def check(self) -> None:
        (row,) = await self.read(lambda db: db.execute("PRAGMA quick_check(1)"))
        if row["quick_check"] != "ok":
            damage = sqlite3.DatabaseError(row["quick_check"])
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise store_error(damage) from damage


def _make_private_file(path: Path) -> None:
    try:
        make_folder(path.parent)
        # Conversations are private: only the owner reads them. SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened ({error.strerror}). Check the folder, or set TOOLBRIDGE_HOME."
        ) from error


@asynccontextmanager
async def _connected(path: Path, busy_timeout_s: float, *, thread: str) -> AsyncGenerator[Connection]:
    try:
        async with Connection(path, busy_timeout_s=busy_timeout_s, thread=thread) as connection:
            await connection.run(lambda db: _set_up(db, busy_timeout_s))
            yield connection
    except sqlite3.Error as error:
        raise store_error(error, name=str(path)) from error


def _set_up(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    connection.row_factory = sqlite3.Row
    _use_wal(connection, busy_timeout_s)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Where two processes make one file at the same moment, SQLite refuses here without waiting.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
        else:
            return
