"""Measure the product and print a Markdown table: `python -m tests.bench [NAME ...] [--quick]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.bench.deciding import decide_cost
from tests.bench.discord import discord_cost
from tests.bench.finding import finding
from tests.bench.measure import Row, table
from tests.bench.processes import acknowledgements, side_by_side, wake_ups
from tests.bench.prompts import prompt_prefix
from tests.bench.slack import bursts, slack_cost
from tests.bench.startup import memory, start_times
from tests.bench.storage import group_commit, stored_messages
from tests.bench.stored_postgres import growth, stored_on_postgres
from tests.bench.turn import turn_cost
from tests.bench.waiting import critical_path, many_conversations, tools_at_once
from tests.bench.watching import readiness, watched_turns


class Benchmark(Protocol):
    """A group of figures; `folder` is empty and its own, `quick` shows that it runs and measures nothing."""

    def __call__(self, folder: Path, *, quick: bool) -> Awaitable[Sequence[Row]]: ...


BENCHMARKS: Mapping[str, Benchmark] = {
    "turn": turn_cost,
    "path": critical_path,
    "tools": tools_at_once,
    "many": many_conversations,
    "commits": group_commit,
    "stored": stored_messages,
    "prompts": prompt_prefix,
    "finding": finding,
    "decide": decide_cost,
    "start": start_times,
    "memory": memory,
    "slack": slack_cost,
    "bursts": bursts,
    "discord": discord_cost,
    "processes": side_by_side,
    "acknowledgements": acknowledgements,
    "wake-ups": wake_ups,
    "stored-postgres": stored_on_postgres,
    "growth": growth,
    "watched": watched_turns,
    "ready": readiness,
}


async def run(name: str, *, quick: bool) -> Sequence[Row]:
    """Return the rows of one benchmark, run in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="toolbridge-bench-", ignore_cleanup_errors=True) as folder:
        return await BENCHMARKS[name](Path(folder), quick=quick)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="only see that each runs; its figures mean nothing")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    rows: dict[str, Sequence[Row]] = {}
    loads = [os.getloadavg()[0]]
    for name in options.names or BENCHMARKS:
        rows[name] = asyncio.run(run(name, quick=options.quick))
        loads.append(os.getloadavg()[0])
    print(table(rows))
    print(
        f"\nLoad of the machine while it measured: {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} processors."
    )


if __name__ == "__main__":
    main()
