"""How shards are assigned to processes: each is a slot, whose note says how far its session has come."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from adapters.discord.private_parts import Position
from bot.domain.errors import StoreError
from bot.ports.cluster import Cluster, Slot

MAX_PROCESSES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the holder of a shard leaves for the next one."""

    position: Position | None = None  # all dispatches up to it are dealt with
    at: float = 0.0  # when that was so, in seconds since the epoch; 0: it is not known

    @classmethod
    def of(cls, text: str) -> Note:
        """Return the note of a slot; an empty one where it cannot be read."""
        with suppress(ValueError, TypeError, KeyError):
            said = json.loads(text)
            position = said.get("position")
            return cls(position=Position(**position) if position else None, at=float(said["at"]))
        return cls()

    def __str__(self) -> str:
        position = self.position
        kept = {"session": position.session, "seq": position.seq, "gateway": position.gateway} if position else None
        return json.dumps({"at": round(self.at, 3), "position": kept})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A shard and the slot for it, which says who holds it."""

    number: int
    count: int  # of all shards
    slot: Slot

    @property
    def note(self) -> Note:
        """What its last holder left."""
        return Note.of(self.slot.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Who holds what."""

    processes: Sequence[str] = ()  # workers that take shards, always in the same order
    assignments: Sequence[Assignment] = ()  # of all shards that ever were, held or not

    @property
    def count(self) -> int:
        """How many shards there are; 0 while nobody holds one."""
        return max((assignment.count for assignment in self.assignments if assignment.slot.is_held), default=0)

    def of(self, count: int) -> Sequence[Assignment]:
        """Return the slots of the shards where there are that many."""
        return [assignment for assignment in self.assignments if assignment.count == count]

    def quota(self, worker: str, count: int) -> int:
        """Return how many of the shards are to be the worker's; one process more or less moves as few as possible."""
        if worker not in self.processes:
            return 0
        each, left = divmod(count, len(self.processes))
        return each + (self.processes.index(worker) < left)


class Assignments:
    """Takes and gives up shards; see `docs/data.md` for the names of the slots."""

    def __init__(self, cluster: Cluster, *, application: str) -> None:
        self.root = f"discord/{application}"
        self._cluster = cluster

    async def look(self) -> Seen:
        """Return who holds what, this process among those that take shards. Raises StoreError."""
        slots = await self._cluster.slots(f"{self.root}/")
        seen = _seen(slots, root=self.root)
        if self._cluster.worker in seen.processes:
            return seen
        await self._join([slot.name for slot in slots if slot.is_held])
        return _seen(await self._cluster.slots(f"{self.root}/"), root=self.root)

    async def take(self, running: Collection[int], recommend: Callable[[], Awaitable[int]]) -> Sequence[Assignment]:
        """Take what this process lacks of its quota besides what is running; none while another process does so.

        One at a time does it, so that there are never two counts of shards.

        Raises:
            StoreError, AdapterError: It failed; what was taken is found by `look`.
        """
        plan = await self._cluster.take(f"{self.root}/plan")
        if plan is None:
            return []
        try:
            seen = await self.look()
            count = seen.count or await recommend()
            lacking = max(0, seen.quota(self._cluster.worker, count) - len(running))
            others = {assignment.number for assignment in seen.of(count) if self._is_others(assignment.slot)}
            free = [number for number in range(count) if number not in others and number not in running]
            return [assignment for number in free[:lacking] if (assignment := await self._take(number, count))]
        finally:
            await self._cluster.give(plan)

    async def give(self, assignment: Assignment, note: Note | None) -> None:
        """Give the shard up with a note for the next holder; None leaves the last one. Raises StoreError."""
        if note is None or await self._cluster.note(assignment.slot, str(note)):
            await self._cluster.give(assignment.slot)

    async def note(self, assignment: Assignment, note: Note) -> bool:
        """Keep the note; return False where another process holds the shard. Raises StoreError."""
        return await self._cluster.note(assignment.slot, str(note))

    async def leave(self) -> None:
        """Stop taking part: give up all that this process still holds. Raises StoreError."""
        for slot in await self._cluster.slots(f"{self.root}/"):
            if slot.is_held and slot.worker == self._cluster.worker:
                await self._cluster.give(slot)

    def _is_others(self, slot: Slot) -> bool:
        return slot.is_held and slot.worker != self._cluster.worker

    async def _take(self, number: int, count: int) -> Assignment | None:
        slot = await self._cluster.take(f"{self.root}/shard/{number}/of/{count}")
        return None if slot is None else Assignment(number=number, count=count, slot=slot)

    async def _join(self, held: Sequence[str]) -> None:
        for number in range(MAX_PROCESSES):
            name = f"{self.root}/process/{number:03}"
            if name not in held and await self._cluster.take(name) is not None:
                return
        raise StoreError(f"More than {MAX_PROCESSES} processes take Discord's shards.")


def _seen(slots: Sequence[Slot], *, root: str) -> Seen:
    processes = [slot.worker for slot in slots if slot.is_held and slot.name.startswith(f"{root}/process/")]
    assignments = [assignment for slot in slots if (assignment := _assignment(slot, root=root)) is not None]
    return Seen(processes=list(dict.fromkeys(processes)), assignments=sorted(assignments, key=lambda one: one.number))


def _assignment(slot: Slot, *, root: str) -> Assignment | None:
    number, _, count = slot.name.removeprefix(f"{root}/shard/").partition("/of/")
    if not (number.isdecimal() and count.isdecimal()):
        return None
    return Assignment(number=int(number), count=int(count), slot=slot)
