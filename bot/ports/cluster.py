"""The port to the processes that share a database: which are alive, and the slots that one of them holds at a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a process says of itself."""

    name: str = ""  # PROCESS_NAME
    version: str = ""
    settings: str = ""  # digests: processes of one bot are to have the same
    policy: str = ""
    platforms: tuple[str, ...] = ()  # names of adapters
    started_at: float = 0.0  # seconds since the epoch
    is_draining: bool = False  # it takes nothing new, and ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A living process."""

    worker: str
    expires_at: float  # when its lease runs out unless it is renewed, in seconds since the epoch
    about: About = field(default_factory=About)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one process holds at a time, such as a shard. It is held as long as its holder's lease runs."""

    name: str
    worker: str  # empty where it was given up
    fence: int  # grows with each new holder
    taken_at: float  # seconds since the epoch
    note: str = ""  # what the holder left for the next one
    is_held: bool = False  # its holder lives


class Cluster(Protocol):
    """The processes that share the database, as an adapter of one of them sees them."""

    @property
    def worker(self) -> str:
        """This process, as the store knows it."""
        ...

    def is_held(self) -> bool:
        """Return whether others must think that this process lives; where not, they may have taken all its slots."""
        ...

    def on_gap(self, after: Callable[[], Awaitable[None]]) -> None:
        """Have `after` awaited once the process lives again after a time in which others may have taken its slots."""
        ...

    async def members(self, platform: str) -> Sequence[Member]:
        """Return the living processes that serve the platform and do not end, with this one. Raises StoreError."""
        ...

    async def take(self, name: str, *, rest_s: float = 0.0) -> Slot | None:
        """Take the slot for this process; see `ClusterStore.take_slot`. Raises StoreError."""
        ...

    async def note(self, slot: Slot, note: str) -> bool:
        """See `ClusterStore.note_slot`. Raises StoreError."""
        ...

    async def give(self, slot: Slot) -> None:
        """See `ClusterStore.give_slot`. Raises StoreError."""
        ...

    async def slots(self, prefix: str) -> Sequence[Slot]:
        """See `ClusterStore.slots`. Raises StoreError."""
        ...

    async def has_company(self, platform: str = "") -> bool:
        """Return whether another living process serves the platform (any: ""); one that ends counts until it has ended.

        Costs a read every few seconds. Never raises: while the store fails, a process keeps to its own rates as if it
        were alone.
        """
        ...

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        """See `ClusterStore.reserve`. Never raises: where the store fails, the place begins now."""
        ...

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        """See `ClusterStore.hold_back`. Never raises."""
        ...

    async def pause(self, name: str, *, for_s: float) -> None:
        """Tell all processes of a pause where nothing else is counted, unless a longer one is known. Never raises."""
        ...

    async def paused_s(self, name: str) -> float:
        """Return how long such a pause still lasts. Never raises."""
        ...

    async def is_first(self, name: str, *, within_s: float, platform: str = "", is_lasting: bool = False) -> bool:
        """Return whether no other process has said so within that time.

        A process that is alone is always first, unless it `is_lasting`: then one that has ended counts too.
        The caller keeps in mind what it did itself: asked again, this process is first again. Never raises: where the
        store fails, it is first. Telling people twice does less harm than not telling them.
        """
        ...


@dataclass(slots=True)
class LoneCluster:
    """Satisfies `Cluster` for a process that shares its slots with no other: it gets all that it takes."""

    worker: str = "alone"
    kept: dict[str, Slot] = field(default_factory=dict[str, Slot])

    def is_held(self) -> bool:
        """Return True."""
        return True

    def on_gap(self, after: Callable[[], Awaitable[None]]) -> None:
        """Do nothing: there is none."""

    async def members(self, platform: str) -> Sequence[Member]:
        """Return this process."""
        return [Member(worker=self.worker, expires_at=float("inf"), about=About(platforms=(platform,)))]

    async def take(self, name: str, *, rest_s: float = 0.0) -> Slot | None:
        """Give it the slot, unless it was taken too short a time ago."""
        now, before = time.time(), self.kept.get(name)
        if before is not None and before.taken_at > now - rest_s:
            return None
        slot = self.kept[name] = Slot(
            name=name,
            worker=self.worker,
            fence=before.fence + 1 if before else 1,
            taken_at=now,
            note=before.note if before else "",
            is_held=True,
        )
        return slot

    async def note(self, slot: Slot, note: str) -> bool:
        """Keep the note."""
        if not self._is_own(slot):
            return False
        self.kept[slot.name] = replace(self.kept[slot.name], note=note)
        return True

    async def give(self, slot: Slot) -> None:
        """Free the slot."""
        if self._is_own(slot):
            self.kept[slot.name] = replace(self.kept[slot.name], worker="", is_held=False)

    async def slots(self, prefix: str) -> Sequence[Slot]:
        """Return those that were taken."""
        return [self.kept[name] for name in sorted(self.kept) if name.startswith(prefix)]

    async def has_company(self, platform: str = "") -> bool:
        """Return False."""
        return False

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        """Return 0: the process keeps to its own rates."""
        return 0.0

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        """Do nothing."""

    async def pause(self, name: str, *, for_s: float) -> None:
        """Do nothing."""

    async def paused_s(self, name: str) -> float:
        """Return 0."""
        return 0.0

    async def is_first(self, name: str, *, within_s: float, platform: str = "", is_lasting: bool = False) -> bool:
        """Return True."""
        return True

    def _is_own(self, slot: Slot) -> bool:
        return slot.name in self.kept and self.kept[slot.name].fence == slot.fence
