"""Plays the failure tables and writes them: `python -m tests.failures [--platform NAME] [--only TEXT]`, in minutes.

The exit code is 1 where a case does not end as its row says. With `--platform` the other table stays as it is written;
with `--only` nothing is written.
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
from tests.failures.slack import cases as slack
from tests.failures.table import Case, Outcome

FILE = Path(__file__).parents[1] / "reports" / "FAILURES.md"
CASE_S = 180.0
INTRO = """# What goes wrong, and what its users see

Written by `python -m tests.failures`. The bot is all there, with the platform's real library, a loopback platform that
refuses what the real one refuses, a scripted model and a real tool server; in the rows with `kill -9` it is `python -m
bot run`, started again after the kill. Each row is a test: it fails where people see anything but what the second
column says. "Calls" are those of the platform's web API, the start of the bot among them; "seconds" include the starts,
and the pauses that the 429s ask for (Slack: one second, Discord: half a second). `tests/failures/test_failures.py`
plays the quick rows with the other tests.
"""
HEAD = """
| what happens | what the user sees | calls | seconds |
|---|---|---:|---:|
"""
TABLES: Mapping[str, Callable[[], Iterator[Case]]] = {"Slack": slack.all_cases, "Discord": discord.all_cases}


def main() -> int:
    options = _parse()
    tables = printed()
    failed = 0
    for platform, cases in TABLES.items():
        if options.platform not in ("", platform.lower()):
            continue
        rows: list[str] = []
        for case in cases():
            if options.only in case.happens:
                outcome = _play(case)
                failed += outcome is None
                if outcome is not None:
                    rows.append(_row(case, outcome))
                    print(f"ok      {outcome.seconds:5.1f} s  {platform}: {case.happens}", flush=True)
        tables[platform] = rows
    if not failed and not options.only:
        parts = [f"\n## {platform}\n{HEAD}{''.join(tables.get(platform, []))}" for platform in TABLES]
        FILE.write_text(INTRO + "".join(parts), encoding="utf-8")
        print(f"{sum(map(len, tables.values()))} rows are in {FILE.name}")
    return 1 if failed else 0


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
    parser.add_argument("--platform", default="", choices=[name.lower() for name in TABLES], help="only its table")
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
    async with asyncio.timeout(CASE_S):
        return await case.run(folder)


def _row(case: Case, outcome: Outcome) -> str:
    cells: Sequence[str] = (case.happens, case.seen, str(outcome.calls), f"{outcome.seconds:.1f}")
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
