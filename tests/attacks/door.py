"""Slow peers hold connections of `toolbridge run` without sending a whole request, while Slack delivers events."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.attacks.peers import attacking
from tests.fakes.slack import FakeSlack
from tests.scenarios.conftest import Toolbridge

WAIT_S = 60.0
PACE_S = 0.1  # between events: all of them span several returns of the peers that were closed (`peers.BACK_S`)


@dataclass
class Served:
    """A bot that serves a loopback Slack over HTTP, as a process."""

    slack: FakeSlack
    port: int
    pid: int
    log: list[str]

    @property
    def held(self) -> int:
        """How many connections its listener has."""
        found = psutil.Process(self.pid).net_connections(kind="tcp")
        return sum(each.laddr.port == self.port and each.status == psutil.CONN_ESTABLISHED for each in found)

    async def mentions(self, number: int) -> list[dict[str, Any]]:
        """Return the deliveries of so many questions, which are not sent yet."""
        self.slack.hold()
        for index in range(number):
            await self.slack.say("C1", "U1", f"hello {index}", mention=True)
        return [each.payload for each in self.slack.held if each.event.get("type") == "app_mention"]

    async def acknowledged(self, payload: dict[str, Any]) -> float:
        """Return how long Slack waits for the acknowledgement; infinite where none comes within its time."""
        began = time.monotonic()
        try:
            status, _ = await self.slack.deliver_http(self.slack.events_url, payload)
        except (OSError, aiohttp.ClientError):  # TimeoutError is the first
            return float("inf")
        return time.monotonic() - began if status == 200 else float("inf")

    def logged(self, event: str) -> list[str]:
        return [line for line in self.log if event in line]


@asynccontextmanager
async def serving(home: Path, *, descriptors: int | None = None, **settings: str) -> AsyncGenerator[Served]:
    """Start `toolbridge run`, which may have so many `descriptors` open."""
    (folder := home / "folder").mkdir(parents=True, exist_ok=True)
    toolbridge = Toolbridge(home=home / "home", folder=folder)
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        slack.mode = "http"
        toolbridge.settings |= {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "LOG_FORMAT": "json",
            "REQUESTS_PER_MINUTE": "10000",
            **settings,
        }
        async with toolbridge.serving("--model", "rehearsal") as process:
            if descriptors is not None:
                _limit(process.pid, descriptors)
            log: list[str] = []
            reading = asyncio.create_task(_read(process, log), name="log")
            try:
                await until(lambda: any("slack_http_open" in line for line in log) or reading.done())
                port = next(int(_field(line, "port")) for line in log if "slack_http_open" in line)
                slack.events_url = f"http://127.0.0.1:{port}/slack/events"
                yield Served(slack, port, process.pid, log)
            finally:
                reading.cancel()


async def measure() -> dict[str, float]:
    """Return the figures of 1,000 slow peers, and of as many where a process may have 256 descriptors."""
    few = await hold()
    return few | {f"{name}, with 256 descriptors": value for name, value in (await hold(descriptors=256)).items()}


async def hold(
    *, peers: int = 1_000, events: int = 30, descriptors: int | None = None, keeps_connections: bool = False
) -> dict[str, float]:
    """Return how long signed events wait while so many slow peers, of the same address, hold connections.

    Each event comes by a connection of its own unless Slack `keeps_connections`.
    """
    with tempfile.TemporaryDirectory() as home:
        async with serving(Path(home), descriptors=descriptors) as bot:
            bot.slack.keeps_connections = keeps_connections
            payloads, began = await bot.mentions(events), time.monotonic()
            async with attacking(bot.port, peers) as attack:
                waits: list[float] = []
                for payload in payloads:
                    waits.append(await bot.acknowledged(payload))
                    await asyncio.sleep(PACE_S)
                held = bot.held
            return {
                "slow peers": peers,
                "connections that they made": attack.came,
                "connections held at once": held,
                "signed events sent meanwhile": len(waits),
                "signed events lost": waits.count(float("inf")),
                "longest acknowledgement (s)": round(max(waits), 3),
                "all of it (s)": round(time.monotonic() - began, 1),
                "lines of the log on refusals": len(bot.logged("http_refused")),
                "tracebacks in the log": len(bot.logged("Traceback")),
            }


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110  (of another process)
            await asyncio.sleep(0.02)


def _limit(pid: int, descriptors: int) -> None:
    """Bound the descriptors of a process that is only starting."""
    assert sys.platform == "linux"
    import resource

    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))


def _field(line: str, name: str) -> str:
    return "".join(itertools.takewhile(str.isdigit, line.partition(f'"{name}": ')[2]))


async def _read(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(line.decode())
