"""Prints the kill matrix: `python -m tests.kills [--enumerate] [--pauses] [--random 500] [--seed N]`.

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
from itertools import islice
from pathlib import Path

from tests.kills.matrix import (
    MEANING,
    History,
    Outcome,
    enumerate_pauses,
    enumerate_points,
    live_through,
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
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("fork")) as pool:
        if options.only:
            outcomes += [live_through(_find(options.only, folder), folder / "only", keeps=True)]
        if options.enumerate:
            outcomes += _live(pool, _points(folder, is_short=options.short), folder)
        if options.pauses:
            for name, script in PAUSED.items():
                outcomes += _live(pool, enumerate_pauses(name, script, folder / "census"), folder)
        if options.random:
            print(f"random kills: seed {options.seed}", flush=True)
            outcomes += _until(options.random, _live(pool, random_histories(options.seed), folder))
    for line in _table(outcomes):
        print(line)
    print(f"{time.monotonic() - started:.0f} s")
    faulty = [outcome for outcome in outcomes if outcome.faults]
    for outcome in faulty[:20]:
        print("\n".join(_report(outcome)))
    if not faulty and not options.only:
        folder.rmdir()
    return 1 if faulty else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--enumerate", action="store_true", help="die at every point, each time it is reached")
    parser.add_argument("--pauses", action="store_true", help="stop at every point past the lease, and wake again")
    parser.add_argument("--random", type=int, default=0, metavar="KILLS", help="at least so many random kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", metavar="NAME", help="one history, by its name")
    parser.add_argument(
        "--short",
        action="store_true",
        help="the small script at its main points, and one call that is asked about",
    )
    parser.add_argument("--jobs", type=int, default=2, help="histories at once")
    options = parser.parse_args()
    if not (options.enumerate or options.pauses or options.random or options.only):
        options.enumerate, options.pauses, options.random = True, True, 500
    return options


# --- which, and how --------------------------------------------------------------------------------------------


def _points(folder: Path, *, is_short: bool) -> Iterator[History]:
    if is_short:
        without = ("statement", "commit: in its middle")
        yield from enumerate_points("small", SMALL, folder / "census", without=without, most=SHORT_TIMES)
        yield from enumerate_points("asked", ASKED, folder / "census", only=OF_ASKS)
        yield from enumerate_points("cleared", CLEARED, folder / "census", only=OF_CLEARING, most=2)
        return
    yield from enumerate_points("small", SMALL, folder / "census")
    yield from enumerate_points("waiting", WAITING, folder / "census", without=("statement", "commit: in its middle"))
    yield from enumerate_points("blind", BLIND, folder / "census", without=("statement", "commit"))
    yield from enumerate_points("large", LARGE, folder / "census", without=("statement",))
    yield from enumerate_points("cleared", CLEARED, folder / "census")


def _find(name: str, folder: Path) -> History:
    kind, _, rest = name.partition(" ")
    if kind == "random":
        seed, _, number = rest.partition(": ")
        return next(islice(random_histories(int(seed)), int(number), None))
    script = name.partition(":")[0]
    if script in PAUSED:
        histories = enumerate_pauses(script, PAUSED[script], folder / "census")
    else:
        histories = enumerate_points(script, SCRIPTS[script], folder / "census")
    return next(history for history in histories if history.name == name)


def _live(pool: ProcessPoolExecutor, histories: Iterable[History], folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes in the order of the histories; a few are lived ahead."""
    waiting: list[Future[Outcome]] = []
    for number, history in enumerate(histories):
        waiting.append(pool.submit(live_through, history, folder / f"{history.row.partition(':')[0]}-{number}"))
        if len(waiting) > AHEAD * 2:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _until(kills: int, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Pass outcomes on until so many kills have happened."""
    done = 0
    for outcome in outcomes:
        yield outcome
        done += outcome.kills
        if done >= kills:
            return


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
