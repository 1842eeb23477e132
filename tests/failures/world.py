"""The bot between a loopback Slack, a scripted model and a tool server that can be held: in the test's process, or as
`python -m bot run`, a process of its own that can be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.failures import tools
from tests.fakes.mcp_servers.processes import lines, until
from tests.fakes.slack import FakeSlack
from tests.scenarios.model import Model
from tests.scenarios.slack.serving import Bot, open_world, serving

WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is around the bot on every platform: a scripted model, tools that can be held, and its folder."""

    model: Model
    home: Path

    @property
    def calls(self) -> list[str]:
        """The tool calls that were begun, oldest first."""
        return lines(self.home / "calls.txt")

    def hold_tools(self) -> None:
        """Let no tool call end from now on."""
        (self.home / "hold").touch()

    def release_tools(self) -> None:
        (self.home / "hold").unlink(missing_ok=True)

    async def until_called(self, tool: str) -> None:
        """Wait until a call of the tool has begun."""
        await until(lambda: tool in self.calls, timeout_s=WAIT_S)

    @contextmanager
    def database_that_refuses(self, change: str) -> Generator[None]:
        """Let the bot's database refuse a change, such as "INSERT ON turn", as one does on a full disk."""
        self._execute(f"CREATE TRIGGER full BEFORE {change} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        yield
        self._execute("DROP TRIGGER full")

    async def until_tried_again(self) -> None:
        """Wait until a turn is worked on for the second time."""
        await until(lambda: self._execute("SELECT 1 FROM turn WHERE attempts > 1"), timeout_s=WAIT_S)

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
        file = self.home / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"shop": server}}), encoding="utf-8")
        return file

    @asynccontextmanager
    async def run_until(self, is_connected: Callable[[], Any], environment: Mapping[str, str]) -> AsyncGenerator[Life]:
        """Start `python -m bot run` and wait until it is connected; at the end it is told to end, and does."""
        self.write_mcp_json()
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        clean |= {
            "PYTHONUTF8": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TOOLBRIDGE_HOME": str(self.home),
            "OPENAI_BASE_URL": self.model.url,
            "OPENAI_MODEL": "rehearsal",
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
            await until(lambda: is_connected() or life.has_ended, timeout_s=WAIT_S)
            assert not life.has_ended, (self.home / "bot.log").read_text(encoding="utf-8")
            yield life
        finally:
            await life.end()


@dataclass(frozen=True, kw_only=True)
class World(Surroundings):
    """The bot's surroundings in Slack."""

    slack: FakeSlack

    @asynccontextmanager
    async def serve(self, **options: Any) -> AsyncGenerator[Bot]:
        """Serve within this process, quickly."""
        settings = {"mcp_config": self.write_mcp_json()}
        async with serving(self.slack, self.model, self.home, settings=settings, options=options) as bot:
            yield bot

    @asynccontextmanager
    async def run(self, **environment: str) -> AsyncGenerator[Life]:
        """Start the bot as a process of its own and wait until it is connected."""
        given = {
            "SLACK_API_URL": self.slack.api_url,
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
            **environment,
        }
        async with self.run_until(lambda: len(self.slack.open_sockets()) == 2, given) as life:
            yield life


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
async def open_failing_world(home: Path) -> AsyncGenerator[World]:
    """A loopback Slack with the channel C1 of three people, and a model; the bot is not there yet."""
    async with open_world() as (slack, model):
        slack.ack_timeout_s = 1.0
        world = World(slack=slack, model=model, home=home)
        try:
            yield world
        finally:
            world.release_tools()
