"""The bot between a loopback platform, a scripted model and a tool server that can be held: in the test's process, or
as `python -m bot run`, a process of its own that can be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.turns.limits import Patience
from tests.failures import tools
from tests.fakes.mcp_servers.processes import lines, until
from tests.fakes.rights import allow_all
from tests.scenarios.drivers import DRIVERS, Conversation, Driver
from tests.scenarios.model import Model

WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class World:
    """What is around the bot: people on a platform, a scripted model, tools that can be held, and its folder."""

    driver: Driver

    @property
    def model(self) -> Model:
        return self.driver.model

    @property
    def home(self) -> Path:
        return self.driver.home

    @property
    def calls(self) -> list[str]:
        """The tool calls that were begun, oldest first."""
        return lines(self.home / "calls.txt")

    def hold_tools(self) -> None:
        """Keep every tool call from ending from now on."""
        (self.home / "hold").touch()

    def release_tools(self) -> None:
        (self.home / "hold").unlink(missing_ok=True)

    async def until_called(self, tool: str) -> None:
        """Wait until a call of the tool has begun."""
        await until(lambda: tool in self.calls, timeout_s=WAIT_S)

    async def until_called_again(self, tool: str) -> None:
        """Wait until a second call of the tool has begun."""
        await until(lambda: self.calls.count(tool) > 1, timeout_s=WAIT_S)

    async def until_processes(self, count: int) -> None:
        """Wait until so many processes know of each other."""
        described = "SELECT 1 FROM worker WHERE about <> ''"
        await until(lambda: len(self._execute(described)) == count, timeout_s=WAIT_S)

    @contextmanager
    def database_that_refuses(self, change: str) -> Generator[None]:
        """Make the bot's database refuse a change, such as "INSERT ON turn", as one does on a full disk."""
        self._execute(f"CREATE TRIGGER full BEFORE {change} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        yield
        self._execute("DROP TRIGGER full")

    async def until_tried_again(self) -> None:
        """Wait until a turn is worked on for the second time."""
        await until(lambda: self._execute("SELECT 1 FROM turn WHERE attempts > 1"), timeout_s=WAIT_S)

    async def until_ended(self) -> None:
        """Wait until a turn has ended."""
        await until(lambda: self._execute("SELECT 1 FROM turn WHERE state = 'answered'"), timeout_s=WAIT_S)

    async def until_shown(self) -> None:
        """Wait until the messages of asks are known to show them as they are."""
        await until(lambda: not self._execute("SELECT 1 FROM ask_post WHERE is_due = 1"), timeout_s=WAIT_S)

    async def until_given_up(self) -> None:
        """Wait until a warning about a budget is given up, as its place takes none."""
        await until(lambda: self._execute("SELECT 1 FROM budget_warning WHERE state = 'dropped'"), timeout_s=WAIT_S)

    async def until_noted(self) -> None:
        """Wait until the bot has noted what makes its next life look for what it missed."""
        note = self.driver.presence_note
        statement = f"SELECT 1 FROM note WHERE name LIKE '{note}%'"
        await until(lambda: self._execute(statement), timeout_s=WAIT_S)

    def _execute(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.home / "toolbridge.db")) as database, database:
            return database.execute(statement).fetchall()

    async def until_asked(self, times: int) -> None:
        """Wait until the model was asked so many times."""
        async with asyncio.timeout(WAIT_S):
            while len(await self.model.requests()) < times:  # noqa: ASYNC110  (the server sets no event)
                await asyncio.sleep(0.01)

    def write_mcp_json(self) -> Path:
        """Write the configuration with the one tool server `shop`; return its file."""
        environment = {"CALLS_FILE": str(self.home / "calls.txt"), "HOLD_FILE": str(self.home / "hold")}
        server = {
            "command": sys.executable,
            "args": ["-I", "-S", str(tools.__file__)],
            "env": environment,
            "trusted": True,
        }
        allow_all(self.home)
        file = self.home / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"shop": server}}), encoding="utf-8")
        return file

    @asynccontextmanager
    async def serve(self, *, patience: Patience | None = None, **options: Any) -> AsyncGenerator[Conversation]:
        """Serve within this process, quickly; yields a first conversation."""
        async with self.driver.serving(
            options=options, patience=patience, mcp_config=self.write_mcp_json()
        ) as conversation:
            yield conversation

    async def kill(self, life: Life) -> None:
        """Kill the process; the platform notices."""
        await life.kill()
        await self.driver.notice_death()

    @asynccontextmanager
    async def run(self, **environment: str) -> AsyncGenerator[Life]:
        """Start `python -m bot run` and wait until it is connected; at the end it is told to end, and does."""
        self.write_mcp_json()
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        clean |= {
            "PYTHONUTF8": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TOOLBRIDGE_HOME": str(self.home),
            "OPENAI_BASE_URL": self.model.url,
            "OPENAI_MODEL": "rehearsal",
            **self.driver.environment,
        }
        with (self.home / "bot.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**clean, **environment},
            )
        life = Life(process)
        try:
            await until(lambda: self.driver.is_connected or life.has_ended, timeout_s=WAIT_S)
            assert not life.has_ended, (self.home / "bot.log").read_text(encoding="utf-8")
            yield life
        finally:
            await life.end()


@dataclass(frozen=True)
class Life:
    """One process of the bot."""

    process: asyncio.subprocess.Process

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self.has_ended:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(WAIT_S):
                await self.process.wait()
        finally:
            if not self.has_ended:
                self.process.kill()


@asynccontextmanager
async def open_failing_world(home: Path, platform: str) -> AsyncGenerator[World]:
    """A loopback platform with three people, and a model; the bot is not there yet."""
    async with DRIVERS[platform](home) as driver:
        driver.be_impatient()
        world = World(driver=driver)
        try:
            yield world
        finally:
            world.release_tools()
