"""A bucket of calls: how many may be made at once, whose turn it is, and what a refusal changes.

Pure: `now` is given, in seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from bot.domain.rota import Rota, Share

AGING_S = 10.0  # progress that has waited this long takes its turn among the answers: it must not starve
RESERVED = 0.8  # the share of a bucket that progress leaves to the answers that follow it ...
RESERVED_S = 2.0  # ... while it has not waited for this long
REGROW_S = 60.0  # without a refusal, until the ceiling rises by one
# After a refusal, calls are this much slower than documented: one that arrives a millisecond early costs a second.
CAUTION = 1.05
_ALMOST = 1e-9  # rounding
OWN = Share("")  # of calls that the bot makes for no one


class Priority(IntEnum):
    """What goes first where not all can go at once."""

    ANSWER = 0
    PROGRESS = 1  # traces, notices, answers that are still growing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Burst and sustained rate: `calls` at once, and `calls` in every `period_s` after that.

    It holds for a workspace; `per_channel` is the rate in each of its channels, where there is one.
    """

    calls: int
    period_s: float
    per_channel: Rate | None = None


@dataclass(slots=True, eq=False)
class Caller:
    """A caller that has waited since `since`, and the share that its call counts against."""

    priority: Priority
    since: float
    share: Share = OWN

    def at(self, now: float) -> Priority:
        """Return its priority at that time: progress that has waited for long counts as an answer."""
        return Priority.ANSWER if now - self.since >= AGING_S else self.priority

    @property
    def held_until(self) -> float:
        """Return when what is reserved for answers is open to this caller."""
        return float("-inf") if self.priority == Priority.ANSWER else self.since + RESERVED_S


@dataclass(slots=True)
class Bucket:
    """Calls that can be made now, up to a ceiling that refusals lower. Full at the beginning."""

    rate: Rate
    now: float
    ceiling: int = field(init=False)
    level: float = field(init=False)
    _filled_at: float = field(init=False)  # after a refusal in the future: the end of the pause
    _lowered_at: float = field(default=float("-inf"), init=False)
    _grown_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.ceiling, self.level = self.rate.calls, float(self.rate.calls)
        self._filled_at = self.now

    def is_full(self, now: float) -> bool:
        """Return whether it is as good as a new one."""
        self._fill(now)
        return self.level >= self.rate.calls

    @property
    def reserve(self) -> float:
        """Return the level from which on calls are open to all."""
        return max(1.0, RESERVED * self.ceiling)

    def wait_s(self, now: float, level: float) -> float:
        """Return how long it takes until the level is reached, if no call is made meanwhile."""
        self._fill(now)
        missing = level - self.level
        refill_s = missing * self._refill_s if missing > _ALMOST else 0.0
        return max(0.0, self._filled_at - now) + refill_s

    def take(self) -> None:
        """Count a call."""
        self.level -= 1

    def refuse(self, now: float, *, sent_at: float, retry_after_s: float) -> None:
        """Take note that the platform refused a call, which was sent at `sent_at`, and asked for a pause.

        The bucket is empty until then. The ceiling is halved, once for all calls that were under way together.
        """
        self._fill(now)
        if sent_at >= self._lowered_at:
            self.ceiling = max(1, self.ceiling // 2)
            self._lowered_at = now
        self._grown_at = now
        self._filled_at = max(now + retry_after_s, self._filled_at)
        self.level = 1.0  # then: the platform says that one call can be made

    @property
    def _refill_s(self) -> float:
        caution = CAUTION if self.ceiling < self.rate.calls else 1.0
        return caution * self.rate.period_s / self.rate.calls

    def _fill(self, now: float) -> None:
        if now > self._filled_at:
            self.level += (now - self._filled_at) / self._refill_s
            self._filled_at = now
        if self.ceiling < self.rate.calls:
            grown = int((now - self._grown_at) // REGROW_S)
            self._grown_at += grown * REGROW_S
            self.ceiling = min(self.ceiling + grown, self.rate.calls)
        self.level = min(self.level, self.ceiling)


class Line:
    """Callers in order: answers first; then people take turns, and so do each one's conversations; then by arrival.

    However many calls one person causes, another person's waits only for a few of them.
    """

    def __init__(self) -> None:
        self._callers: list[Caller] = []
        self._rota = Rota()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._callers)

    def join(self, caller: Caller) -> None:
        """Begin to wait."""
        self._callers.append(caller)
        self._rota.join(caller.share)

    def leave(self, caller: Caller) -> None:
        """Wait no longer."""
        self._callers.remove(caller)
        self._rota.leave(caller.share)

    def serve(self, caller: Caller) -> None:
        """Take the caller out, as it was its turn."""
        self._callers.remove(caller)
        self._rota.serve(caller.share)

    def head(self, now: float) -> Caller:
        """Return whose turn it is; at least one caller must wait."""
        return min(self._callers, key=lambda each: (each.at(now), self._rota.rank(each.share), each.since))

    def ahead(self, caller: Caller, now: float) -> int:
        """Return how many go first, at least.

        These are the earlier ones of the same share and, of each other person, as many answers less one: that person's
        turn may have just been.
        """
        own = sum(
            each.share == caller.share and each.at(now) <= caller.at(now) and each.since <= caller.since
            for each in self._callers
        )
        others = Counter(
            each.share.person
            for each in self._callers
            if each.share.person != caller.share.person and each.at(now) == Priority.ANSWER
        )
        return own + sum(min(count, max(0, own - 1)) for count in others.values())


class Queue:
    """The callers that wait for one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._line = Line()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._line

    def join(self, caller: Caller) -> None:
        """Begin to wait."""
        self._line.join(caller)

    def leave(self, caller: Caller) -> None:
        """Wait no longer."""
        self._line.leave(caller)

    def wait_s(self, caller: Caller, now: float) -> float:
        """Return how long a caller that joined now would wait at least, unless others leave."""
        return self._wait_s(caller, now, ahead=self._line.ahead(caller, now))

    def admit(self, now: float) -> list[Caller]:
        """Return the callers that can go now, in order; they wait no longer, and their calls are counted."""
        admitted: list[Caller] = []
        while self._line and self._wait_s(caller := self._line.head(now), now) <= 0:
            self._line.serve(caller)
            self.bucket.take()
            admitted.append(caller)
        return admitted

    def next_s(self, now: float) -> float | None:
        """Return in how many seconds to admit again; None: nobody waits."""
        return self._wait_s(self._line.head(now), now) if self._line else None

    def _wait_s(self, caller: Caller, now: float, *, ahead: int = 0) -> float:
        """Return how long it takes until the caller can call, after so many others."""
        open_s = self.bucket.wait_s(now, ahead + self.bucket.reserve)
        return min(open_s, max(self.bucket.wait_s(now, ahead + 1.0), caller.held_until - now))
