"""The engine on PostgreSQL: units as transactions side by side; see `bot.stores.db.Engine`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from bot.ports.cluster_store import Topic
from bot.stores.db import Unit
from bot.stores.postgres.database import LOCK_TIMEOUT_S, STATEMENT_TIMEOUT_S
from bot.stores.postgres.lines import Line
from bot.stores.postgres.listening import Listener
from bot.stores.postgres.options import MIN_CONNECTIONS
from bot.stores.postgres.session import Session
from bot.stores.postgres.transactions import Transactions
from bot.stores.waiting import settled

T = TypeVar("T")

WATCH_S = 1.0
ANSWER_S = STATEMENT_TIMEOUT_S + 5.0  # a server that works ends every statement before
URGENT_ANSWER_S = LOCK_TIMEOUT_S + 1.0
READS_APART = 3  # with that many besides the listening one, one connection is kept for reading


class PostgresEngine:
    """Runs each unit on one of a few connections.

    One of them is kept for what is urgent, so that a heartbeat waits for no other unit; where there may be only two or
    three connections, reading shares it. One listens.
    """

    keeps_files = True

    def __init__(
        self, transactions: Transactions, listener: Listener, session: Callable[[], Session], *, connections: int
    ) -> None:
        self._transactions = transactions
        self._listener = listener
        self._written: set[asyncio.Future[Any]] = set()  # what is not committed yet
        working = max(connections, MIN_CONNECTIONS) - 1
        reading = 1 if working >= READS_APART else 0
        self._sessions = [session() for _ in range(working)]
        urgent, *others = self._sessions
        self._urgent = Line([urgent], name="urgent")
        self._reads = Line(others[:reading], name="reader") if reading else self._urgent
        self._writes = (
            Line(others[reading:], name="writer", together=transactions.write_together)
            if others[reading:]
            else self._urgent
        )
        self._watching = asyncio.create_task(self._watch(), name="store:watching")

    async def read(self, unit: Unit[T]) -> T:
        return await self._reads.put(partial(_read, self._transactions, unit, time.monotonic()))

    async def read_behind(self, unit: Unit[T]) -> T:
        if self._written:
            await asyncio.wait(set(self._written))
        return await self.read(unit)

    def write(self, unit: Unit[T], *, is_urgent: bool = False, of: Hashable = None) -> Awaitable[T]:
        line = self._urgent if is_urgent else self._writes
        work = partial(_write, self._transactions, unit, time.monotonic())
        result = line.put(work, is_urgent=is_urgent, of=of, unit=unit)
        self._written.add(result)
        result.add_done_callback(self._written.discard)
        return settled(result)

    def listen(self, hear: Callable[[Topic], None]) -> None:
        self._listener.add(hear)

    def measure(self, committed: Callable[[int], None]) -> None:
        self._writes.measure = committed

    async def scrub(self) -> bool:
        return True  # PostgreSQL's vacuum removes what was deleted

    async def scrub_at_start(self) -> bool:
        return False

    async def check(self) -> None:
        """See whether PostgreSQL answers: it checks its pages as it reads them, and `pg_amcheck` all of them."""
        await self.read(lambda db: db.execute("SELECT count(*) FROM worker"))

    async def close(self) -> None:
        """End the threads after the work that waits, and close their connections."""
        lines = {self._urgent, self._reads, self._writes}
        for line in lines:
            line.close()
        await asyncio.gather(*(asyncio.to_thread(line.join) for line in lines))
        self._watching.cancel()
        await self._listener.close()

    async def _watch(self) -> None:
        urgent, *others = self._sessions
        while True:
            await asyncio.sleep(WATCH_S)
            urgent.cut_stuck(URGENT_ANSWER_S)
            for session in others:
                session.cut_stuck(ANSWER_S)


def _read(transactions: Transactions, unit: Unit[T], asked_at: float, session: Session) -> T:
    return transactions.read(session, unit, asked_at)


def _write(transactions: Transactions, unit: Unit[T], asked_at: float, session: Session) -> T:
    return transactions.write(session, unit, asked_at)
