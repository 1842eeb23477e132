"""The port to what processes know of each other; see `bot.ports.store`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.ports.cluster import About, Member, Slot

# What other processes hear of at once, and would find by looking: a turn may be claimed, something was asked of a
# running turn, something is asked of people or was decided.
Topic = Literal["work", "signals", "asks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What became of a call that was to be counted."""

    wait_s: float = 0.0  # 0.0: it was counted, now or before; otherwise in how many seconds one would be
    is_told: bool = False  # an earlier call was refused, and its caller was asked to wait then


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What one process announced to all for a while."""

    text: str
    for_s: float  # how long it still holds


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTurns:
    """What has not ended yet."""

    count: int = 0  # without those that wait for people
    queued: int = 0  # of `count`: no process has begun them
    waiting: int = 0  # for people
    oldest_at: float | None = None  # when the oldest of `count` was accepted, in seconds since the epoch
    oldest_waiting_at: float | None = None  # likewise, of `waiting`


class ClusterStore(Protocol):
    """What processes know of each other."""

    async def describe(self, worker: str, about: About) -> None:
        """Keep what a living worker says of itself."""
        ...

    async def members(self) -> Sequence[Member]:
        """Return the workers whose lease has not run out, in the order in which they started."""
        ...

    async def take_slot(self, name: str, worker: str, *, rest_s: float = 0.0) -> Slot | None:
        """Give the slot to `worker`; None where another that lives holds it, or it was taken less than `rest_s` ago.

        A worker that holds it already takes it again: then too the fence grows, and `rest_s` counts.
        """
        ...

    async def note_slot(self, slot: Slot, note: str) -> bool:
        """Keep the note for the next holder; False where another process has taken the slot since."""
        ...

    async def give_slot(self, slot: Slot) -> None:
        """Give the slot up, unless another process has taken it since; its note stays."""
        ...

    async def slots(self, prefix: str) -> Sequence[Slot]:
        """Return the slots whose names begin so, by name."""
        ...

    async def open_turns(self) -> OpenTurns:
        """Return how much is open, of all processes and of those that are gone."""
        ...

    async def spend(self, name: str, *, calls: int, period_s: float, key: str = "") -> float:
        """Count one of `calls` in `period_s` over all processes; return 0.0, or in how many seconds it would count.

        A key that was counted last under that name costs nothing.
        """
        ...

    async def count(
        self, name: str, *, keys: Collection[str], calls: int, period_s: float, rest_s: float = 0.0
    ) -> Counted:
        """Count a call where fewer than `calls` were within the last `period_s`, over all processes.

        One that has a key of a call within that time was counted before. The first that is one too many begins a rest
        of at least `rest_s`, in which none is counted; those within it are `is_told`.
        """
        ...

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        """Take the next place among `calls` in `period_s` over all processes; return in how many seconds it begins.

        Where it would begin later than `within_s`, none is taken. `amount` is how many of the calls this one counts as.
        """
        ...

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        """Have no place of that name begin within `for_s` seconds: the service that it is for has asked for a pause.

        From then on places begin one after the other, at the rate of the others.
        """
        ...

    async def announce(self, name: str, text: str | None, *, for_s: float = 0.0) -> None:
        """Announce the text to all processes under that name for `for_s` seconds; None: withdraw what was announced or
        counted there."""
        ...

    async def announced(self, name: str) -> Announcement | None:
        """Return what is announced under that name."""
        ...

    async def forget_rates(self, *, unused_s: float) -> int:
        """Forget rates, counts and announcements that have meant nothing for `unused_s` seconds; return how many."""
        ...

    def listen(self, hear: Callable[[Topic], None]) -> None:
        """Call `hear`, on the event loop, when another process may have committed something of the topic.

        An engine that cannot know never calls it; all of it can also be found by looking.
        """
        ...
