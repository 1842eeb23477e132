"""A count over all processes that the test answers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, cast

from bot.domain.people import Actor
from bot.intake.rates import CommonCount
from bot.ports.cluster import LoneCluster
from bot.ports.cluster_store import Counted

NO_STORE = cast("Any", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCount(CommonCount):
    """Counts the first thing, and says so only after `arrive`; refuses all others at once."""

    cluster: LoneCluster = field(default_factory=LoneCluster)
    store: Any = NO_STORE
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    arrive: asyncio.Event = field(default_factory=asyncio.Event)

    async def count(self, what: str, actor: Actor, keys: Collection[str], *, per_minute: int) -> Counted:
        if self.was_asked.is_set():
            return Counted(wait_s=30.0)
        self.was_asked.set()
        await self.arrive.wait()
        return Counted()
