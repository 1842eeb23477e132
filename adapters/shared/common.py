"""The rates of a platform that hold for all processes on one database together.

A process that is alone asks nobody for a place in a rate.
"""

from __future__ import annotations

import asyncio

from adapters.shared.buckets import CAUTION, Caller, Rate
from adapters.shared.gates import Turnstile
from bot.domain.errors import RateLimitError
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.giving_up import sleep

HOLD_S = 300.0  # longer than any call waits for its place


class CommonRates:
    """Rates of a platform that hold for all processes together. Belongs to one event loop.

    A call passes the process's own gate first, so that who goes first here is decided here; then it takes its place
    among the calls of all. Only one call of a rate asks for a place at a time: one that is more urgent and comes later
    goes before those that wait behind it.
    """

    def __init__(self, cluster: Cluster | None = None, *, platform: str = "") -> None:
        self._cluster = cluster or LoneCluster()
        self._platform = platform
        self._lines = Turnstile(hold_s=HOLD_S)

    async def passed(self, name: str, rate: Rate, caller: Caller, *, deadline: float) -> None:
        """Wait for the call's place in the rate of that name.

        Raises:
            RateLimitError: It comes after `deadline`, in seconds of the loop's clock; none was taken. Or waiting was
                given up.
        """
        if not await self._cluster.has_company(self._platform):
            return
        now = asyncio.get_running_loop().time
        async with self._lines.passed(name, caller, wait_s=max(0.0, deadline - now())):
            left_s = max(0.0, deadline - now())
            # Clocks and networks differ between processes: a call that arrives a millisecond early costs a second.
            period_s = CAUTION * rate.period_s
            wait_s = await self._cluster.reserve(
                f"{self._platform}/{name}", calls=rate.calls, period_s=period_s, within_s=left_s
            )
            if wait_s > left_s or not await sleep(wait_s):
                raise RateLimitError(retry_after_s=wait_s)

    async def refuse(self, name: str, rate: Rate, *, retry_after_s: float) -> None:
        """Tell all processes of a pause that the platform asks for."""
        if await self._cluster.has_company(self._platform):
            await self._cluster.hold_back(
                f"{self._platform}/{name}", calls=rate.calls, period_s=CAUTION * rate.period_s, for_s=retry_after_s
            )
