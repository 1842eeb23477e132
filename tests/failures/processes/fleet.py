"""Several `python -m bot run` on one database: started, killed, paused and told to leave one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import psycopg
from cryptography.fernet import Fernet

from bot.settings import Settings
from tests.failures.world import Life, World
from tests.fakes.mcp_servers.processes import until
from tests.kills.database import Database, PostgresDatabase, SqliteFile
from tests.scenarios.drivers import Conversation
from tests.scenarios.drivers.slack import SlackDriver

PROCESSES = 3
LOOK_S, SERVED_S = 0.05, 0.5  # the end of a connection is noticed within that time
WAIT_S = 90.0  # many processes start slowly on two processors
SKEWED = Path(__file__).parent / "skewed"
ASKED = "tool_call_waits"  # in the log of a process
SOCKETS = 2  # of each process of Slack


@dataclass(kw_only=True)
class Member:
    """One of the processes."""

    name: str
    life: Life
    log: Path
    is_paused: bool = False

    @property
    def pid(self) -> int:
        return self.life.process.pid

    @property
    def is_there(self) -> bool:
        return not self.life.has_ended


@dataclass(kw_only=True)
class Fleet:
    """The processes on one database, in the world around them."""

    world: World
    url: str = ""  # of a PostgreSQL database; without it they share a file
    through: str = ""  # how they reach it, where that is another way
    members: list[Member] = field(default_factory=list[Member])
    _started: int = 0
    _key: str = field(default_factory=lambda: Fernet.generate_key().decode())

    @property
    def database(self) -> Database:
        if self.url:
            return PostgresDatabase(self.url)
        return SqliteFile(self.world.home / "toolbridge.db", is_shared=True)

    @property
    def living(self) -> Sequence[Member]:
        return [member for member in self.members if member.is_there and not member.is_paused]

    # --- their lives

    async def start(self, *, clock_s: float = 0.0, **environment: str) -> Member:
        """Start one more and wait until it takes part; its clock is ahead by so much."""
        self._started += 1
        number = self._started
        home = self.world.home / f"process-{number}" if self.url else self.world.home
        log = self.world.home / f"bot-{number}.log"
        environment = {**self._environment(home), **_clock(clock_s), **environment}
        if self.url:
            environment |= {"DATABASE_URL": self.through or self.url, "TOOLBRIDGE_SECRET_KEY": self._key}
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.world.home,
                env=environment,
            )
        member = Member(name=f"process-{number}", life=Life(process), log=log)
        self.members.append(member)
        try:
            await until(lambda: self._takes_part(member) or not member.is_there, timeout_s=WAIT_S)
        except TimeoutError:
            raise AssertionError(f"{member.name} takes no part:\n{log.read_text(encoding='utf-8')}") from None
        assert member.is_there, log.read_text(encoding="utf-8")
        return member

    def _environment(self, home: Path) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        named = {"PROCESS_NAME": home.name} if "process_name" in Settings.model_fields and self.url else {}
        return {
            **clean,
            "PYTHONUTF8": "1",
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "TOOLBRIDGE_HOME": str(home),
            "OPENAI_BASE_URL": self.world.model.url,
            "OPENAI_MODEL": "rehearsal",
            "HTTP_PORT": "off",
            "REQUESTS_PER_MINUTE": "100000",  # one person asks in all of many conversations
            **named,
            **self.world.driver.environment,
        }

    def _takes_part(self, member: Member) -> bool:
        return any(_pid(worker) == member.pid for worker in self.workers()) and _is_served(self)

    async def kill(self, member: Member) -> None:
        """Kill it with `kill -9`; what was held for it is held no longer."""
        await member.life.kill()
        self.world.driver.release_held()

    def pause(self, member: Member) -> None:
        member.life.process.send_signal(signal.SIGSTOP)
        member.is_paused = True

    def wake(self, member: Member) -> None:
        member.life.process.send_signal(signal.SIGCONT)
        member.is_paused = False

    async def leave(self, member: Member) -> None:
        """Tell it to end, as an upgrade does, and see that it does."""
        await member.life.end()

    # --- what they do

    def workers(self) -> Sequence[str]:
        """Return the names of all processes that the database knows."""
        return [str(row["id"]) for row in self.rows("SELECT id FROM worker")]

    def rows(self, statement: str, *parameters: object) -> Sequence[Mapping[str, object]]:
        """Return what a statement finds; nothing where there are no tables yet."""
        try:
            with self.database.reading() as rows:
                return [dict(row) for row in rows(statement, *parameters)]  # pyright: ignore
        except (LookupError, psycopg.OperationalError):  # not there yet, or not there at the moment
            return []

    async def holder(self) -> Member:
        """Return the process that works on the one open turn, once there is one."""
        found: list[Member] = []

        def is_held() -> bool:
            held = self.rows("SELECT worker FROM turn WHERE ended_at IS NULL AND state IN ('running', 'delivering')")
            pids = {_pid(str(row["worker"])) for row in held}
            found[:] = [member for member in self.living if member.pid in pids]
            return bool(found)

        await until(is_held, timeout_s=WAIT_S)
        (member,) = found
        return member

    async def until_taken_over(self, member: Member) -> None:
        """Wait until no open turn belongs to the process."""

        def is_free() -> bool:
            held = self.rows("SELECT worker FROM turn WHERE ended_at IS NULL AND worker <> ''")
            return all(_pid(str(row["worker"])) != member.pid for row in held)

        await until(is_free, timeout_s=WAIT_S)

    async def until_renewed(self, member: Member) -> None:
        """Wait until the process, which was paused, has its lease again."""
        await until(lambda: any(_pid(worker) == member.pid for worker in self.workers()), timeout_s=WAIT_S)

    async def until_served(self) -> None:
        """Wait until a press reaches one of them; before that, Discord tells its user to try again."""
        served_s = 0.0
        while served_s < SERVED_S:
            await asyncio.sleep(LOOK_S)
            served_s = served_s + LOOK_S if self.world.driver.is_connected else 0.0

    async def until_quiet(self) -> None:
        """Wait until no turn is open."""
        count = "SELECT count(*) AS open FROM turn WHERE ended_at IS NULL"
        await until(lambda: [row["open"] for row in self.rows(count)] == [0], timeout_s=WAIT_S)

    async def until_open(self, turns: int) -> None:
        """Wait until so many turns are open."""
        await until(lambda: len(self.rows("SELECT id FROM turn WHERE ended_at IS NULL")) >= turns, timeout_s=WAIT_S)

    async def until_shown(self, conversation: Conversation, *, traces: int = 0) -> None:
        """Wait until nothing grows any more, and so many traces show that their calls are done."""

        def is_done() -> bool:
            shown = [trace.shown.split("\n")[0] for trace in conversation.traces]
            return not conversation.growing and len(shown) >= traces and not any("…" in first for first in shown)

        await self.world.driver.until(is_done, WAIT_S)

    def asker(self) -> Member:
        """Return the process that asked for an approval last, as it says in its log."""
        told = {member.name: member.log.read_text(encoding="utf-8").count(ASKED) for member in self.living}
        (member,) = [member for member in self.living if told[member.name]]
        return member


def _pid(worker: str) -> int:
    """Return the process id in a worker's name, see `bot.turns.worker`."""
    parts = worker.split("|")
    return int(parts[1]) if len(parts) > 1 else 0


def _clock(ahead_s: float) -> dict[str, str]:
    """Return the environment of a process whose wall clock is ahead by so much."""
    if not ahead_s:
        return {}
    house = Path(__file__).parents[3]
    return {"PYTHONPATH": f"{SKEWED}{os.pathsep}{house}", "AHEAD_S": str(ahead_s)}


def _is_served(fleet: Fleet) -> bool:
    driver = cast("object", fleet.world.driver)
    if isinstance(driver, SlackDriver):
        return len(driver.slack.open_sockets()) >= SOCKETS * len(fleet.living)
    return fleet.world.driver.is_connected


@asynccontextmanager
async def open_fleet(
    world: World, url: str = "", *, processes: int = PROCESSES, through: str = ""
) -> AsyncGenerator[Fleet]:
    """Start so many processes; at the end those that live are told to end, and do."""
    world.write_mcp_json()
    fleet = Fleet(world=world, url=url, through=through)
    try:
        await asyncio.gather(*(fleet.start() for _ in range(processes)))
        yield fleet
    finally:
        for member in fleet.members:
            if member.is_paused:
                fleet.wake(member)
        world.release_tools()
        world.driver.release_held()
        await asyncio.gather(*(member.life.end() for member in fleet.members))
