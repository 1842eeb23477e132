"""Plays the failure tables and writes them: `python -m tests.failures [--platform NAME] [--only TEXT]`, in minutes.

With `--processes 3` it plays the tables of several processes on one database, on PostgreSQL unless `--engine sqlite`
says that they share a file. The exit code is 1 where a case does not end as its row says. Tables that are not played
stay as they are written; with `--only`, or on SQLite, nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.failures.discord import cases as discord
from tests.failures.processes import cases as processes
from tests.failures.processes.engine import engine
from tests.failures.processes.fleet import PROCESSES
from tests.failures.slack import cases as slack
from tests.failures.table import Case, Outcome

FILE = Path(__file__).parents[1] / "reports" / "FAILURES.md"
INTRO = """# What goes wrong, and what its users see

Written by `python -m tests.failures`. The bot is all there, with the platform's real library, a loopback platform that
refuses what the real one refuses, a scripted model and a real tool server; in the rows with `kill -9` it is `python -m
bot run`, started again after the kill, and in the tables of several processes (`--processes 3`) each of them is that.
Each row is a test: it fails where people see anything but what the second column says. "Calls" are those of the
platform's web API, the start of the bot among them; "seconds" include the starts, and the pauses that the 429s ask for
(Slack: one second, Discord: half a second). `tests/failures/test_failures.py` plays the quick rows with the other
tests.
"""
HEAD = """
| what happens | what the user sees | calls | seconds |
|---|---|---:|---:|
"""
TABLES: Mapping[str, Callable[[], Iterator[Case]]] = {
    "Slack": slack.all_cases,
    "Discord": discord.all_cases,
    f"Slack, {PROCESSES} processes": processes.slack_cases,
    f"Discord, {PROCESSES} processes": processes.discord_cases,
}


def main() -> int:
    options = _parse()
    tables = printed()
    failed = 0
    with engine(options.engine if options.processes > 1 else "sqlite"):
        for name in _chosen(options):
            rows, failures = _play_all(name, only=options.only)
            tables[name] = rows
            failed += failures
    if not failed and not options.only and (options.processes == 1 or options.engine == "postgres"):
        parts = [f"\n## {name}\n{HEAD}{''.join(tables.get(name, []))}" for name in TABLES]
        FILE.write_text(INTRO + "".join(parts), encoding="utf-8")
        print(f"{sum(map(len, tables.values()))} rows are in {FILE.name}")
    return 1 if failed else 0


def _chosen(options: argparse.Namespace) -> Sequence[str]:
    """Return the names of the tables that are to be played."""
    of_several = {name for name in TABLES if "processes" in name}
    return [
        name
        for name in TABLES
        if name.lower().startswith(options.platform) and (name in of_several) == (options.processes > 1)
    ]


def _play_all(name: str, *, only: str) -> tuple[list[str], int]:
    """Return the rows of a table, and how many did not end as they should."""
    rows: list[str] = []
    failed = 0
    for case in TABLES[name]():
        if only in case.happens:
            outcome = _play(case)
            failed += outcome is None
            if outcome is not None:
                rows.append(_row(case, outcome))
                print(f"ok      {outcome.seconds:5.1f} s  {name}: {case.happens}", flush=True)
    return rows, failed


def printed() -> dict[str, list[str]]:
    """Return the rows of each platform as they are written."""
    tables: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines(keepends=True) if FILE.is_file() else []:
        if line.startswith("## "):
            rows = tables[line.removeprefix("## ").strip()] = []
        elif line.startswith("| ") and not HEAD.strip().startswith(line.strip()):
            rows.append(line)
    return tables


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.failures", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--platform", default="", choices=["slack", "discord"], help="only its table")
    parser.add_argument("--processes", type=int, default=1, choices=[1, PROCESSES], help="on one database")
    parser.add_argument("--engine", default="postgres", choices=["sqlite", "postgres"], help="of several processes")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this in it")
    return parser.parse_args()


def _play(case: Case) -> Outcome | None:
    log = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="failures-") as folder, contextlib.redirect_stdout(log):
        try:
            return asyncio.run(_within(case, Path(folder)))
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  (one case from the next)
            said = "".join(traceback.format_exception(error)) + log.getvalue()
    print(f"FAILED           {case.happens}\n{said}", flush=True)
    return None


async def _within(case: Case, folder: Path) -> Outcome:
    async with asyncio.timeout(case.longest_s):
        return await case.run(folder)


def _row(case: Case, outcome: Outcome) -> str:
    cells: Sequence[str] = (case.happens, case.seen, str(outcome.calls), f"{outcome.seconds:.1f}")
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
