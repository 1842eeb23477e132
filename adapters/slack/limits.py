"""How often Slack's methods may be called: its documented rates, and the pauses that it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from bot.domain.errors import RateLimitError

MAX_IDLE_BUCKETS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Burst and sustained rate: `calls` at once, and `calls` in every `period_s` after that."""

    calls: int
    period_s: float
    is_per_channel: bool = False


# https://docs.slack.dev/apis/web-api/rate-limits, and each method's own page. Rates are per workspace and method; a
# burst of a whole minute's calls is tolerated, sustained calls are not.
TIER_2 = Rate(calls=20, period_s=60)
TIER_3 = Rate(calls=50, period_s=60)
TIER_4 = Rate(calls=100, period_s=60)
RATES: Mapping[str, Rate] = {
    "chat.postMessage": Rate(calls=5, period_s=5, is_per_channel=True),  # one a second, "short bursts" allowed
    "chat.startStream": TIER_2,
    "chat.stopStream": TIER_2,
    "reactions.remove": TIER_2,
    "conversations.list": TIER_2,
    "chat.appendStream": TIER_4,
    "chat.postEphemeral": TIER_4,
    "views.open": TIER_4,
    "views.update": TIER_4,
    "views.push": TIER_4,
    "views.publish": TIER_4,
    "users.info": TIER_4,
    "files.info": TIER_4,
    "files.getUploadURLExternal": TIER_4,
    "files.completeUploadExternal": TIER_4,
    "auth.test": Rate(calls=100, period_s=60),  # "hundreds of requests per minute"
    "assistant.threads.setStatus": Rate(calls=600, period_s=60),
}
OTHERS = TIER_3  # chat.update, chat.delete, reactions.add, conversations.history and .replies among them


@dataclass(frozen=True, slots=True)
class Slot:
    """What one limit covers; `channel` is empty where all channels share it."""

    team: str
    method: str
    channel: str = ""


class Limits:
    """Admits calls at Slack's rates. Belongs to one event loop."""

    def __init__(self, rates: Mapping[str, Rate] = RATES) -> None:
        self._rates = rates
        self._buckets: dict[Slot, AsyncLimiter] = {}
        self._closed_until: dict[Slot, float] = {}  # seconds of the loop's clock

    def slot(self, team: str, method: str, channel: str) -> Slot:
        """Return the slot that a call uses."""
        return Slot(team, method, channel if self._rate(method).is_per_channel else "")

    async def admit(self, slot: Slot, *, deadline: float) -> None:
        """Wait until a call may be made, and count it.

        Raises:
            RateLimitError: It may not be made before `deadline` (seconds of the loop's clock).
        """
        await self._opened(slot, deadline)
        await self._counted(slot, deadline)
        await self._opened(slot, deadline)  # Slack may have asked for a pause meanwhile

    def close(self, slot: Slot, *, for_s: float) -> None:
        """Admit no call for `for_s` seconds, as Slack asked."""
        now = asyncio.get_running_loop().time()
        self._closed_until = {slot: until for slot, until in self._closed_until.items() if until > now}
        self._closed_until[slot] = max(now + for_s, self._closed_until.get(slot, 0.0))

    async def _opened(self, slot: Slot, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while (until := self._closed_until.get(slot, 0.0)) > (now := loop.time()):
            if until > deadline:
                raise RateLimitError(retry_after_s=until - now)
            await asyncio.sleep(until - now)

    async def _counted(self, slot: Slot, deadline: float) -> None:
        bucket = self._bucket(slot)
        if bucket.has_capacity():
            await bucket.acquire()
            return
        try:
            async with asyncio.timeout_at(deadline):
                await bucket.acquire()
        except TimeoutError:
            raise RateLimitError(retry_after_s=bucket.time_period / bucket.max_rate) from None

    def _bucket(self, slot: Slot) -> AsyncLimiter:
        bucket = self._buckets.get(slot)
        if bucket is None:
            if len(self._buckets) >= MAX_IDLE_BUCKETS:
                # A full bucket is as good as a new one.
                self._buckets = {
                    key: kept for key, kept in self._buckets.items() if not kept.has_capacity(kept.max_rate)
                }
            rate = self._rate(slot.method)
            bucket = self._buckets[slot] = AsyncLimiter(rate.calls, rate.period_s)
        return bucket

    def _rate(self, method: str) -> Rate:
        return self._rates.get(method, OTHERS)
