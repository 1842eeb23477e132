"""Approvals, forms and links at a real terminal, and what `-m` does in their place; the server tells what ran."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.fakes.terminal import ENTER, FakeTerminal, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Toolbridge

CHAT = (sys.executable, "-m", "bot", "chat", "--trust", "--model", "rehearsal")
SERVERS = Path(__file__).parents[1] / "fakes" / "mcp_servers"
KEYS = "Run old/act? [r]un, [h]our, [e]dit, [d]ecline, [s]uggest rule, [?] details:"


def chat(toolbridge: Toolbridge) -> AbstractAsyncContextManager[tuple[FakeTerminal, asyncio.subprocess.Process]]:
    return run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder)


async def leave(terminal: FakeTerminal, process: asyncio.subprocess.Process) -> None:
    terminal.type("/exit" + ENTER)
    async with asyncio.timeout(WAIT_S):
        assert await process.wait() == 0


def add_oldtimer(toolbridge: Toolbridge) -> Path:
    """Add a server that writes its calls to the file that is returned."""
    calls = toolbridge.folder / "calls"
    command = {"command": sys.executable, "args": [str(SERVERS / "oldtimer.py")], "env": {"CALLS_FILE": str(calls)}}
    toolbridge.write_mcp_json({"old": command})
    (toolbridge.home / "toolbridge.toml").unlink()  # the defaults hold: what acts asks
    return calls


def ran(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


async def test_a_call_is_asked_in_line_waits_over_a_restart_and_runs_once(toolbridge: Toolbridge) -> None:
    calls = add_oldtimer(toolbridge)
    async with chat(toolbridge) as (terminal, process):
        await terminal.shows("Conversation main.")
        terminal.type('call old__act with {"mark": "m1"}' + ENTER)
        await terminal.shows(KEYS)
        terminal.type("good morning" + ENTER)
        await terminal.shows("I am the rehearsal model")
        await leave(terminal, process)
    assert ran(calls) == []
    async with chat(toolbridge) as (terminal, process):
        await terminal.shows('mark: "m1"')
        await terminal.shows(KEYS)
        terminal.type("r" + ENTER)
        await terminal.shows("Approved by")
        await terminal.shows("old.act")
        await leave(terminal, process)
    assert ran(calls) == ["act m1"]


async def test_with_m_a_call_that_asks_is_declined_with_the_cure_and_yes_runs_it(toolbridge: Toolbridge) -> None:
    calls = add_oldtimer(toolbridge)
    declined = await toolbridge.ask("call old__act with {}")
    assert (declined.code, ran(calls)) == (0, [])
    assert "old/act asks first. Run it in `toolbridge chat`, write a rule, or add --yes." in declined.err
    assert "declined" in declined.out
    approved = await toolbridge.ask("/run old/act {}", "--yes")
    assert (approved.code, len(ran(calls))) == (0, 1)
    assert "old/act asks first: --yes runs it." in approved.err
    unknown = await toolbridge.ask("/run old/nothing")
    assert (unknown.code, unknown.out) == (2, "")


async def test_a_servers_form_is_filled_in_and_its_link_is_shown_with_its_host(toolbridge: Toolbridge) -> None:
    answers = toolbridge.folder / "answers"
    server = {
        "command": sys.executable,
        "args": [str(SERVERS / "inquirer.py"), "--era", "handshake"],
        "env": {"ANSWERS_FILE": str(answers)},
    }
    toolbridge.write_mcp_json({"cafe": server})
    async with chat(toolbridge) as (terminal, process):
        await terminal.shows("Conversation main.")
        terminal.type("call cafe__order with {}" + ENTER)
        await terminal.shows("[f]ill in, [d]ecline")
        terminal.type("f" + ENTER)
        for field, typed in (
            ("Name", "Ada"),
            ("Cups", "12"),
            ("Sugar", ""),
            ("To Go", "y"),
            ("Size", "2"),
            ("Extras", "1"),
        ):
            await terminal.shows(field)
            terminal.type(typed + ENTER)
        await terminal.shows("[12]")  # too many: only that is asked for again
        terminal.type("2" + ENTER)
        await terminal.shows("Answered by")
        terminal.type("call cafe__pay with {}" + ENTER)
        await terminal.shows("The page is on pay.example.")
        await terminal.shows("Open https://pay.example/checkout?order=7")
        terminal.type(ENTER)
        await terminal.shows("pay: accept")
        await leave(terminal, process)
    assert answers.read_text().splitlines() == [
        '["accept", {"name": "Ada", "cups": 2, "sugar": 0.5, "to_go": true, "size": "L", "extras": ["milk"]}]',
    ]
