"""The port to what was used of budgets, and the warnings that were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.domain.budgets import Bound, BudgetWarning, Charge, DueNotice, Spent, Used


class BudgetStore(Protocol):
    """Sums by ledger and period. What turns cost is added in the commits of their steps (`WorkStore`)."""

    async def charge(self, charge: Charge) -> None:
        """Add what was used beside a turn's own steps."""
        ...

    async def used(self, bounds: Sequence[Bound]) -> Sequence[Used]:
        """Return how much of each bound is used, in the same order."""
        ...

    async def spending(self, ledgers: Sequence[str], periods: Sequence[str]) -> Mapping[str, Spent]:
        """Return what the ledgers used together in each of the periods."""
        ...

    async def top_ledgers(self, period: str, *, limit: int) -> Sequence[tuple[str, Spent]]:
        """Return the ledgers that used most in the period: by money, then by tokens."""
        ...

    async def warn(self, warnings: Sequence[BudgetWarning], *, turn_id: int) -> Sequence[BudgetWarning]:
        """Store the warnings that were not given before; return those without a place that belong to this turn.

        Repeated for the same turn it returns the same ones. Those with a place are posted (`due_notices`).
        """
        ...

    async def due_notices(self, *, serves: Sequence[str], retry_s: float) -> Sequence[DueNotice]:
        """Take the notices that are to be posted in these places (prefixes of conversation keys), each in one process.

        One that was taken and is not marked after `retry_s` is taken again.
        """
        ...

    async def mark_notice(self, notice_id: int, *, reference: str) -> None:
        """Store that the notice was posted; without a reference, that its place does not take it."""
        ...
