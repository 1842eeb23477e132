"""The engine on PostgreSQL: units as transactions side by side; see `bot.stores.db.Engine`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from bot.ports.cluster import Topic
from bot.stores.db import Db, Unit
from bot.stores.postgres.lines import Line
from bot.stores.postgres.listening import Listener
from bot.stores.postgres.options import MIN_CONNECTIONS
from bot.stores.postgres.session import Session
from bot.stores.postgres.transactions import Transactions
from bot.stores.waiting import settled

T = TypeVar("T")

READS_APART = 3  # connections beside the listening one from which on one is kept for reading


class PostgresEngine:
    """Runs each unit on one of a few connections.

    One of them is kept for what is urgent, so that a heartbeat waits for no other unit; where there may be only two or
    three connections, reading shares it. One listens.
    """

    def __init__(
        self, transactions: Transactions, listener: Listener, session: Callable[[], Session], *, connections: int
    ) -> None:
        self._transactions = transactions
        self._listener = listener
        self._written: set[asyncio.Future[Any]] = set()  # what is not committed yet
        working = max(connections, MIN_CONNECTIONS) - 1
        reading = 1 if working >= READS_APART else 0
        self._urgent = Line([session()], name="urgent")
        self._reads = Line([session()], name="reader") if reading else self._urgent
        writers = [session() for _ in range(working - 1 - reading)]
        self._writes = Line(writers, name="writer") if writers else self._urgent

    async def read(self, unit: Unit[T]) -> T:
        return await self._reads.put(partial(_read, self._transactions, unit))

    async def read_behind(self, unit: Unit[T]) -> T:
        if self._written:
            await asyncio.wait(set(self._written))
        return await self.read(unit)

    def write(self, unit: Unit[T], *, is_urgent: bool = False, of: Hashable = None) -> Awaitable[T]:
        line = self._urgent if is_urgent else self._writes
        result = line.put(partial(_write, self._transactions, unit), is_urgent=is_urgent, of=of)
        self._written.add(result)
        result.add_done_callback(self._written.discard)
        return settled(result)

    def listen(self, hear: Callable[[Topic], None]) -> None:
        self._listener.add(hear)

    async def scrub(self) -> bool:
        return True  # PostgreSQL's vacuum removes what was deleted

    async def scrub_at_start(self) -> bool:
        return False

    async def check(self) -> None:
        """Read all rows: a checksum that is wrong, where the server keeps them, is an error."""
        await self.read(_read_all)

    async def close(self) -> None:
        """End the threads after the work that waits, and close their connections."""
        lines = {self._urgent, self._reads, self._writes}
        for line in lines:
            line.close()
        await asyncio.gather(*(asyncio.to_thread(line.join) for line in lines))
        await self._listener.close()


def _read(transactions: Transactions, unit: Unit[T], session: Session) -> T:
    return transactions.read(session, unit)


def _write(transactions: Transactions, unit: Unit[T], session: Session) -> T:
    return transactions.write(session, unit)


def _read_all(db: Db) -> None:
    tables = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema ORDER BY tablename")
    for table in tables:
        db.execute(f'SELECT count(*) FROM "{table["tablename"]}"')  # noqa: S608  (no outside text)
