"""Values that mcp.json wants to be asked for (VS Code's `inputs`): the terminal asks, else the environment answers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.fakes.rights import allow_all
from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import Toolbridge

WAIT_S = 60
OLDTIMER = Path(__file__).parents[1] / "fakes" / "mcp_servers" / "oldtimer.py"
ASK = [
    sys.executable,
    "-m",
    "bot",
    "chat",
    "--trust",
    "--model",
    "rehearsal",
    "-m",
    'call old__env with {"name": "KEY"}',
]


def write_file(toolbridge: Toolbridge) -> None:
    entry = {"command": sys.executable, "args": [str(OLDTIMER)], "env": {"KEY": "${input:calendar-key}"}}
    inputs = [{"type": "promptString", "id": "calendar-key", "description": "Key of the calendar"}]
    document = {"inputs": inputs, "servers": {"old": entry}}
    (toolbridge.folder / "mcp.json").write_text(json.dumps(document), encoding="utf-8")
    allow_all(toolbridge.home)


async def test_the_terminal_asks_and_the_server_gets_the_answer(toolbridge: Toolbridge) -> None:
    write_file(toolbridge)
    async with run_in_terminal(ASK, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("Key of the calendar")
        terminal.type("sp26" + ENTER)
        await terminal.shows("sp26", times=2)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0


async def test_the_environment_answers_without_a_terminal(toolbridge: Toolbridge) -> None:
    write_file(toolbridge)
    unanswered = await toolbridge.run("doctor")
    assert "the input 'calendar-key' has no value. Set CALENDAR_KEY in the environment or in .env" in unanswered.out
    toolbridge.settings |= {"CALENDAR_KEY": "sp26"}
    answered = await toolbridge.run(*ASK[3:])
    assert "sp26" in answered.out
