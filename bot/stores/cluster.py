"""What processes know of each other, on any engine: each method runs one unit of work (`bot/stores/units`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from bot.ports.cluster import About, Member, Slot
from bot.ports.cluster_store import Announcement, Counted, OpenTurns, Topic
from bot.stores.base import Units
from bot.stores.units import cluster, counts


class ClusterUnits(Units):
    """See `bot.ports.cluster_store.ClusterStore`."""

    async def describe(self, worker: str, about: About) -> None:
        await self.engine.write(lambda db: cluster.describe(db, worker, about))

    async def members(self) -> Sequence[Member]:
        return await self.engine.read(lambda db: cluster.members(db, cutoff=self._leases.cutoff()))

    async def take_slot(self, name: str, worker: str, *, rest_s: float = 0.0) -> Slot | None:
        return await self.engine.write(
            lambda db: cluster.take_slot(db, name, worker, rest_s=rest_s, now=self._now(), cutoff=self._leases.cutoff())
        )

    async def note_slot(self, slot: Slot, note: str) -> bool:
        return await self.engine.write(lambda db: cluster.note_slot(db, slot, note))

    async def give_slot(self, slot: Slot) -> None:
        await self.engine.write(lambda db: cluster.give_slot(db, slot))

    async def slots(self, prefix: str) -> Sequence[Slot]:
        return await self.engine.read(lambda db: cluster.slots(db, prefix, cutoff=self._leases.cutoff()))

    async def open_turns(self) -> OpenTurns:
        return await self.engine.read(cluster.open_turns)

    async def spend(self, name: str, *, calls: int, period_s: float, key: str = "") -> float:
        return await self.engine.write(
            lambda db: cluster.spend(db, name, calls=calls, period_s=period_s, key=key, now=self._now())
        )

    async def count(
        self, name: str, *, keys: Collection[str], calls: int, period_s: float, rest_s: float = 0.0
    ) -> Counted:
        return await self.engine.write(
            lambda db: counts.count(db, name, keys=keys, calls=calls, period_s=period_s, rest_s=rest_s, now=self._now())
        )

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        return await self.engine.write(
            lambda db: cluster.reserve(
                db, name, each_s=period_s / calls * amount, period_s=period_s, within_s=within_s, now=self._now()
            )
        )

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        held_s = for_s + period_s - period_s / calls
        await self.engine.write(lambda db: cluster.hold_back(db, name, until=self._now() + held_s))

    async def announce(self, name: str, text: str | None, *, for_s: float = 0.0) -> None:
        await self.engine.write(lambda db: counts.announce(db, name, text, until=self._now() + for_s))

    async def announced(self, name: str) -> Announcement | None:
        return await self.engine.read(lambda db: counts.announced(db, name, now=self._now()))

    async def forget_rates(self, *, unused_s: float) -> int:
        return await self.engine.write(lambda db: cluster.forget_rates(db, self._now() - unused_s))

    def listen(self, hear: Callable[[Topic], None]) -> None:
        self.engine.listen(hear)
