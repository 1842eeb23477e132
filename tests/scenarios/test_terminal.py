"""The conversation at a terminal, with all its commands."""

from __future__ import annotations

import asyncio
import sys

from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Toolbridge

CHAT = (sys.executable, "-m", "bot", "chat", "--trust")


async def test_a_whole_session_with_every_command(toolbridge: Toolbridge) -> None:
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("not an AI")
        await terminal.shows("\n>")
        terminal.type("What is 25 * 8?" + ENTER)
        await terminal.shows("toolbridge.calculate")
        await terminal.shows("200")
        terminal.type("/tools weather" + ENTER)
        await terminal.shows("get_weather")
        terminal.type("/examples" + ENTER)
        await terminal.shows("1.")
        terminal.type("1" + ENTER)
        await terminal.shows("Asia/Tokyo")
        terminal.type("/usage" + ENTER)
        await terminal.shows("2 turns")
        terminal.type("/stop" + ENTER)
        await terminal.shows("Nothing is running")
        terminal.type("/history" + ENTER)
        await terminal.shows("The last 4 messages")
        terminal.type("/clear" + ENTER)
        await terminal.shows("deleted")
        terminal.type("/history" + ENTER)
        await terminal.shows("no messages yet")
        terminal.type("/hist" + ENTER)
        await terminal.shows("/history")
        terminal.type("/help" + ENTER)
        await terminal.shows("Commands")
        terminal.type("/exit" + ENTER)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0


async def test_the_prompt_is_there_before_a_broken_setting_ends_the_chat_with_its_cure(toolbridge: Toolbridge) -> None:
    (toolbridge.folder / "mcp.json").write_text('{"mcpServers": []}')
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("mcp.json")
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 2
    assert "Traceback" not in terminal.text
