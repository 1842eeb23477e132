"""The histories: where each life is killed, and what is counted when all is quiet again."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from bot.turns.limits import LEASE_S
from tests.kills import child
from tests.kills.child import Life
from tests.kills.database import new_database
from tests.kills.examination import Fault, examine_end, examine_life
from tests.kills.fate import BEFORE_COMMIT, LAST_LOOKS, Death, Fate, How
from tests.kills.herd import Herd, random_herd
from tests.kills.script import Script, random_script
from tests.kills.world import World

PAUSED_LEASE_S = 0.3  # of lives that are paused for longer than that
LIFE_S = 20.0  # a life that has not ended by then is held up by something
MAX_KILLS = 5  # in one random history


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One script, lived in as many lives as there are deaths, and one more."""

    name: str  # finds it again
    row: str  # of the table
    script: Script
    deaths: tuple[Death, ...]
    is_paused: bool = False  # the first life is stopped instead, wakes in the second, and both go on
    processes: int = 1  # at once; where there are several, one at a time dies


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a history."""

    history: History
    lives: int
    kills: int
    answers: int = 0
    faults: tuple[Fault, ...] = ()
    census: Mapping[str, int] = field(default_factory=dict[str, int])  # of the last life
    happened: Mapping[How, int] = field(default_factory=dict[How, int])  # of several processes
    folder: Path


# --- the histories ---------------------------------------------------------------------------------------------


def enumerate_points(
    name: str,
    script: Script,
    folder: Path,
    *,
    server: str = "",
    without: Sequence[str] = (),
    only: Sequence[str] = ("",),
    most: int = sys.maxsize,
) -> list[History]:
    """Return an undisturbed history, and one for each point of it, each time it is reached, that dies there.

    `only` and `without` are beginnings of their names. Of a point that is reached more than `most` times there are that
    many, from the first time to the last.
    """
    undisturbed = History(name=f"{name}: undisturbed", row="undisturbed", script=script, deaths=())
    points = _points_of(undisturbed, folder, without, server=server, only=only, most=most)
    return [
        undisturbed,
        *(
            History(name=f"{name}: {point}: {nth}", row=point, script=script, deaths=(Death(point=point, nth=nth),))
            for point, nth in points
        ),
    ]


def enumerate_pauses(name: str, script: Script, folder: Path, *, server: str = "") -> list[History]:
    """Return a history for each point of one conversation at which a process can be paused and do no harm later."""
    undisturbed = History(name=name, row="undisturbed", script=script, deaths=())
    without = ("statement", "commit", "farewell", *LAST_LOOKS)
    return [
        History(
            name=f"{name}: {point}: {nth}",
            row=f"paused: {point}",
            script=script,
            deaths=(Death(point=point, nth=nth, how="pause"),),
            is_paused=True,
        )
        for point, nth in _points_of(undisturbed, folder, without, server=server)
    ]


def _points_of(
    undisturbed: History,
    folder: Path,
    without: Sequence[str],
    *,
    server: str,
    only: Sequence[str] = ("",),
    most: int = sys.maxsize,
) -> list[tuple[str, int]]:
    census = live_through(undisturbed, folder, server=server).census
    counts = {
        point: count
        for point, count in sorted(census.items())
        if point.startswith(tuple(only)) and not point.startswith(tuple(without))
    }
    if not counts:
        raise RuntimeError(f"{undisturbed.name}: an undisturbed life did not come to its end; see {folder}")
    return [(point, nth) for point, count in counts.items() for nth in _spread(count, most=most)]


def _spread(count: int, *, most: int) -> Sequence[int]:
    """Return the numbers from 1 to `count`, or `most` of them that lie evenly apart."""
    if count <= most:
        return range(1, count + 1)
    return [1 + number * (count - 1) // (most - 1) for number in range(most)]


def random_histories(seed: int) -> Iterator[History]:
    """Yield histories without end, the same for the same seed."""
    for number in range(1_000_000):
        rng = random.Random(f"{seed}/{number}")
        script = random_script(rng)
        deaths = tuple(_random_death(rng) for _ in range(rng.randint(1, MAX_KILLS)))
        yield History(name=f"random {seed}: {number}", row=f"random, {len(deaths)} kills", script=script, deaths=deaths)


def random_herds(seed: int, processes: int) -> Iterator[History]:
    """Yield histories of so many processes without end, the same for the same seed."""
    for number in range(1_000_000):
        rng = random.Random(f"{seed}/{processes}/{number}")
        script, deaths = random_herd(rng, processes)
        yield History(
            name=f"herd {seed}/{processes}: {number}",
            row=f"{processes} processes",
            script=script,
            deaths=deaths,
            processes=processes,
        )


def _random_death(rng: random.Random) -> Death:
    match rng.randint(0, 2):
        case 0:
            return Death(at_s=rng.uniform(0.0, 0.7))
        case 1:
            return Death(total=rng.randint(1, 500))
        case _:
            point = rng.choice(("call: while it runs", "model stream: in its middle", BEFORE_COMMIT))
            return Death(point=point, nth=rng.randint(1, 12))


# --- living them -----------------------------------------------------------------------------------------------


def live_through(history: History, folder: Path, *, server: str = "", keeps: bool = False) -> Outcome:
    """Live all lives of the history in a new folder, and count what is wrong; the folder stays where something is.

    `server` is the URL of a PostgreSQL server, on which the history gets a database; without it, it is on SQLite.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with new_database(server) as url:
        return _live_through(history, World(folder, url=url), keeps=keeps)


def _live_through(history: History, world: World, *, keeps: bool) -> Outcome:
    folder, happened = world.folder, dict[How, int]()
    if history.processes > 1:
        herd = Herd(world, history.script, history.deaths, processes=history.processes)
        herd.live()
        world, faults, happened = herd.world, herd.faults, herd.happened
        kills = sum(happened.values())
    else:
        world, kills, faults = (_live_paused if history.is_paused else _live_all)(history, world)
    _wait_for_servers(folder)
    faults = faults or list(examine_end(world, history.script, is_herd=history.processes > 1))
    outcome = Outcome(
        history=history,
        lives=world.life,
        kills=kills,
        answers=len({visible.question for visible in world.visible()}),
        faults=tuple(faults),
        census=json.loads(world.census_file.read_text()) if world.census_file.exists() else {},
        happened=happened,
        folder=folder,
    )
    if not faults and not keeps:
        shutil.rmtree(folder)
    return outcome


def _live_all(history: History, world: World) -> tuple[World, int, list[Fault]]:
    """Live one life after the other; return the last one's world, how many were killed, and what is wrong."""
    kills, faults = 0, list[Fault]()
    for number, death in enumerate((*history.deaths, Death()), start=1):
        world = replace(world, life=number)
        before = world.turns()
        with _living(world, history.script, death) as life:
            status = life.wait(kill_at_s=death.at_s)
        kills += status == -signal.SIGKILL
        faults += examine_life(world, history.script, before, status=status, is_killed=death != Death())
        if faults or status == 0:
            break
    return world, kills, faults


def _live_paused(history: History, world: World) -> tuple[World, int, list[Fault]]:
    """Pause the first life past its lease, wake it when the second has taken its turns over, and let both go on."""
    (death,) = history.deaths
    first, second = replace(world, life=1), replace(world, life=2)
    with _living(first, history.script, death, lease_s=PAUSED_LEASE_S) as paused:
        if not paused.stops():
            return first, 0, []
        time.sleep(1.2 * PAUSED_LEASE_S)  # the lease runs out by the clock: there is nothing else to wait for
        taking_over = Death(point="claim: after", nth=1, how="pause")
        with _living(second, history.script, taking_over, lease_s=PAUSED_LEASE_S) as other:
            is_taken_over = other.stops()  # not where the first was stopped in a transaction: it holds the file's lock
            for life in (paused, other) if is_taken_over else (paused,):
                os.kill(life.pid, signal.SIGCONT)
            statuses = [paused.wait(), other.wait() if is_taken_over else 0]
    found = [
        examine_life(world, history.script, {}, status=status)
        for world, status in zip((first, second), statuses, strict=True)
    ]
    return second, int(is_taken_over), [fault for faults in found for fault in faults]


@dataclass(slots=True)
class _Life:
    """A running child; `_ended` can be read when it is dead."""

    pid: int
    _ended: int
    status: int | None = None

    def stops(self) -> bool:
        """Return, when it has stopped or ended, whether it has stopped."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, *, kill_at_s: float = 0.0) -> int:
        """Return how it ended: 0, 1 for an error, or the negative number of the signal; SIGALRM is for the slow."""
        if self.status is None:
            is_over, _, _ = select.select([self._ended], [], [], kill_at_s or LIFE_S)
            if not is_over:
                os.kill(self.pid, signal.SIGKILL if kill_at_s else signal.SIGALRM)
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status


@contextmanager
def _living(world: World, script: Script, death: Death, *, lease_s: float = LEASE_S) -> Generator[_Life]:
    ended, alive = os.pipe()
    try:
        pid = child.start(Life(world=world, script=script, fate=Fate(death), lease_s=lease_s))
        os.close(alive)
        yield _Life(pid, ended)
    finally:
        os.close(ended)


def _wait_for_servers(folder: Path) -> None:
    """Wait for the tool servers of the dead: what they were sent before, they may still run."""
    servers = [
        process for process in psutil.process_iter(["cmdline"]) if str(folder) in (process.info["cmdline"] or ())
    ]
    _, left = psutil.wait_procs(servers, timeout=LIFE_S)
    if left:
        raise TimeoutError(f"tool servers outlive their bot by {LIFE_S:.0f} s: {left}")
