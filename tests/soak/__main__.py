"""The soak: many conversations for some minutes, and what is left of them in memory, tasks, threads and files.

    python -m tests.soak [--minutes 10] [--conversations 200]

The bot runs here, with its real store and its real tool server process; the rehearsal model is a process of its own.
At the end one person among them sends bombs: files and results of tools that are made to keep all others waiting.
Exit code 1 when memory grew, an answer was wrong, something was left open, or the event loop was held for too long.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import random
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import psutil

from bot.app import open_app
from bot.cli.footprint import exempt_what_stays
from bot.observe.logs import configure_logs
from bot.settings import Settings
from tests.attacks.bombs import CALLS, FILES, BombCrowd, Field, write_servers
from tests.attacks.lag import MAX_HOLD_MS, LoopLag
from tests.soak.crowd import Tally, talk
from tests.soak.readings import Growth, judge_memory, left_over, take_census

READINGS = 250
BOMB_PAUSE_S = 1.0  # one person may ask so often
BOMBS_SHARE = 5  # as long as a fifth of the rest
NOWHERE = "http://127.0.0.1:9/none"  # the discard port: nothing answers
# Memory is called flat within so much. Short runs are still warming up: caches, and the allocator's spare room.
LONG_RUN_S = 300.0
ALLOWED_LONG = (0.03, 2.0)  # share, MiB: a leak of about 1 kB a turn is seen in ten minutes
ALLOWED_SHORT = (0.02, 3.0)  # of some ten seconds: only a leak of tens of kB a turn is seen


@dataclass
class Soak:
    """What a run has measured."""

    tally: Tally = field(default_factory=Tally)
    rss: dict[str, list[int]] = field(default_factory=dict[str, list[int]])  # bytes, by part
    tasks_left: list[str] = field(default_factory=list[str])
    holds_ms: dict[str, float] = field(default_factory=dict[str, float])  # the longest of the event loop, by bomb


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak, print its table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--turns-per-second", type=float, default=12.0, help="of all conversations together (12)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory() as home, _model_server() as (url, model_server), _logs(Path(home)):
        settings = _settings(Path(home), url)
        asyncio.run(_soak(settings, model_server, seconds=1, think_s=[0.1, 0.1], seed=0))  # opens what stays for good
        exempt_what_stays()  # as `toolbridge run` does
        before = take_census()
        think_s = [options.conversations / options.turns_per_second] * options.conversations
        soak = asyncio.run(_soak(settings, model_server, seconds=seconds, think_s=think_s, seed=options.seed))
        left = {"tasks": len(soak.tasks_left), **left_over(before, take_census())}
    share, mib = ALLOWED_LONG if seconds >= LONG_RUN_S else ALLOWED_SHORT
    memory = [judge_memory(part, rss, allowance=share, allowance_mib=mib) for part, rss in soak.rss.items()]
    _print_table(soak, memory, left, seconds=seconds, conversations=options.conversations)
    is_flat, is_quick = all(growth.is_flat for growth in memory), max(soak.holds_ms.values()) <= MAX_HOLD_MS
    return 0 if is_flat and is_quick and not any(left.values()) and not soak.tally.mistakes else 1


def _children_besides(model_server: psutil.Process) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.pid != model_server.pid]


async def _soak(
    settings: Settings, model_server: psutil.Process, *, seconds: float, think_s: Sequence[float], seed: int
) -> Soak:
    soak, crowd = Soak(), BombCrowd()
    async with open_app(settings, [lambda _host: nullcontext(crowd)], drain_s=10) as app:
        await app.tools.offer(None)
        async with asyncio.timeout(60):  # on a busy machine a first try may not have ended when the second has begun
            while len(others := _children_besides(model_server)) != 2:  # noqa: ASYNC110  (a process sets no event)
                await asyncio.sleep(0.1)
        (tool_server,) = (each for each in others if "mcp_server" in each.cmdline())
        parts = {"bot": psutil.Process(), "tool server": tool_server, "model server": model_server}
        has_ended = asyncio.Event()
        async with asyncio.TaskGroup() as people:
            for number, pause_s in enumerate(think_s):
                person = talk(
                    f"{seed}-{number}",
                    app,
                    crowd,
                    soak.tally,
                    think_s=pause_s,
                    has_ended=has_ended,
                    random=random.Random(seed * 1_000_000 + number),
                )
                people.create_task(person)
            for _ in range(READINGS):
                await asyncio.sleep(seconds / READINGS)
                for part, process in parts.items():
                    soak.rss.setdefault(part, []).append(process.memory_info().rss)
            await _bomb(soak, Field(app, crowd), seconds=seconds / BOMBS_SHARE)
            has_ended.set()
    await asyncio.sleep(0)
    soak.tasks_left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return soak


async def _bomb(soak: Soak, crew: Field, *, seconds: float) -> None:
    """Send bombs for some seconds, one after the other."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    for send, name in itertools.cycle([*((crew.call, each) for each in CALLS), *((crew.send, each) for each in FILES)]):
        if loop.time() >= ends_at:
            return
        async with LoopLag() as lag:
            await send(name)
        soak.holds_ms[name] = max(soak.holds_ms.get(name, 0.0), lag.worst_ms)
        await asyncio.sleep(BOMB_PAUSE_S)


def _settings(home: Path, url: str) -> Settings:
    return Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        toolbridge_home=home,
        openai_base_url=url,
        openai_model="rehearsal",
        max_conversation_length=20,  # reached early in the run: from there on no turn has more to read
        mcp_config=write_servers(home, "bombs"),
        weather_api_url=NOWHERE,
        geocoding_api_url=NOWHERE,
    )


@contextmanager
def _model_server() -> Generator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "tests.fakes.openai"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def _logs(home: Path) -> Generator[None]:
    configure_logs(log_format="json", level="INFO", file=home / "logs" / "soak.log")
    try:
        yield
    finally:
        for handler in logging.getLogger().handlers:
            handler.close()


def _print_table(
    soak: Soak, memory: Sequence[Growth], left: dict[str, int], *, seconds: float, conversations: int
) -> None:
    waits = soak.tally.waits_s
    slow = quantiles(waits, n=20)[-1] if len(waits) > 1 else 0.0
    print(f"{conversations} conversations, {seconds / 60:.1f} minutes, {len(waits):,} turns answered")
    print(f"question to answer: median {median(waits) * 1000:.0f} ms, 95 % within {slow * 1000:.0f} ms")
    print()
    print("| resident memory | second fifth, MiB | last fifth, MiB | allowed, MiB | |")
    print("|---|---|---|---|---|")
    for growth in memory:
        verdict = "flat" if growth.is_flat else "GREW"
        early, late, allowed = growth.early_mib, growth.late_mib, growth.allowed_mib
        print(f"| {growth.part} | {early:.1f} | {late:.1f} | {allowed:.1f} | {verdict} |")
    print()
    name, hold_ms = max(soak.holds_ms.items(), key=lambda each: each[1])
    print(f"| of {len(soak.holds_ms)} bombs | ms | allowed, ms |")
    print("|---|---|---|")
    print(f"| longest hold of the event loop ({name}) | {hold_ms:.0f} | {MAX_HOLD_MS:.0f} |")
    print()
    print("| left over at the end | count |")
    print("|---|---|")
    for what, count in {**left, "wrong answers": len(soak.tally.mistakes)}.items():
        print(f"| {what} | {count} |")
    for line in [*soak.tasks_left, *soak.tally.mistakes][:10]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
