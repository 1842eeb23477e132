"""What several processes on one PostgreSQL do in a second, and what that costs over one process on SQLite."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.fernet import Fernet

from bot.domain.answers import CommandAnswer
from bot.domain.events import CommandInvoked
from tests.bench.bare import open_bare
from tests.bench.measure import Row, p99
from tests.bench.product import Product, open_product, question
from tests.bench.servers import HOUSE, Endpoint, serve_model, serve_tools
from tests.bench.turn import QUESTION
from tests.fakes.postgres import PostgresServer

MOST = 3  # processes
AT_ONCE = 24  # questions, in all processes together
START_S = 60.0
WAIT_S = 300.0
CPU_GOAL = 1.5
WAKE_UP_GOAL_MS = 50
DELIVERIES = 200
SQLITE = "sqlite"
STOPS = 30


@dataclass(frozen=True)
class Member:
    """One process of the product; see `tests.bench.member`."""

    process: asyncio.subprocess.Process

    async def told(self) -> dict[str, Any]:
        """Return what it prints next."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self.process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)

    def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{' '.join(map(str, words))}\n".encode())

    async def do(self, *words: object) -> dict[str, Any]:
        self.tell(*words)
        return await self.told()


@dataclass(frozen=True)
class Site:
    """What all processes have around them."""

    folder: Path
    endpoint: Endpoint
    tools_url: str
    server: PostgresServer
    key: str

    def database(self, name: str) -> str:
        """Return the URL of a new database."""
        self.server.run(f"CREATE DATABASE {name}")
        return f"{self.server.url.rpartition('/')[0]}/{name}"

    @asynccontextmanager
    async def members(self, count: int, url: str, *, name: str) -> AsyncGenerator[Sequence[Member]]:
        """Start so many processes on one database, or on a file without a URL; they are warm."""
        async with AsyncExitStack() as stack:
            started = [
                await stack.enter_async_context(self._member(self.folder / f"{name}-{number}", url))
                for number in range(count)
            ]
            for member in started:
                assert (await member.told())["ready"]
            yield started

    @asynccontextmanager
    async def _member(self, home: Path, url: str) -> AsyncGenerator[Member]:
        arguments = (
            "-m",
            "tests.bench.member",
            str(home),
            self.endpoint.url,
            self.tools_url,
            url and f"{url} {self.key}",
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=HOUSE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield Member(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


@asynccontextmanager
async def open_site(folder: Path) -> AsyncGenerator[Site]:
    """Start the model's endpoint, the tools and PostgreSQL, which keeps its promises to the disk as in production."""
    server = await asyncio.to_thread(PostgresServer, fsync="on", full_page_writes="on", shared_buffers="128MB")
    try:
        async with serve_model() as endpoint, serve_tools(folder / "workspaces") as tools_url:
            yield Site(folder, endpoint, tools_url, server, Fernet.generate_key().decode())
    finally:
        await asyncio.to_thread(server.close)


@dataclass(frozen=True)
class Run:
    """What one round of turns took."""

    turns_a_second: float
    cpu_s: float  # of the bot's processes, a turn


async def side_by_side(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare 1, 2 and 3 processes on PostgreSQL with one on SQLite and with the bare calls, in turns."""
    turns, rounds = (6, 1) if quick else (240, 7)
    async with open_site(folder) as site, AsyncExitStack() as stack:
        ways: dict[str, Sequence[Member]] = {
            SQLITE: await stack.enter_async_context(site.members(1, "", name=SQLITE)),
            **{
                str(count): await stack.enter_async_context(
                    site.members(count, site.database(f"of_{count}"), name=f"of-{count}")
                )
                for count in range(1, 2 if quick else MOST + 1)
            },
        }
        bare = await stack.enter_async_context(open_bare(model_url=site.endpoint.url, tools_url=site.tools_url))
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        bare_speeds: list[float] = []
        for _ in range(rounds):
            for name, members in ways.items():
                runs[name].append(await _answer(members, turns))
            bare_speeds.append(turns / await _timed(lambda: bare.ask(QUESTION, bare.ordinary), turns))
    return [*_speeds(runs, bare_speeds), *_cpu(runs)]


async def _answer(members: Sequence[Member], turns: int) -> Run:
    """Have the processes answer so many questions together."""
    began = time.perf_counter()
    share = max(1, turns // len(members))
    took = await asyncio.gather(*(member.do("turns", share, max(1, AT_ONCE // len(members))) for member in members))
    done = share * len(members)
    return Run(done / (time.perf_counter() - began), sum(one["cpu_s"] for one in took) / done)


async def _timed(ask: Any, turns: int) -> float:
    left = iter(range(turns))

    async def one_after_the_other() -> None:
        for _ in left:
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


def _speeds(runs: dict[str, list[Run]], bare: Sequence[float]) -> Sequence[Row]:
    def of(name: str) -> Sequence[float]:
        return [run.turns_a_second for run in runs[name]]

    return [
        Row(
            figure=f"turns a second of {name} process{'es' if name != '1' else ''} on PostgreSQL, over {beside}",
            value=median(one / other for one, other in zip(of(name), others, strict=True)),
            beside=f"{median(of(name)):.0f} a second over {median(others):.0f}",
        )
        for name in runs
        if name != SQLITE
        for beside, others in (("one on SQLite", of(SQLITE)), ("the bare calls (ordinary streaming)", bare))
    ]


def _cpu(runs: dict[str, list[Run]]) -> Sequence[Row]:
    ratios = [one.cpu_s / other.cpu_s for one, other in zip(runs["1"], runs[SQLITE], strict=True)]
    cpu = {name: median(run.cpu_s for run in runs[name]) * 1e3 for name in ("1", SQLITE)}
    return [
        Row(
            figure="CPU of the bot a turn, on PostgreSQL over SQLite",
            value=median(ratios),
            goal=CPU_GOAL,
            beside=f"{cpu['1']:.1f} ms over {cpu[SQLITE]:.1f} ms",
        )
    ]


async def acknowledgements(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Measure how long deliveries wait until they are stored, many at once."""
    deliveries, rounds = (10, 1) if quick else (DELIVERIES, 5)
    rows: list[Row] = []
    async with open_site(folder) as site:
        ways = (
            ("one process on PostgreSQL", 1, site.database("of_one")),
            ("one process on SQLite", 1, ""),
            (f"{MOST} processes on PostgreSQL", MOST, site.database("of_most")),
        )
        for name, count, url in ways[:1] if quick else ways:
            async with site.members(count, url, name=name.replace(" ", "-")) as members:
                took: list[float] = []
                for _ in range(rounds):
                    share = deliveries // count
                    done = await asyncio.gather(*(member.do("accept", share) for member in members))
                    took += [seconds for one in done for seconds in one["took_s"]]
            rows.append(
                Row(
                    figure=f"delivery to acknowledgement, {deliveries} at once, {name}: 99 of 100 within",
                    value=p99(took) * 1e3,
                    unit="ms",
                    beside=f"half of them within {median(took) * 1e3:.0f} ms",
                )
            )
    return rows


async def wake_ups(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Measure how long a stop takes that is asked of one process, while the turn runs on another."""
    stops = 2 if quick else STOPS
    async with open_site(folder) as site:
        told = await _stop_elsewhere(site, site.database("told"), stops, name="told")
        looked = told if quick else await _stop_elsewhere(site, "", stops, name="looked")
    return [
        Row(
            figure="wake-up over processes: a stop at one, of a turn that runs on another, on PostgreSQL (NOTIFY)",
            value=median(told) * 1e3,
            unit="ms",
            goal=WAKE_UP_GOAL_MS,
            beside=f"99 of 100 within {p99(told) * 1e3:.0f} ms",
        ),
        Row(
            figure="the same where processes only look, on SQLite",
            value=median(looked) * 1e3,
            unit="ms",
            beside=f"99 of 100 within {p99(looked) * 1e3:.0f} ms",
        ),
    ]


async def _stop_elsewhere(site: Site, url: str, stops: int, *, name: str) -> Sequence[float]:
    """Return the seconds from each command to the end of the turn."""
    home = site.folder / f"{name}-0"
    async with (
        site.members(1, url, name=name) as (member,),
        open_product(
            home=home if not url else site.folder / f"{name}-here",
            model_url=site.endpoint.url,
            tools_url=site.tools_url,
            database_url=url and f"{url} {site.key}",
        ) as here,
    ):
        took: list[float] = []
        await site.endpoint.pace(first_token_s=WAIT_S)
        for number in range(stops):
            asked = len(await site.endpoint.requests())
            member.tell("hang", f"room-{number}")
            asker = (await member.told())["by"]
            while len(await site.endpoint.requests()) <= asked:  # noqa: ASYNC110  (another process sets no event)
                await asyncio.sleep(0.01)
            took.append(await _stop(here, member, f"room-{number}", asker))
        await site.endpoint.pace(first_token_s=0.0)
        return took


async def _stop(here: Product, member: Member, conversation: str, asker: str) -> float:
    place = question("", number=0, conversation=conversation).conversation
    stop = CommandInvoked(conversation=place, event_key=f"stop-{conversation}", author_id=asker, name="stop")
    began = time.monotonic()
    answer = await here.app.host.command(stop)
    assert isinstance(answer, CommandAnswer) and answer.text == "Stopping.", answer
    return (await member.told())["stopped_at"] - began
