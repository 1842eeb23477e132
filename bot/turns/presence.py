"""What this process says of itself to those that share its database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.ports.cluster import About
from bot.ports.cluster_store import ClusterStore
from bot.turns.lease import WorkerLease
from bot.turns.leaving import tried


@dataclass(slots=True, kw_only=True)
class Presence:
    """Keeps the row of `worker` true: writes it at its start, after each gap in its lease, and at each `say`."""

    store: ClusterStore
    worker: str
    lease: WorkerLease
    name: str
    version: str
    settings: str  # digests
    policy: Callable[[], str]
    platforms: Sequence[str]
    _started_at: float = field(default_factory=time.time, init=False)
    _is_draining: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.lease.on_gap(self.say)  # the lease's first renewal counts as the end of a gap

    @property
    def about(self) -> About:
        """What it says now."""
        return About(
            name=self.name,
            version=self.version,
            settings=self.settings,
            policy=self.policy(),
            platforms=tuple(self.platforms),
            started_at=self._started_at,
            is_draining=self._is_draining,
        )

    @property
    def is_draining(self) -> bool:
        """Whether it takes nothing new, and ends."""
        return self._is_draining

    async def say(self) -> None:
        """Tell the others how it is now; where the store fails, that is logged, and the next change tells them."""
        await tried("describe the process", self.store.describe(self.worker, self.about))

    async def say_draining(self) -> None:
        """Tell the others that it takes nothing new from now on."""
        self._is_draining = True
        await self.say()
