"""This process among those that share its database, as its adapters see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.ports.cluster import ClusterStore, Member, Slot
from bot.turns.lease import WorkerLease


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCluster:
    """See `bot.ports.cluster.Cluster`. Without a lease the process counts as alive for good."""

    store: ClusterStore
    worker: str
    lease: WorkerLease | None = None

    def is_held(self) -> bool:
        return self.lease is None or self.lease.is_held()

    def on_gap(self, after: Callable[[], Awaitable[None]]) -> None:
        if self.lease is not None:
            self.lease.on_gap(after)

    async def members(self, platform: str) -> Sequence[Member]:
        return [
            member
            for member in await self.store.members()
            if member.worker == self.worker or (platform in member.about.platforms and not member.about.is_draining)
        ]

    async def take(self, name: str, *, rest_s: float = 0.0) -> Slot | None:
        return await self.store.take_slot(name, self.worker, rest_s=rest_s)

    async def note(self, slot: Slot, note: str) -> bool:
        return await self.store.note_slot(slot, note)

    async def give(self, slot: Slot) -> None:
        await self.store.give_slot(slot)

    async def slots(self, prefix: str) -> Sequence[Slot]:
        return await self.store.slots(prefix)

    async def reserve(self, name: str, *, calls: int, period_s: float) -> float:
        return await self.store.reserve(name, calls=calls, period_s=period_s)

    async def hold_back(self, name: str, *, for_s: float) -> None:
        await self.store.hold_back(name, for_s=for_s)
