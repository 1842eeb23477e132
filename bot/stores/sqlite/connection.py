"""One SQLite connection beside an event loop, through aiosqlite.

aiosqlite crosses to the connection's thread and back once for each statement, and a crossing costs more than a
statement. Here a whole function of the connection crosses once. That needs `_execute` and `_thread`, which are
aiosqlite's own: they are used in this file only, and its version is pinned.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import aiosqlite

from bot.ports.cluster_store import Topic
from bot.stores.db import Db, Last
from bot.stores.waiting import settled

T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """Runs plain functions of a connection in its thread, one after the other. Transactions are left to them.

    Entering raises sqlite3.Error where the file cannot be opened.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, thread: str) -> None:
        connect = partial(sqlite3.connect, path, timeout=busy_timeout_s, isolation_level=None)
        super().__init__(connect, iter_chunk_size=1)
        self._thread.name = thread

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what the work returns. When its caller is cancelled, the work goes on to its end unseen."""
        return cast("T", await self._execute(work, self._conn))  # pyright: ignore[reportUnknownMemberType]

    async def __aenter__(self) -> Self:
        try:
            await super().__aenter__()
        except BaseException:
            self._thread.join()  # aiosqlite has ended it
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await settled(asyncio.ensure_future(self.close()))
        finally:
            self._thread.join()  # at its end already


class SqliteDb:
    """Statements on a connection, from within its thread; see `bot.stores.db.Db`."""

    __slots__ = ("_execute", "_executemany")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Sequence[sqlite3.Row]:
        return self._execute(statement, parameters).fetchall()

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        self._executemany(statement, rows)

    def for_update(self, of: str, *, skips: bool = False) -> str:
        return ""  # one transaction writes at a time

    def lock(self, name: str) -> None:
        pass

    def write_last(self, what: Last, write: Callable[[Db, Sequence[T]], None], items: Sequence[T], /) -> None:
        write(self, items)

    def notify(self, topic: Topic) -> None:
        pass  # SQLite cannot: others look
