"""Two commands on the same home folder: what one asks of a turn reaches the process that runs it."""

from __future__ import annotations

import asyncio
import signal

from tests.fakes.serving import serving_folder
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


async def test_run_drain_has_a_process_hand_over_by_its_name_and_waits_until_it_has_ended(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    nobody = await toolbridge.run("run", "--drain")
    assert (nobody.code, "No `toolbridge run` of this database is running" in nobody.err) == (2, True)
    environment = {**toolbridge.environment, "PROCESS_NAME": "blue"}
    async with serving_folder(toolbridge.folder, environment=environment) as serving:
        unknown = await toolbridge.run("run", "--drain", "green")
        assert (unknown.code, unknown.out) == (2, "")
        assert "No process of this database is called green. Running here: blue." in unknown.err
        drained = await toolbridge.run("run", "--drain", "blue")
        assert await serving.ended() == 128 + signal.SIGTERM
    assert drained.code == 0, drained.err
    assert drained.out.startswith("blue: asked to hand over.\n")
    assert drained.out.endswith("blue: has ended.\n")
