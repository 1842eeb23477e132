"""One writer for one SQLite connection: units of work that arrive together share a transaction and its one flush."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.domain.errors import BotError, StoreError
from bot.stores.db import Db, Unit
from bot.stores.sqlite.connection import Connection, SqliteDb
from bot.stores.waiting import settled

T = TypeVar("T")

MAX_BATCH = 500  # units; bounds how long the first of them waits for the last


@dataclass(slots=True)
class _Waiting:
    unit: Unit[Any]
    result: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BotError


class GroupCommit:
    """Commits what has gathered while the commit before was under way.

    A batch of units crosses to the connection's thread once. A unit runs a second time when the database fails a
    neighbour in its batch.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._is_closed = False
        self.measure: Callable[[int], None] | None = None  # called with the size of each batch

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

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        units = [waiting.unit for waiting in batch]
        try:
            outcomes = await self._connection.run(lambda connection: _commit(connection, units))
        except Exception as error:  # noqa: BLE001  (handed to the callers)
            outcomes = _all_failed(units, error)
        if self.measure is not None:
            self.measure(len(batch))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, _Failed):
                waiting.result.set_exception(outcome.error)
            else:
                waiting.result.set_result(outcome)


def _commit(connection: sqlite3.Connection, units: Sequence[Unit[Any]]) -> list[Any]:
    """Return each unit's result, or how it failed, once the transaction that they share has ended."""
    try:
        roll_back(connection)  # what a failed rollback may have left open
        connection.execute("BEGIN IMMEDIATE")
    except Exception as error:  # noqa: BLE001  (handed to the callers)
        return _all_failed(units, error)  # at once: one after the other they could wait for a lock for minutes
    try:
        return _run_all(connection, units)
    except Exception as error:  # noqa: BLE001  (handed to the callers)
        if len(units) == 1:
            return _all_failed(units, error)
    return [outcome for unit in units for outcome in _commit(connection, [unit])]  # a bad unit fails no neighbour


def _run_all(connection: sqlite3.Connection, units: Sequence[Unit[Any]]) -> list[Any]:
    db = SqliteDb(connection)
    try:
        outcomes = [_run(db, unit) for unit in units]
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return outcomes


def _run(db: Db, unit: Unit[Any]) -> Any:
    try:
        return unit(db)
    except BotError as error:  # nothing was written: the batch goes on without it
        return _Failed(error)


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that is open, if there is one."""
    if connection.in_transaction:  # SQLite itself rolls back on some errors, a full disk among them
        connection.execute("ROLLBACK")


def _all_failed(units: Sequence[Unit[Any]], error: Exception) -> list[Any]:
    return [_Failed(_translate(error)) for _ in units]


def _translate(error: Exception) -> StoreError:
    translated = (
        store_error(error)
        if isinstance(error, sqlite3.Error)
        else StoreError(f"The database failed: {type(error).__name__}.")
    )
    translated.__cause__ = error
    return translated


def store_error(error: sqlite3.Error, *, name: str = "") -> StoreError:
    """Return the sentence for an SQLite error, with what an operator can do; `name` is only for operators."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without the extended part
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            cure = "another process has locked it; end that process or try again"
        case sqlite3.SQLITE_FULL:
            cure = "the disk is full; free some space"
        case sqlite3.SQLITE_IOERR:
            fault = getattr(error, "sqlite_errorname", "")
            cure = f"the disk is full or fails ({fault}); free some space, or see what the system's log says of it"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            cure = "the file is damaged; restore a backup, or move it away to start with an empty one"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            cure = "the file cannot be opened for writing; check the folder and its permissions"
        case _:
            cure = f"{type(error).__name__} {getattr(error, 'sqlite_errorname', '')}".strip()
    database = f"database {name}" if name else "database"
    return StoreError(f"The {database} refused to work: {cure}.")
