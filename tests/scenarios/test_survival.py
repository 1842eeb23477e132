"""What a user sees when a part dies in the middle of a turn."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.fakes import mcp_servers
from tests.fakes.children import kill_all
from tests.fakes.mcp_servers.processes import until
from tests.fakes.terminal import CTRL_C, ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

OLDTIMER = Path(mcp_servers.__file__).parent / "oldtimer.py"


@pytest.fixture
def calls(toolbridge: Toolbridge) -> Callable[[], list[str]]:
    """Set a third-party server up that counts its calls; return how to read them."""
    file = toolbridge.folder / "calls.txt"
    old = {"command": sys.executable, "args": [str(OLDTIMER)], "env": {"CALLS_FILE": str(file)}, "trusted": True}
    toolbridge.write_mcp_json({"old": old, "toolbridge": {"bundled": True}})
    return lambda: file.read_text().split() if file.exists() else []


@asynccontextmanager
async def killed_later(process: asyncio.subprocess.Process) -> AsyncIterator[list[psutil.Process]]:
    """Yield the processes that the command has started by then; whatever the test leaves of them is ended."""
    children: list[psutil.Process] = []
    try:
        yield children
    finally:
        kill_all([*children, *_children(process)])
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _children(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


async def killed_while(toolbridge: Toolbridge, question: str, *, condition: Callable[[], object]) -> None:
    """Ask, and kill the bot as soon as the condition holds."""
    process = await toolbridge.start("chat", "-m", question)
    async with killed_later(process) as children:
        await until(condition, timeout_s=WAIT_S)
        children += _children(process)
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_a_tool_that_may_have_acted_is_not_run_again_after_kill_9_and_the_answer_says_so(
    toolbridge: Toolbridge, calls: Callable[[], list[str]]
) -> None:
    await killed_while(toolbridge, 'call old__slow with {"seconds": 30}', condition=calls)
    ran = await toolbridge.ask("What is 6 * 7?")
    assert calls() == ["slow"]
    assert "42" in ran.out
    assert "earlier question" in ran.err
    assert "may have run" in ran.err
    assert "may have run" not in (await toolbridge.ask("hello")).err


async def test_a_read_only_tool_is_run_again_after_kill_9(
    toolbridge: Toolbridge, calls: Callable[[], list[str]]
) -> None:
    await killed_while(
        toolbridge,
        'call old__count with {"text": "apples"} and call old__slow with {"seconds": 30}',
        condition=lambda: "slow" in calls(),
    )
    ran = await toolbridge.ask("hello")
    assert calls().count("slow") == 1
    assert "apples" in ran.err


async def test_a_question_that_was_being_thought_about_at_kill_9_is_answered_once(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    await endpoint.fail("stall", after_chunks=0)
    process = await toolbridge.start("chat", "-m", "What is 6 * 7?")
    async with killed_later(process) as children, asyncio.timeout(WAIT_S):
        await endpoint.next_request()
        children += _children(process)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    second, third = await toolbridge.ask("hello"), await toolbridge.ask("hello again")
    assert "42" in second.err
    assert "42" not in second.out + third.out + third.err
    history = await toolbridge.run("history", "main")
    assert history.out.count("you: What is 6 * 7?") == 1


async def test_a_tool_server_that_is_killed_in_the_middle_of_a_call_leaves_the_chat_alive(
    toolbridge: Toolbridge, calls: Callable[[], list[str]]
) -> None:
    arguments = (sys.executable, "-m", "bot", "chat", "--trust")
    async with run_in_terminal(arguments, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("\n>")
        terminal.type('call old__slow with {"seconds": 30}' + ENTER)
        await until(calls, timeout_s=WAIT_S)
        (server,) = [child for child in _children(process) if "oldtimer.py" in " ".join(child.cmdline())]
        server.kill()
        await terminal.shows("all the same: check")  # the sentence before it wraps
        terminal.type('call old__act with {"text": "again"}' + ENTER)
        await terminal.shows("act again")
        terminal.type("What is 6 * 7?" + ENTER)
        await terminal.shows("42")
    assert calls() == ["slow", "act"]


async def test_a_server_that_is_absent_is_said_and_holds_up_no_other(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({"gone": {"command": "no-such-program"}, "toolbridge": {"bundled": True}})
    assert "42" in (await toolbridge.ask("What is 6 * 7?")).out
    listed = await toolbridge.run("tools")
    assert "gone" in listed.out
    assert "cannot be started" in listed.out
    doctor = await toolbridge.run("doctor")
    assert doctor.code == 1
    assert "failed tools gone" in doctor.out.replace("  ", " ")


async def test_ctrl_c_stops_the_turn_and_the_chat_goes_on(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    await endpoint.fail("stall", after_chunks=0)
    arguments = (sys.executable, "-m", "bot", "chat", "--trust")
    async with run_in_terminal(arguments, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("\n>")
        terminal.type("hello" + ENTER)
        async with asyncio.timeout(WAIT_S):
            await endpoint.next_request()
        terminal.type(CTRL_C)
        await terminal.shows("Stopped.")
        terminal.type("What is 6 * 7?" + ENTER)
        await terminal.shows("42")
        terminal.type("/exit" + ENTER)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0
