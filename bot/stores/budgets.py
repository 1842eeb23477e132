"""Budgets on any engine: each method runs one unit of work (`bot/stores/units`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.budgets import Bound, BudgetWarning, Charge, DueNotice, Spent, Used
from bot.stores.base import Units
from bot.stores.units import budgets


class BudgetUnits(Units):
    """See `bot.ports.budget_store.BudgetStore`."""

    async def charge(self, charge: Charge) -> None:
        await self.engine.write(lambda db: budgets.charge(db, charge))

    async def used(self, bounds: Sequence[Bound]) -> Sequence[Used]:
        return await self.engine.read(lambda db: budgets.used(db, bounds)) if bounds else []

    async def spending(self, ledgers: Sequence[str], periods: Sequence[str]) -> Mapping[str, Spent]:
        return await self.engine.read(lambda db: budgets.spending(db, ledgers, periods))

    async def top_ledgers(self, period: str, *, limit: int) -> Sequence[tuple[str, Spent]]:
        return await self.engine.read(lambda db: budgets.top_ledgers(db, period, limit=limit))

    async def warn(self, warnings: Sequence[BudgetWarning], *, turn_id: int) -> Sequence[BudgetWarning]:
        return await self.engine.write(lambda db: budgets.warn(db, warnings, turn_id=turn_id))

    async def due_notices(self, *, serves: Sequence[str], retry_s: float) -> Sequence[DueNotice]:
        now = self._now()
        if not await self.engine.read(lambda db: budgets.has_due_notices(db, serves=serves, now=now, retry_s=retry_s)):
            return []
        return await self.engine.write(lambda db: budgets.due_notices(db, serves=serves, now=now, retry_s=retry_s))

    async def mark_notice(self, notice_id: int, *, reference: str) -> None:
        await self.engine.write(lambda db: budgets.mark_notice(db, notice_id, reference=reference))
