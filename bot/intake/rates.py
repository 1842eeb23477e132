"""How often one person may do something: what is too much is refused once, then in silence, until it works again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog
from cachetools import LRUCache

from bot.domain.answers import Refused
from bot.domain.errors import StoreError
from bot.domain.people import Actor
from bot.ports.cluster import Cluster
from bot.ports.cluster_store import ClusterStore, Counted

log = structlog.stdlib.get_logger(__name__)

WINDOW_S = 60.0
MAX_PEOPLE = 10_000  # remembered at once; the one who was silent longest is forgotten first
MIN_PAUSE_S = 10.0  # so that a person who does not stop reads this six times a minute at most


@dataclass(slots=True)
class _Pause:
    until: float
    unsaid: int = 0  # how often something was refused in silence


class Pauses:
    """People who did too much of one kind (`what`, as a plural) and are not listened to for a while.

    Times are seconds of one clock.
    """

    def __init__(self, what: str, *, per_minute: int) -> None:
        self._what = what
        self._per_minute = per_minute
        self._pauses: LRUCache[str, _Pause] = LRUCache(MAX_PEOPLE)

    def begin(self, person: str, now: float, *, wait_s: float) -> Refused:
        """Listen to the person again in `wait_s` seconds or a little later; the notice says when."""
        self._pauses[person] = _Pause(until=now + max(wait_s, MIN_PAUSE_S))
        log.info("asked_too_often", person=person, what=self._what)
        pause_s = math.ceil(max(wait_s, MIN_PAUSE_S))
        return Refused(
            notice=f"That is more than {self._most} in a minute. "
            f"Please try again in {pause_s} s; I will not answer any more until then."
        )

    @property
    def _most(self) -> str:
        is_word = " " not in self._what
        return f"one {self._what[:-1]}" if self._per_minute == 1 and is_word else f"{self._per_minute} {self._what}"

    def follow(self, person: str, now: float, counted: Counted) -> Refused:
        """Refuse what was one too many over all processes; only one of them says so."""
        if not counted.is_told:
            return self.begin(person, now, wait_s=counted.wait_s)
        self._pauses[person] = _Pause(until=now + counted.wait_s)
        self.holds(person, now)
        return Refused(notice="")

    def holds(self, person: str, now: float) -> bool:
        """Return whether the person is not listened to now. Counted, and logged less and less often."""
        pause = self._pauses.get(person)
        if pause is None or now >= pause.until:
            return False
        pause.unsaid += 1
        if math.log10(pause.unsaid).is_integer():  # at 1, 10, 100 and so on: 1,000 refusals are no 1,000 lines
            log.info("left_unanswered", person=person, what=self._what, count=pause.unsaid)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonCount:
    """Counts what people do over all processes, in the store."""

    cluster: Cluster
    store: ClusterStore

    async def count(self, what: str, actor: Actor, keys: Collection[str], *, per_minute: int) -> Counted | None:
        """Count one thing that the person does; return None where this process is to count it by itself.

        That is where it has no company, and where the store fails: then what is to be stored fails as well, and says
        so.
        """
        if not await self.cluster.has_company(actor.platform):
            return None
        try:
            return await self.store.count(
                f"{what}/{actor}", keys=keys, calls=per_minute, period_s=WINDOW_S, rest_s=MIN_PAUSE_S
            )
        except StoreError as error:
            log.warning("not_counted_for_all", what=what, error=str(error))
            return None


class Allowance:
    """So many events a minute for each person: all at once, or spread. A repeated key costs nothing.

    It keeps one number and one key for each person.
    """

    def __init__(self, what: str, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._what = what
        self._per_minute = per_minute
        self._clock = clock
        self._pauses = Pauses(what, per_minute=per_minute)
        self._spent: LRUCache[str, tuple[float, str]] = LRUCache(MAX_PEOPLE)  # when all is there again; the last key

    def spend(self, person: str, key: str) -> Refused | None:
        """Count the event; return why it is refused, or None. A refusal without a notice was said before."""
        now = self._clock()
        restored_at, last = self._spent.get(person, (now, ""))
        if last == key:
            return None
        if self._pauses.holds(person, now):
            return Refused(notice="")
        restored_at = self._restored_at(restored_at, now)
        if (wait_s := restored_at - now - WINDOW_S) > WINDOW_S / self._per_minute * 1e-6:
            return self._pauses.begin(person, now, wait_s=wait_s)
        self._spent[person] = restored_at, key
        return None

    def _restored_at(self, before: float, now: float) -> float:
        return max(before, now) + WINDOW_S / self._per_minute

    async def spend_of_all(self, actor: Actor, key: str, common: CommonCount) -> Refused | None:
        """Do what `spend` does, over all processes. Of these no minute holds more than the rate, also after a burst."""
        person, now = str(actor), self._clock()
        if self._spent.get(person, (now, ""))[1] == key:
            return None
        if self._pauses.holds(person, now):
            return Refused(notice="")
        counted = await common.count(self._what, actor, [key], per_minute=self._per_minute)
        if counted is None:
            return self.spend(person, key)
        if counted.wait_s:
            return self._pauses.follow(person, now, counted)
        # Meanwhile a later one may have been refused, and begun a pause that is not this one's.
        self._spent[person] = self._restored_at(self._spent.get(person, (now, ""))[0], now), key
        return None

    def is_paused(self, person: str) -> bool:
        """Return whether the person was refused and has to wait; counted as one more refusal."""
        return self._pauses.holds(person, self._clock())
