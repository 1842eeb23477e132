"""The way to PostgreSQL and a rolling upgrade, by the commands of docs/scale.md as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from cryptography.fernet import Fernet

from tests.documented.commands import Command, commands
from tests.documented.table import POSTGRES, run_by
from tests.fakes import postgres
from tests.fakes.slack import FakeSlack
from tests.fakes.terminal import run_in_terminal
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

PASSWORD = "pw-of-the-documents"
TERMINATED = 128 + signal.SIGTERM


@dataclass
class Machine:
    """Where the commands run; `running` are the processes that end with `&`, by their names."""

    toolbridge: Toolbridge
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict[str, asyncio.subprocess.Process])

    @property
    def environment(self) -> Mapping[str, str]:
        """Clients of PostgreSQL find the server of the tests, as its administrator."""
        path = f"{postgres.embedded()}{os.pathsep}{os.environ['PATH']}"
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.server().port), "PGUSER": "postgres"}
        return {**self.toolbridge.environment, **address, "PATH": path}

    async def run(self, command: Command) -> str:
        """Run a line; return what it printed."""
        program, *words = shlex.split(command.text)
        if command.text.endswith(" &"):
            await self.start(program.removeprefix("PROCESS_NAME="))
            return ""
        if program == "toolbridge":
            ran = await self.toolbridge.run(*words)
            assert ran.code == 0, (command, ran)
            return ran.out
        if "--pwprompt" in words:
            return await self.type_password(program, *words)
        process = await asyncio.create_subprocess_exec(program, *words, env=self.environment)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0, command
        return ""

    async def type_password(self, *words: str) -> str:
        async with run_in_terminal(words, environment=self.environment) as (terminal, process):
            for prompt in ("Enter password for new role:", "Enter it again:"):
                await terminal.shows(prompt)
                terminal.type(f"{PASSWORD}\n")
            async with asyncio.timeout(WAIT_S):
                assert await process.wait() == 0, terminal.text
            return terminal.text

    async def start(self, name: str) -> None:
        """Start a process of that name; return when it says that it is ready."""
        process = await Toolbridge(
            home=self.toolbridge.home,
            folder=self.toolbridge.folder,
            settings=self.toolbridge.settings | {"PROCESS_NAME": name},
        ).start("run")
        self.running[name] = process
        assert process.stderr is not None
        async with asyncio.timeout(WAIT_S):
            while b"ready: " not in (line := await process.stderr.readline()):
                assert line, f"{name} has ended"


@asynccontextmanager
async def open_machine(toolbridge: Toolbridge) -> AsyncGenerator[Machine]:
    machine = Machine(toolbridge)
    try:
        yield machine
    finally:
        for process in machine.running.values():
            if process.returncode is None:
                process.kill()
            await process.communicate()
        for what in ("DATABASE IF EXISTS toolbridge WITH (FORCE)", "ROLE IF EXISTS toolbridge"):
            postgres.server().run(f"DROP {what}")


def block_with(text: str) -> list[Command]:
    """Return the lines of the block of docs/scale.md that has this one."""
    lines = {command.line: command for command in commands() if command.document == "docs/scale.md"}
    (at,) = [number for number, command in lines.items() if command.text == text]
    first, last = at, at
    while first - 1 in lines:
        first -= 1
    while last + 1 in lines:
        last += 1
    return [lines[number] for number in range(first, last + 1)]


def processes(doctor: str) -> list[str]:
    return sorted(set(re.findall(r"\b(?:blue|green)(?:-2)?\b", doctor)))


@pytest.mark.usefixtures("endpoint")
async def test_the_way_to_postgresql_and_a_rolling_upgrade_run_as_shown(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.write_mcp_json({})
    assert (await toolbridge.ask("hello")).code == 0
    shown = {command.text.split()[0]: command for command in run_by(POSTGRES)}
    address = f"127.0.0.1:{postgres.server().port}"
    async with FakeSlack() as slack, open_machine(toolbridge) as machine:
        for command in block_with(shown["createuser"].text):
            await machine.run(command)
        key = {"TOOLBRIDGE_SECRET_KEY": Fernet.generate_key().decode()}
        toolbridge.settings |= key | {"PGPASSWORD": PASSWORD, "SLACK_API_URL": slack.api_url}
        (migrate,) = [command for command in run_by(POSTGRES) if " migrate " in command.text]
        words = migrate.text.replace("db.example.com:5432", address).replace("verify-full", "disable")
        assert "has all of it" in await machine.run(Command(migrate.document, migrate.line, words))

        toolbridge.settings |= {"DATABASE_URL": f"postgresql://toolbridge@{address}/toolbridge?sslmode=disable"}
        toolbridge.settings |= {"SLACK_BOT_TOKEN": "xoxb-test", "SLACK_APP_TOKEN": "xapp-test"}
        await asyncio.gather(machine.start("blue"), machine.start("green"))
        seen = [await machine.run(command) for command in block_with("toolbridge run --drain blue")]
        assert [processes(out) for out in seen if "store:" in out] == [
            ["blue", "green"],
            ["blue", "blue-2", "green"],
            ["blue-2", "green-2"],
        ]
        for name in ("blue", "green"):
            assert machine.running[name].returncode == TERMINATED
        await backed_up(machine)
        history = await toolbridge.run("history")
        assert "console/local/main/" in history.out


async def backed_up(machine: Machine) -> None:
    """Do what `backup` and `restore` print for a database of PostgreSQL; its tables are lost in between."""
    toolbridge = machine.toolbridge
    assert (await toolbridge.run("run", "--drain")).code == 0
    await do_what_is_printed(machine, (await toolbridge.run("backup", "a.zip")).out, "pg_dump")
    with psycopg.connect(f"{postgres.server().url.removesuffix('postgres')}toolbridge") as connection:
        connection.execute("DROP SCHEMA toolbridge CASCADE")
    empty = Toolbridge(toolbridge.folder / "empty", toolbridge.folder, toolbridge.settings)
    await do_what_is_printed(machine, (await empty.run("restore", "a.zip")).out, "pg_restore")


async def do_what_is_printed(machine: Machine, out: str, program: str) -> None:
    (line,) = re.findall(rf"^  (.*\b{program} -.*)$", out, flags=re.MULTILINE)
    assert PASSWORD not in line
    process = await asyncio.create_subprocess_shell(line, cwd=machine.toolbridge.folder, env=machine.environment)
    async with asyncio.timeout(WAIT_S):
        assert await process.wait() == 0, line
