"""How the bot ends when it is told to: what is nearly done is done, the rest is left, and no process stays behind."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fakes import mcp_servers
from tests.fakes.children import is_alive
from tests.fakes.mcp_servers.processes import lines, until
from tests.fakes.serving import Serving, posts, serving_folder
from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Toolbridge

OLDTIMER = str(Path(mcp_servers.__file__).parent / "oldtimer.py")
STUBBORN = """
import runpy, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
TERMINATED = 128 + signal.SIGTERM
CHAT = (sys.executable, "-m", "bot", "chat", "--trust")


@pytest.fixture
def calls(toolbridge: Toolbridge) -> Path:
    """Set up the bundled server and one behind a shell; return the file in which the latter's calls are."""
    file = toolbridge.folder / "calls.txt"
    shell = {
        "command": "sh",
        "args": ["-c", f"'{sys.executable}' '{OLDTIMER}'; true"],
        "env": {"CALLS_FILE": str(file)},
    }
    toolbridge.write_mcp_json({"old": shell, "toolbridge": {"bundled": True}})
    return file


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def rows(toolbridge: Toolbridge, statement: str) -> list[Any]:
    with closing(sqlite3.connect(toolbridge.home / "toolbridge.db")) as database:
        return database.execute(statement).fetchall()


async def begin(serving: Serving, calls: Path, *, seconds: float) -> list[psutil.Process]:
    """Let a turn call a slow tool; return the processes that the bot has started once the call is running."""
    await serving.ask(f'call old__slow with {{"seconds": {seconds}}}', key="slow")
    await until(lambda: lines(calls) == ["slow"], timeout_s=WAIT_S)
    await until(lambda: len(serving.children()) >= 3, timeout_s=WAIT_S)  # two servers and a shell
    return serving.children()


async def test_sigterm_lets_a_running_turn_end_and_leaves_what_waits_for_the_next_start(
    toolbridge: Toolbridge, calls: Path
) -> None:
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment) as serving:
        children = await begin(serving, calls, seconds=1)
        await serving.ask("What is 6 * 7?", key="waits")
        serving.signal(signal.SIGTERM)
        assert await serving.ended() == TERMINATED
        assert living(children) == []
    assert [post["to"] for post in posts(toolbridge.folder)] == ["slow"]
    assert "at last" in posts(toolbridge.folder)[0]["text"]
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment):
        await until(lambda: len(posts(toolbridge.folder)) == 2, timeout_s=WAIT_S)
    assert "42" in posts(toolbridge.folder)[1]["text"]
    assert lines(calls) == ["slow"]


async def test_sigterm_cuts_no_call_that_acts_and_the_next_start_goes_on_with_its_result(
    toolbridge: Toolbridge, calls: Path
) -> None:
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment, drain_s=0.5) as serving:
        children = await begin(serving, calls, seconds=3)
        serving.signal(signal.SIGTERM)
        assert await serving.ended() == TERMINATED
        assert living(children) == []
    assert posts(toolbridge.folder) == []
    assert rows(toolbridge, "SELECT id FROM worker") == []  # nobody has to wait for the lease to run out
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment) as serving:
        await until(lambda: serving.logged("turn_ended"), timeout_s=WAIT_S)
        assert serving.logged("turn_ended")[0]["attempt"] == 1  # an orderly end spends none
    assert [post["to"] for post in posts(toolbridge.folder)] == ["slow"]
    assert "at last" in posts(toolbridge.folder)[0]["text"]
    assert lines(calls) == ["slow"]


async def test_ctrl_c_waits_like_sigterm_and_a_second_signal_cuts_that_short_in_as_good_order(
    toolbridge: Toolbridge, calls: Path
) -> None:
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment, drain_s=600) as serving:
        children = await begin(serving, calls, seconds=600)
        serving.signal(signal.SIGINT)
        await asyncio.sleep(0.3)  # nothing is seen of a bot that drains; were this too short, the test would be weaker
        assert serving.process.returncode is None
        serving.signal(signal.SIGTERM)
        assert await serving.ended() == 128 + signal.SIGINT
        assert living(children) == []
        assert "Traceback" not in serving.log.read_text()
    assert rows(toolbridge, "SELECT id FROM worker") == []
    assert rows(toolbridge, "SELECT state, attempts FROM turn") == [("running", 0)]


async def test_a_tool_server_that_ignores_sigterm_is_ended_all_the_same(toolbridge: Toolbridge) -> None:
    stubborn = {"command": sys.executable, "args": ["-c", STUBBORN, OLDTIMER]}
    toolbridge.write_mcp_json({"stubborn": stubborn})
    async with serving_folder(toolbridge.folder, environment=toolbridge.environment) as serving:
        await serving.ask('call stubborn__act with {"text": "now"}')
        await until(lambda: posts(toolbridge.folder), timeout_s=WAIT_S)
        (child,) = serving.children()
        child.suspend()  # so that it does not see its input end either
        serving.signal(signal.SIGTERM)
        assert await serving.ended() == TERMINATED
        assert living([child]) == []


async def test_sigterm_ends_a_question_from_the_command_line_and_the_next_one_gets_its_answer(
    toolbridge: Toolbridge, calls: Path
) -> None:
    process = await toolbridge.start("chat", "-m", 'call old__slow with {"seconds": 600}')
    await until(lambda: lines(calls) == ["slow"], timeout_s=WAIT_S)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    async with asyncio.timeout(WAIT_S):
        out, _ = await process.communicate()
    assert process.returncode == TERMINATED
    assert out == b""
    assert living(children) == []
    ran = await toolbridge.ask("What is 6 * 7?")
    assert "may have run" in ran.err
    assert "42" in ran.out


async def test_closing_the_terminal_ends_a_chat_with_all_that_it_started(toolbridge: Toolbridge, calls: Path) -> None:
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("\n>")
        terminal.type('call old__slow with {"seconds": 600}' + ENTER)
        await until(lambda: lines(calls) == ["slow"], timeout_s=WAIT_S)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 128 + signal.SIGHUP
        assert living(children) == []
        assert "Traceback" not in terminal.text
