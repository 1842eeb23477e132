"""Two commands on the same home folder: what one asks of a turn reaches the process that runs it."""

from __future__ import annotations

import asyncio

from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge


async def test_a_stop_from_another_process_ends_the_answer_that_is_being_worked_on(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    await endpoint.fail("stall")
    asking = await toolbridge.start("chat", "-m", "hello")
    async with asyncio.timeout(WAIT_S):
        await endpoint.next_request()
    stopped = await toolbridge.ask("/stop")
    assert (stopped.code, stopped.out.strip()) == (0, "Stopping.")
    async with asyncio.timeout(WAIT_S):
        out, _ = await asking.communicate()
    assert (asking.returncode, out.decode().strip()) == (1, "Stopped.")
    history = await toolbridge.run("history", "main")
    assert "you: hello" in history.out and "bot: Stopped." in history.out


async def test_a_stop_where_nothing_runs_says_so(toolbridge: Toolbridge, endpoint: Endpoint) -> None:
    assert (await toolbridge.ask("hello")).code == 0
    assert (await toolbridge.ask("/stop")).out.strip() == "Nothing is running in this conversation."
