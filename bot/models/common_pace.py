"""The pace of requests to a model's endpoint that all processes which share a database keep together."""

from __future__ import annotations

import asyncio

from bot.ports.cluster import Cluster

MINUTE_S = 60.0
BURST_SHARE = 1 / 6  # of a minute's requests: endpoints count in windows of 1 to 10 s

LOOK_S = 0.5  # how old what is known of a pause may be: a read for each request costs more than one more refusal


class CommonPace:
    """Gives requests their places at the rates that are set; `name` tells endpoints apart.

    Asks nobody while the process is alone.
    """

    def __init__(
        self, cluster: Cluster, name: str, *, requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> None:
        self._cluster = cluster
        self._name = f"model/{name}"
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._owed = 0.0  # tokens that were used above what was reserved
        self._paused_until = 0.0  # as of the last look, in seconds of the loop's clock, as when that was
        self._pause_seen_at = float("-inf")
        self.are_shared = False  # as of the last look

    async def look(self) -> None:
        """See whether there are other processes."""
        self.are_shared = await self._cluster.has_company()

    def owe(self, tokens: float) -> None:
        """Have the next place make up for tokens that were used, or not used, against what was reserved."""
        if self.are_shared:
            self._owed += tokens

    async def pause(self, for_s: float) -> None:
        """Tell all processes of a pause."""
        await self.look()
        if self.are_shared:
            self._pause_seen_at = float("-inf")
            await self._cluster.pause(self._name, for_s=for_s)

    async def reserve(self, tokens: float) -> float:
        """Take the next place for a request of that size, and return in how many seconds it begins."""
        waits = [await self._pause_s(), await self._request(), await self._tokens(tokens)]
        return max(waits)

    async def _pause_s(self) -> float:
        now = asyncio.get_running_loop().time()
        if now >= self._pause_seen_at + LOOK_S:
            self._pause_seen_at = now
            self._paused_until = now + await self._cluster.paused_s(self._name)
        return max(0.0, self._paused_until - now)

    async def _request(self) -> float:
        if self._requests_per_minute is None:
            return 0.0
        calls = max(1.0, self._requests_per_minute * BURST_SHARE)
        period_s = calls * MINUTE_S / self._requests_per_minute
        return await self._cluster.reserve(f"{self._name}/requests", calls=calls, period_s=period_s)

    async def _tokens(self, tokens: float) -> float:
        limit = self._tokens_per_minute
        if limit is None:
            return 0.0
        amount, self._owed = tokens + self._owed, 0.0
        if amount <= 0:
            self._owed = amount
            return 0.0
        # One that is larger than a minute's tokens goes when the minute is full, as in `Pacer`; the next ones make up.
        self._owed = max(0.0, amount - limit)
        return await self._cluster.reserve(
            f"{self._name}/tokens", calls=limit, period_s=MINUTE_S, amount=min(amount, limit)
        )
