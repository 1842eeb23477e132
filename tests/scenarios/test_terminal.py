"""The conversation at a terminal, with all its commands."""

from __future__ import annotations

import asyncio
import sys

from tests.fakes.terminal import CTRL_J, ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

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


async def test_a_conversation_is_chosen_and_gets_a_question_of_two_lines_with_a_file(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.write_mcp_json({})
    (toolbridge.folder / "my notes.txt").write_text("Milk and tea")
    (toolbridge.folder / "plan.pdf").write_bytes(b"%PDF-1.7")
    for name in ("red", "blue"):
        await endpoint.script({"text": f"Noted {name}."})
        await toolbridge.ask(f"remember {name}", "--conversation", name)
    await endpoint.script({"text": "It says milk and tea."}, {"text": "Bye."})
    async with run_in_terminal((*CHAT, "--resume"), environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("  1. blue  ")
        await terminal.shows("  2. red  ")
        terminal.type("7\n")
        await terminal.shows("Type a number from 1 to 2.")
        terminal.type("2\n")
        await terminal.shows("Conversation red.")
        terminal.type("/attach 'my notes.txt' plan.pdf" + ENTER)
        await terminal.shows("takes along my notes.txt (12 bytes), plan.pdf (8 bytes).")
        terminal.type("what is this?" + CTRL_J + "be brief" + ENTER)
        await terminal.shows("It says milk and tea.")
        await terminal.shows("plan.pdf was not read: only text files and images")
        terminal.type("/exit" + ENTER)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0
    sent = str((await endpoint.requests())[-1]["messages"])
    assert "remember red" in sent and "what is this?\\nbe brief" in sent and "Milk and tea" in sent


async def test_tools_are_drawn_on_a_terminal(toolbridge: Toolbridge) -> None:
    command = (sys.executable, "-m", "bot", "tools", "weather", "--trust")
    async with run_in_terminal(command, environment=toolbridge.environment, folder=toolbridge.folder) as (terminal, _):
        await terminal.shows("• get_weather")
    assert "**" not in terminal.text and "`" not in terminal.text
