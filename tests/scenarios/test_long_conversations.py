"""A conversation that outgrows the model's window, at the terminal: what was said first is still known."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.fakes.openai.reply import is_summary
from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

CHAT = (sys.executable, "-m", "bot", "chat", "--trust")


async def last_question(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the messages of the last request that was no summary, after the system prompt."""
    return [body for body in await endpoint.requests() if not is_summary(body)][-1]["messages"][1:]


async def test_what_was_said_first_is_known_by_a_summary_until_the_conversation_is_cleared(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings["MAX_CONVERSATION_LENGTH"] = "8"
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("\n>")
        await endpoint.script({"text": "Good dog."})
        terminal.type("My dog is called Rex" + ENTER)
        await terminal.shows("Good dog.")
        for number in range(6):
            await endpoint.script({"text": f"Answer {number}."})
            terminal.type(f"question {number}?" + ENTER)
            await terminal.shows(f"Answer {number}.")
        terminal.type("/history" + ENTER)
        await terminal.shows("I know only by my summary")
        await endpoint.script({"text": "It is Rex."})
        terminal.type("What is my dog called?" + ENTER)
        await terminal.shows("It is Rex.")
        first, *rest = await last_question(endpoint)
        assert "Summary of the conversation" in first["content"] and "My dog is called Rex" in first["content"]
        assert [message["role"] for message in rest] == ["assistant", "user"] * (len(rest) // 2)
        terminal.type("/clear" + ENTER)
        await terminal.shows("deleted")
        await endpoint.script({"text": "I do not know."})
        terminal.type("And my dog?" + ENTER)
        await terminal.shows("I do not know.")
        assert await last_question(endpoint) == [{"role": "user", "content": "And my dog?"}]
        terminal.type("/exit" + ENTER)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0


async def test_single_questions_are_summed_up_too_and_the_operator_reads_the_summary(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings["MAX_CONVERSATION_LENGTH"] = "4"
    for text in ("My dog is called Rex", "one?", "two?"):
        await endpoint.script({"text": f"You said: {text}"})
        assert (await toolbridge.ask(text)).code == 0
    shown = (await toolbridge.run("history", "main")).out.splitlines()
    [border] = [number for number, line in enumerate(shown) if "only by its summary" in line]
    assert "My dog is called Rex" in shown[0] and "The user said: My dog is called Rex" in shown[border + 1]
    assert any("two?" in line for line in shown[border:])
