"""How an attempt leaves its turn: to another process, to a later attempt, or for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

from bot.domain.errors import AdapterError, BotError, LeaseLostError, StoreUnreachableError
from bot.domain.turns import Paused
from bot.ports.platform import Adapter
from bot.ports.store import Store
from bot.ports.work_store import Lease
from bot.turns.handing_over import HandOver, TurnHandedOver
from bot.turns.limits import Limits

log = structlog.stdlib.get_logger(__name__)

SETTLE_S = 0.5  # for a call to the platform that is under way, before the turn is handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Gives up the turn of `lease`; `tell` shows observers that it pauses."""

    lease: Lease
    store: Store
    adapter: Adapter
    limits: Limits
    hand_over: HandOver
    tell: Callable[[Paused], None]

    async def for_another(self) -> None:
        """Hand the turn over once nothing of it is being written here: its next holder looks for what was written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.adapter.settle(self.lease.turn_id)
        while not await tried("let the turn go", self.store.give_back(self.lease, is_spent=False)):  # noqa: ASYNC110  (a store sets no event)
            await asyncio.sleep(self.limits.retry_s)

    async def after(self, error: Exception, *, is_replied: bool) -> Literal["for a later attempt", "for good"]:
        """Leave the turn for a later attempt after a pause, or end it where its answer will never be posted."""
        is_hopeless = is_replied and self._is_hopeless(error)
        is_spent = not isinstance(error, StoreUnreachableError)  # of that the turn can do nothing
        wait_s = self.limits.wait_after(self.lease.attempt)
        if not is_hopeless:
            await self._pause(error, wait_s)
        while not await tried("let the turn go", self._let_go(is_hopeless=is_hopeless, is_spent=is_spent)):  # noqa: ASYNC110  (a store sets no event)
            await asyncio.sleep(wait_s)
        return "for good" if is_hopeless else "for a later attempt"

    async def _pause(self, error: Exception, wait_s: float) -> None:
        reason = str(error) if isinstance(error, BotError) else "The bot itself failed at this."
        self.tell(Paused(reason=reason, wait_s=wait_s))
        with suppress(TurnHandedOver):
            async with self.hand_over.leavable():
                await asyncio.sleep(wait_s)

    async def _let_go(self, *, is_hopeless: bool, is_spent: bool) -> None:
        if is_hopeless:
            await self.store.abandon(self.lease)
        else:
            await self.store.give_back(self.lease, is_spent=is_spent)

    def _is_hopeless(self, error: Exception) -> bool:
        if isinstance(error, AdapterError):  # it was delivered for as long as that makes sense
            return True
        return not isinstance(error, BotError) and self.lease.attempt > self.limits.max_attempts


async def tried(purpose: str, work: Awaitable[None]) -> bool:
    """Do the work; return False where the store failed at it, which is logged. A lost lease needs no more tries."""
    try:
        await work
    except LeaseLostError:
        log.warning("turn_taken_over")
    except BotError as error:
        log.warning("store_failed", purpose=purpose, error=str(error))
        return False
    return True
