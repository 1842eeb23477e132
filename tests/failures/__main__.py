"""Plays the failure table and writes it: `python -m tests.failures [--only TEXT]`, about three minutes.

The exit code is 1 where a case does not end as its row says. With `--only` nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.failures.cases import Case, Outcome, all_cases

FILE = Path(__file__).parents[1] / "bench" / "FAILURES.md"
CASE_S = 90.0
INTRO = """# What goes wrong in Slack, and what its users see

Written by `python -m tests.failures`. The bot is all there, with the real Slack SDK, a loopback Slack that refuses what
Slack refuses, a scripted model and a real tool server; in the rows with `kill -9` it is `python -m bot run`, started
again after the kill. Each row is a test: it fails where the thread shows anything else than the second column says.
"Calls" are those of Slack's Web API, the start of the bot among them; "seconds" include the starts, and the pauses of
one second that the 429s ask for. `tests/failures/test_failures.py` plays the quick rows with the other tests.

| what happens | what the user sees | calls | seconds |
|---|---|---:|---:|
"""


def main() -> int:
    options = _parse()
    rows: list[tuple[Case, Outcome]] = []
    failed = 0
    for case in all_cases():
        if options.only not in case.happens:
            continue
        outcome = _play(case)
        failed += outcome is None
        if outcome is not None:
            rows.append((case, outcome))
            print(f"ok      {outcome.seconds:5.1f} s  {case.happens}", flush=True)
    if not failed and not options.only:
        FILE.write_text(INTRO + "".join(_row(case, outcome) for case, outcome in rows), encoding="utf-8")
        print(f"{len(rows)} rows are in {FILE.name}")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.failures", description=(__doc__ or "").partition(":")[0])
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
