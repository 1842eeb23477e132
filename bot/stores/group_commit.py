"""One writer for one SQLite connection: units of work that arrive together share a transaction and its one flush."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiosqlite

from bot.errors import BotError, StoreError

T = TypeVar("T")
Unit = Callable[[aiosqlite.Connection], Awaitable[T]]

MAX_BATCH = 500  # units; bounds how long the first of them waits for the last


@dataclass(slots=True)
class _Waiting:
    unit: Unit[Any]
    result: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Refused:
    error: BotError


class GroupCommit:
    """Commits what has gathered while the commit before was under way.

    A unit may run a second time when the database fails a neighbour in its batch: it must do nothing but statements
    on the connection it is given. It may refuse with a BotError, but only before its first write.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._is_closed = False

    async def run(self, unit: Unit[T], *, is_urgent: bool = False) -> T:
        """Return the unit's result once it is durable; an urgent unit goes before those that wait.

        A cancelled caller waits for the commit all the same, so it never has to guess what was stored.

        Raises:
            BotError: The unit's own refusal.
            StoreError: The database failed; nothing of the unit was kept.
        """
        if self._is_closed:
            raise StoreError("The database is closed.")
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(unit, result)
        if is_urgent:
            self._waiting.appendleft(waiting)
        else:
            self._waiting.append(waiting)
        self._work.set()
        return await settled(result)

    async def write(self) -> None:
        """Commit batches until `close` was called and nothing waits any more."""
        while self._waiting or not self._is_closed:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                await self._settle(batch)

    def close(self) -> None:
        """Take no more units; `write` returns after those that wait."""
        self._is_closed = True
        self._work.set()

    async def _settle(self, batch: list[_Waiting]) -> None:
        try:
            await self._begin()
        except Exception as error:  # noqa: BLE001  (handed to the callers)
            for waiting in batch:  # at once: one after the other they could wait for a lock for minutes
                waiting.result.set_exception(_translate(error))
            return
        try:
            outcomes = await self._commit(batch)
        except Exception as error:  # noqa: BLE001  (handed to the callers)
            if len(batch) == 1:
                batch[0].result.set_exception(_translate(error))
                return
            for waiting in batch:  # one bad unit must not fail its neighbours
                await self._settle([waiting])
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, _Refused):
                waiting.result.set_exception(outcome.error)
            else:
                waiting.result.set_result(outcome)

    async def _begin(self) -> None:
        await self._roll_back()  # what a failed rollback may have left open
        await self._connection.execute_fetchall("BEGIN IMMEDIATE")

    async def _commit(self, batch: list[_Waiting]) -> list[Any]:
        try:
            outcomes = [await self._run(waiting.unit) for waiting in batch]
            await self._connection.execute_fetchall("COMMIT")
        except BaseException:
            await self._roll_back()
            raise
        return outcomes

    async def _run(self, unit: Unit[Any]) -> Any:
        try:
            return await unit(self._connection)
        except BotError as error:  # nothing was written: the batch goes on without it
            return _Refused(error)

    async def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite itself rolls back on some errors, a full disk among them
            await self._connection.execute_fetchall("ROLLBACK")


async def settled(result: asyncio.Future[T]) -> T:
    """Return the future's result; a cancellation is passed on only after the future is done."""
    cancelled: asyncio.CancelledError | None = None
    while not result.done():
        try:
            await asyncio.shield(result)
        except asyncio.CancelledError as error:
            if result.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001  (raised below, by result())
            break
    if cancelled is not None:
        raise cancelled
    return result.result()


def _translate(error: Exception) -> StoreError:
    translated = (
        store_error(error)
        if isinstance(error, sqlite3.Error)
        else StoreError(f"The database failed: {type(error).__name__}.")
    )
    translated.__cause__ = error
    return translated


def store_error(error: sqlite3.Error) -> StoreError:
    """Return the sentence for an SQLite error, with what an operator can do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without the extended part
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            cure = "another process has locked it; end that process or try again"
        case sqlite3.SQLITE_FULL:
            cure = "the disk is full; free some space"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            cure = "the file is damaged; restore a backup, or move it away to start with an empty one"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            cure = "the file cannot be opened for writing; check the folder and its permissions"
        case _:
            cure = f"{type(error).__name__} {getattr(error, 'sqlite_errorname', '')}".strip()
    return StoreError(f"The database refused to work: {cure}.")
