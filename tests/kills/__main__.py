"""Prints the kill matrix: `python -m tests.kills [--enumerate] [--pauses] [--random 500] [--seed N]`, and on several
processes: `python -m tests.kills --processes 3 [--random 500] [--seed N]`; each with `--engine sqlite|postgres`.

The exit code is 1 on any fault. Without options it is all of it: every point of its scripts (a small one, a large
one, one on a platform that cannot search, one whose conversations are cleared), a pause at every point, then 500 random
kills. `--short` is what the tests run. `--only NAME` lives one history again and keeps its files; the name of a random
one carries its seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from tests.kills.database import serving
from tests.kills.examination import MEANING
from tests.kills.matrix import (
    History,
    Outcome,
    enumerate_pauses,
    enumerate_points,
    live_through,
    random_herds,
    random_histories,
)
from tests.kills.script import ALONE, ASKED, BLIND, CLEARED, LARGE, SMALL, WAITING

SCRIPTS = {"small": SMALL, "asked": ASKED, "waiting": WAITING, "blind": BLIND, "large": LARGE, "cleared": CLEARED}
PAUSED = {"paused": ALONE, "paused-asked": ASKED}
AHEAD = 4  # histories that wait for each process
NAME_CHARS = 34
OF_ASKS = (  # points on the way of a call that is asked about
    *("ask", "turn parked", "message of an ask", "about to show", "vote", "decision", "verdict", "call", "result"),
)
OF_CLEARING = ("cleared", "scrubbed")
SHORT_TIMES = 5  # at each point, where it is reached more often


def main() -> int:
    options = _parse()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    started = time.monotonic()
    with (
        serving(options.engine) as server,
        ProcessPoolExecutor(options.jobs, multiprocessing.get_context("fork")) as pool,
    ):
        outcomes = list(_all(Lab(pool, folder, server), options))
    for line in _table(outcomes):
        print(line)
    happened = Counter[str]()
    for outcome in outcomes:
        happened.update(outcome.happened)
    print(f"seed {options.seed}, {dict(happened) or 'one process'}, {time.monotonic() - started:.0f} s")
    faulty = [outcome for outcome in outcomes if outcome.faults]
    for outcome in faulty[:20]:
        print("\n".join(_report(outcome)))
    if not faulty and not options.only:
        folder.rmdir()
    return 1 if faulty else 0


@dataclass(frozen=True, slots=True)
class Lab:
    """Where histories are lived."""

    pool: ProcessPoolExecutor
    folder: Path
    server: str  # of PostgreSQL; SQLite without it

    def live(self, histories: Iterable[History], *, kills: int | None = None) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the histories, until so many kills have happened; some are lived ahead."""
        waiting: list[Future[Outcome]] = []
        done = 0
        for number, history in enumerate(histories):
            place = self.folder / f"{history.row.partition(':')[0]}-{number}"
            waiting.append(self.pool.submit(live_through, history, place, server=self.server))
            if len(waiting) > AHEAD * 2:
                yield (outcome := waiting.pop(0).result())
                done += outcome.kills
            if kills is not None and done + sum(each.result().kills for each in waiting if each.done()) >= kills:
                break
        for future in waiting:
            yield future.result()


def _all(lab: Lab, options: argparse.Namespace) -> Iterator[Outcome]:
    """Live what the options ask for."""
    if options.only:
        found = _find(options.only, lab)
        yield live_through(found, lab.folder / "only", server=lab.server, keeps=True)
    if options.processes > 1:
        yield from lab.live(random_herds(options.seed, options.processes), kills=options.random)
        return
    if options.enumerate:
        yield from lab.live(_points(lab, is_short=options.short))
    if options.pauses:
        for name, script in PAUSED.items():
            yield from lab.live(enumerate_pauses(name, script, lab.folder / "census", server=lab.server))
    if options.random:
        yield from lab.live(random_histories(options.seed), kills=options.random)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--enumerate", action="store_true", help="die at every point, each time it is reached")
    parser.add_argument("--pauses", action="store_true", help="stop at every point past the lease, and wake again")
    parser.add_argument("--random", type=int, default=0, metavar="KILLS", help="at least so many random kills")
    parser.add_argument("--processes", type=int, default=1, help="at once on one database")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", metavar="NAME", help="one history, by its name")
    parser.add_argument(
        "--short",
        action="store_true",
        help="the small script at its main points, and one call that is asked about",
    )
    parser.add_argument("--jobs", type=int, default=2, help="histories at once")
    options = parser.parse_args()
    if options.processes > 1:
        options.random = options.random or 0 if options.only else options.random or 500
    elif not (options.enumerate or options.pauses or options.random or options.only):
        options.enumerate, options.pauses, options.random = True, True, 500
    return options


# --- which, and how --------------------------------------------------------------------------------------------


def _points(lab: Lab, *, is_short: bool) -> Iterator[History]:
    points = partial(enumerate_points, folder=lab.folder / "census", server=lab.server)
    if is_short:
        yield from points("small", SMALL, without=("statement", "commit: in its middle"), most=SHORT_TIMES)
        yield from points("asked", ASKED, only=OF_ASKS)
        yield from points("cleared", CLEARED, only=OF_CLEARING, most=2)
        return
    yield from points("small", SMALL)
    yield from points("waiting", WAITING, without=("statement", "commit: in its middle"))
    yield from points("blind", BLIND, without=("statement", "commit"))
    yield from points("large", LARGE, without=("statement",))
    yield from points("cleared", CLEARED)


def _find(name: str, lab: Lab) -> History:
    kind, _, rest = name.partition(" ")
    if kind == "herd":
        which, _, number = rest.partition(": ")
        seed, _, processes = which.partition("/")
        return next(islice(random_herds(int(seed), int(processes)), int(number), None))
    if kind == "random":
        seed, _, number = rest.partition(": ")
        return next(islice(random_histories(int(seed)), int(number), None))
    script = name.partition(":")[0]
    if script in PAUSED:
        histories = enumerate_pauses(script, PAUSED[script], lab.folder / "census", server=lab.server)
    else:
        histories = enumerate_points(script, SCRIPTS[script], lab.folder / "census", server=lab.server)
    return next(history for history in histories if history.name == name)


# --- what is told ----------------------------------------------------------------------------------------------


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    columns = list(MEANING)
    head = f"{'point':{NAME_CHARS}} {'histories':>9} {'lives':>6} {'kills':>6} {'answers':>7} "
    yield head + " ".join(f"{name:>{max(len(name), 6)}}" for name in columns) + "  verdict"
    rows = list(dict.fromkeys(outcome.history.row for outcome in outcomes))
    for row in rows:
        yield _row(row, [outcome for outcome in outcomes if outcome.history.row == row])
    yield _row("all", outcomes)
    yield from (f"  {name}: {meaning}" for name, meaning in MEANING.items())


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    wrong = Counter(fault.wrong for outcome in outcomes for fault in outcome.faults)
    kills = sum(outcome.kills for outcome in outcomes)
    figures = " ".join(f"{wrong[kind]:>{max(len(kind), 6)}}" for kind in MEANING)
    return (
        f"{name:{NAME_CHARS}} {len(outcomes):>9} {sum(outcome.lives for outcome in outcomes):>6} {kills:>6} "
        f"{sum(outcome.answers for outcome in outcomes):>7} {figures}  {'FAULTY' if wrong else 'ok'}"
    )


def _report(outcome: Outcome) -> Iterator[str]:
    yield f"\n{outcome.history.name!r}: {outcome.kills} kills in {outcome.lives} lives"
    for number, death in enumerate(outcome.history.deaths, start=1):
        yield f"  life {number} dies: {death}"
    yield from (f"  {fault}" for fault in outcome.faults)
    yield f"  its files: {outcome.folder}"
    yield f"  again: python -m tests.kills --only {outcome.history.name!r}"


if __name__ == "__main__":
    sys.exit(main())
