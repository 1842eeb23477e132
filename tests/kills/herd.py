"""Several processes at once on one database, of which one at a time is killed, paused or told to leave."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, replace

from tests.kills import child
from tests.kills.child import Life
from tests.kills.examination import Fault, examine_life
from tests.kills.fate import BEFORE_COMMIT, LAST_LOOKS, LEFT, OVER, Death, Fate, How, Orders
from tests.kills.platform import Seat
from tests.kills.script import Script, random_script
from tests.kills.world import Turns, World

LEASE_S = 1.5  # long enough for a process that only waits for its turn on a busy machine
PAUSE_S = 1.3 * LEASE_S
DRAIN_S = 0.3  # so that those who leave do leave something
HERD_S = 90.0  # a history that has not ended by then is held up by something
LOOK_S = 0.005
MAX_DEATHS = 8  # in one random history
# A process that stops within a transaction holds up all others on SQLite, which has one lock.
NO_PAUSE_AT = {"sqlite": (*LAST_LOOKS, "statement", "commit"), "postgres": LAST_LOOKS}
POINTS = ("call: while it runs", "model stream: in its middle", "ask: after, visible", "post: after, visible")


def random_herd(rng: random.Random, processes: int) -> tuple[Script, tuple[Death, ...]]:
    """Return what is asked of so many processes, and how they die."""
    script = replace(random_script(rng), clears=False)
    return script, tuple(_random_death(rng, processes) for _ in range(rng.randint(2, MAX_DEATHS)))


def _random_death(rng: random.Random, processes: int) -> Death:
    how: How = rng.choice(("kill", "kill", "pause", "leave"))
    seat, rest_s = rng.randrange(processes), rng.choice((0.0, 0.0, 0.3, PAUSE_S))
    if how == "leave" or rng.random() < 0.3:
        # A pause comes at a point that the process reaches, because there are some that no bot can make good.
        how = "kill" if how == "pause" else how
        return Death(how=how, seat=seat, rest_s=rest_s, at_s=rng.uniform(0.0, 0.5))
    if rng.random() < 0.6:
        return Death(how=how, seat=seat, rest_s=rest_s, total=rng.randint(1, 150))
    point = rng.choice((*POINTS, *((BEFORE_COMMIT,) if how == "kill" else ())))
    return Death(how=how, seat=seat, rest_s=rest_s, point=point, nth=rng.randint(1, 4))


@dataclass(slots=True)
class Chair:
    """One place of the herd and the process that sits there."""

    seat: Seat
    world: World  # of its present life
    before: Turns  # what was stored when this life began
    pid: int = 0  # 0: nobody at the moment
    began_at: float = 0.0
    back_at: float = 0.0  # when the next life begins, or this one goes on
    is_paused: bool = False
    is_over: bool = False


class Herd:
    """The lives of one history."""

    def __init__(self, world: World, script: Script, deaths: tuple[Death, ...], *, processes: int) -> None:
        self._script = script
        self._deaths = list(deaths)
        self._orders = Orders()
        self._world = replace(world, is_shared=True)
        self._chairs = [Chair(Seat(number, processes), self._world, {}) for number in range(processes)]
        self._now: Death | None = None  # what is to happen next
        self._lives = 0
        self.happened: dict[How, int] = {"kill": 0, "pause": 0, "leave": 0}
        self.faults: list[Fault] = []

    @property
    def world(self) -> World:
        """The world as the last of the lives sees it."""
        return replace(self._world, life=self._lives)

    def live(self) -> None:
        """Live until each process has ended by itself; those that die are followed by others."""
        ends_at = time.monotonic() + HERD_S
        try:
            while not self.faults and not all(chair.is_over for chair in self._chairs):
                if time.monotonic() > ends_at:
                    self._hold_up()
                    return
                for chair in self._chairs:
                    self._look_after(chair)
                self._order()
                time.sleep(LOOK_S)
        finally:
            for chair in self._chairs:
                _end(chair, signal.SIGKILL)
        if not self.faults:
            self.faults += examine_life(self.world, self._script, {}, status=OVER)

    def _look_after(self, chair: Chair) -> None:
        if chair.is_over:
            return
        if chair.pid == 0:
            if time.monotonic() >= chair.back_at:
                self._begin(chair)
            return
        if chair.is_paused and time.monotonic() >= chair.back_at:
            chair.is_paused, self._now = False, None
            os.kill(chair.pid, signal.SIGCONT)
        pid, status = os.waitpid(chair.pid, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            self.happened["pause"] += 1
            chair.is_paused, chair.back_at = True, time.monotonic() + PAUSE_S
        elif pid:
            self._ended(chair, os.waitstatus_to_exitcode(status))

    def _begin(self, chair: Chair) -> None:
        self._lives += 1
        chair.before = self._world.turns()
        chair.world = self.world
        engine = "postgres" if chair.world.url else "sqlite"
        fate = Fate(Death(), seat=chair.seat.number, orders=self._orders, no_pause_at=NO_PAUSE_AT[engine])
        chair.pid = child.start(
            Life(
                world=chair.world,
                script=self._script,
                fate=fate,
                seat=chair.seat,
                lease_s=LEASE_S,
                drain_s=DRAIN_S,
            )
        )
        chair.began_at = time.monotonic()

    def _ended(self, chair: Chair, status: int) -> None:
        """Take note of the end of a life, and see that it did nothing again that was done before it began."""
        chair.pid, is_told = 0, self._now is not None and self._now.seat == chair.seat.number
        if status == -signal.SIGTERM:  # it was told before it could listen
            status = -signal.SIGKILL
        self.faults += examine_life(chair.world, self._script, chair.before, status=status, is_herd=True)
        if status == OVER:
            chair.is_over = True
        else:
            self.happened["leave" if status == LEFT else "kill"] += 1
        if is_told:
            assert self._now is not None
            self._orders.withdraw()
            chair.back_at = time.monotonic() + self._now.rest_s
            self._now = None

    def _order(self) -> None:
        """Have the next thing happen, to a process that is there; at the earliest when the last one is over."""
        at_work = [chair for chair in self._chairs if chair.pid and not chair.is_paused]
        if self._now is None and self._deaths and at_work:
            death = self._deaths.pop(0)
            chair = next((chair for chair in at_work if chair.seat.number == death.seat), at_work[0])
            self._now = replace(death, seat=chair.seat.number)
            if not death.at_s:
                self._orders.give(self._now)
            self._ordered_at = time.monotonic()
        if self._now is not None and self._now.at_s and time.monotonic() >= self._ordered_at + self._now.at_s:
            number = signal.SIGTERM if self._now.how == "leave" else signal.SIGKILL
            os.kill(self._chairs[self._now.seat].pid, number)
            self._now = replace(self._now, at_s=0.0)

    def _hold_up(self) -> None:
        for chair in self._chairs:
            _end(chair, signal.SIGALRM)
        self.faults.append(Fault(wrong="held up", life=self._lives, sentence=f"not at its end after {HERD_S:.0f} s"))


def _end(chair: Chair, number: signal.Signals) -> None:
    if chair.pid:
        os.kill(chair.pid, number)
        if chair.is_paused:
            os.kill(chair.pid, signal.SIGCONT)
        os.waitpid(chair.pid, 0)
        chair.pid = 0
