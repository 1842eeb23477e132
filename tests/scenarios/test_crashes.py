"""The real process is killed more than once, or with several questions open; `tests/failures` has each step of one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.failures.kills import HALF
from tests.failures.table import ACT, LONG, LOOK
from tests.failures.world import WAIT_S, World, open_failing_world
from tests.scenarios.drivers import DRIVERS
from tests.scenarios.model import calls


@pytest.fixture(params=list(DRIVERS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_failing_world(tmp_path, request.param) as world:
        yield world


async def test_questions_that_waited_behind_the_one_at_work_are_answered_in_order_after_kill_9(world: World) -> None:
    conversation = await world.driver.open()
    world.hold_tools()
    async with world.run() as life:
        first = await conversation.ask(ACT)
        await world.until_called("act")
        second, third = [await conversation.ask(f"What is {number} + 1?", by="ben") for number in (20, 30)]
        await world.driver.until(lambda: second.is_waiting and third.is_waiting, WAIT_S)
        await world.kill(life)
    world.release_tools()
    async with world.run():
        await conversation.answered(3)
        await world.driver.until(lambda: second.is_unmarked and third.is_unmarked)
    shown = [message.shown for message in conversation.written]
    assert len(shown) == 3
    assert all(text in one for text, one in zip(("may have run", "20 + 1", "30 + 1"), shown, strict=True))
    conversation.check_answered(first, second, third)
    assert world.calls == ["act"]


async def test_a_turn_that_is_killed_twice_ends_with_one_answer_and_one_trace(world: World) -> None:
    conversation = await world.driver.open()
    await world.model.script(calls("shop__look"), {"text": LONG}, {"text": LONG})
    world.hold_tools()
    async with world.run() as life:
        await conversation.ask("tell me all")
        await world.until_called("look")
        await world.model.fail("stall", after_chunks=HALF)
        world.release_tools()
        await world.driver.until(lambda: any(len(one.shown) > 700 for one in conversation.growing), WAIT_S)
        [growing] = conversation.written
        await world.kill(life)
    world.driver.hold_next(world.driver.edit_call)
    async with world.run() as life:
        await world.driver.until_held()
        await world.kill(life)
    async with world.run():
        await conversation.answered()
    assert "\n".join(message.shown for message in conversation.written).split() == LONG.split()
    assert conversation.written[0] is growing
    assert conversation.growing == []
    assert len(conversation.traces) == 1
    assert world.calls == ["look"]


async def test_a_trace_whose_last_update_was_lost_at_kill_9_is_brought_to_its_end_by_the_next_process(
    world: World,
) -> None:
    conversation = await world.driver.open()
    world.hold_tools()
    async with world.run() as life:
        await conversation.ask(LOOK)
        await world.driver.until(lambda: len(conversation.traces) == 1, WAIT_S)
        world.driver.hold_next(world.driver.edit_call, is_done=False)
        world.release_tools()
        await world.until_ended()
        await world.driver.until_held()
        await world.kill(life)
    [trace] = conversation.traces
    assert "running" in trace.shown
    async with world.run():
        await world.driver.until(lambda: "running" not in conversation.traces[0].shown, WAIT_S)
    assert "✓" in conversation.traces[0].shown
    assert len(conversation.traces) == len(conversation.written) == 1


async def test_each_calls_own_trace_is_there_once_after_kill_9(world: World) -> None:
    conversation = await world.driver.open()
    world.hold_tools()
    async with world.run(TRACE="full") as life:
        await conversation.ask(f"{LOOK} and {ACT}")
        await world.driver.until(lambda: len(conversation.traces) == 2, WAIT_S)
        await world.kill(life)
    world.release_tools()
    async with world.run(TRACE="full"):
        await conversation.answered()
    looked, acted = [message.shown for message in conversation.traces]
    assert "look" in looked
    assert "act" in acted
    assert len(conversation.written) == 1
    assert world.calls.count("act") <= 1


async def test_a_process_that_is_terminated_finishes_its_work_and_leaves_nothing_to_the_next(
    world: World,
) -> None:
    conversation = await world.driver.open()
    async with world.run() as life:
        world.hold_tools()
        question = await conversation.ask(ACT)
        await world.until_called("act")
        await world.until_noted()
        life.process.terminate()
        await world.driver.until(lambda: world.driver.is_gone, WAIT_S)
        world.release_tools()
        async with asyncio.timeout(WAIT_S):
            await life.process.wait()
        assert life.process.returncode == 128 + signal.SIGTERM
        assert len(await conversation.answered()) == 1
    before = world.driver.looks_back
    async with world.run():
        later = await conversation.ask("What is 20 + 1?")
        await conversation.answered(2)
        await world.driver.until(lambda: world.driver.looks_back > before, WAIT_S)
    shown = [message.shown for message in conversation.written]
    assert len(shown) == 2
    assert "did act" in shown[0] and "20 + 1" in shown[1]
    conversation.check_answered(question, later)
    assert len(conversation.traces) == 1
    assert world.calls == ["act"]
