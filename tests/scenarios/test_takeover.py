"""Two real processes: what one has begun to show when it dies or ends, the other brings to its end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.failures.kills import HALF
from tests.failures.table import LONG
from tests.failures.world import WAIT_S, World, open_failing_world
from tests.scenarios.drivers import DRIVERS
from tests.scenarios.model import calls

TAKEN_OVER_S = 20.0


@pytest.fixture(params=list(DRIVERS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_failing_world(tmp_path, request.param) as world:
        yield world


async def test_an_answer_that_was_growing_at_kill_9_is_ended_by_the_other_process_even_where_it_may_not_read(
    world: World,
) -> None:
    conversation = await world.driver.open()
    await world.model.script({"text": LONG}, {"text": LONG})
    await world.model.fail("stall", after_chunks=HALF)
    async with world.run() as first:
        await conversation.ask("tell me all")
        await world.driver.until(lambda: any(len(one.shown) > 700 for one in conversation.growing), WAIT_S)
        [growing] = conversation.written
        async with world.run():
            await world.until_processes(2)
            world.driver.hide_threads()
            killed_at = time.monotonic()
            await first.kill()
            await conversation.answered()
            assert time.monotonic() - killed_at < TAKEN_OVER_S
    assert "\n".join(message.shown for message in conversation.written).split() == LONG.split()
    assert conversation.written[0] is growing
    assert conversation.growing == []


async def test_a_turn_whose_tool_only_reads_is_handed_over_with_its_trace_even_where_the_other_process_may_not_read(
    world: World,
) -> None:
    conversation = await world.driver.open()
    await world.model.script(calls("shop__look"), {"text": "It looks fine."}, {"text": "It is 21."})
    world.hold_tools()
    async with world.run() as first:
        question = await conversation.ask("look")
        await world.until_called("look")
        await world.driver.until(lambda: len(conversation.traces) == 1, WAIT_S)
        second = await conversation.ask("What is 20 + 1?", by="ben")
        await world.driver.until(lambda: second.is_waiting, WAIT_S)
        async with world.run():
            await world.until_processes(2)
            world.driver.hide_threads()
            told_at = time.monotonic()
            first.process.terminate()
            await world.until_called_again("look")
            assert time.monotonic() - told_at < TAKEN_OVER_S
            world.release_tools()
            await conversation.answered(2)
            await world.driver.until(lambda: second.is_unmarked, WAIT_S)
            await first.process.wait()
    assert [message.shown for message in conversation.written] == ["It looks fine.", "It is 21."]
    [trace] = conversation.traces
    assert "running" not in trace.shown
    conversation.check_answered(question, second)
