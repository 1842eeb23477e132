"""The real process is killed more than once, or with several questions open; `tests/failures` has each step of one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.failures.kills import ACT, LONG, LOOK
from tests.failures.seen import answers, traces, until_answered
from tests.failures.world import WAIT_S, Life, World, open_failing_world
from tests.scenarios.model import calls


async def kill(world: World, life: Life) -> None:
    """Kill the process; Slack sees that its connections are gone."""
    await life.kill()
    await world.slack.cut_sockets()


async def test_questions_that_waited_behind_the_one_at_work_are_answered_in_order_after_kill_9(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        slack = world.slack
        async with world.run() as life:
            world.hold_tools()
            root = await slack.say("C1", "U1", ACT, mention=True)
            await world.until_called("act")
            later = [await slack.say("C1", "U2", f"What is {number} + 1?", root) for number in (20, 30)]
            await slack.until(lambda: all(slack.reactions("C1", ts) for ts in later), WAIT_S)
            await kill(world, life)
        world.release_tools()
        async with world.run():
            await until_answered(slack, "C1", root, count=3, timeout_s=WAIT_S)
            await slack.until(lambda: not any(slack.reactions("C1", ts) for ts in later))
        shown = [message.shown for message in answers(slack, "C1", root)]
        assert len(shown) == 3
        assert all(text in one for text, one in zip(("may have run", "20 + 1", "30 + 1"), shown, strict=True))
        assert world.calls == ["act"]


async def test_a_turn_that_is_killed_twice_ends_with_one_answer_and_one_trace(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        slack = world.slack
        await world.model.script(calls("shop__look"), {"text": LONG}, {"text": LONG})
        await world.model.pace(chunk_s=0.02)
        async with world.run() as life:
            root = await slack.say("C1", "U1", "tell me all", mention=True)
            streaming = await slack.until(
                lambda: [one for one in answers(slack, "C1", root) if len(one.streamed or "") > 700], WAIT_S
            )
            assert len(streaming) == 1
            await kill(world, life)
        await world.model.pace()
        async with world.run() as life:
            update = slack.hang_next("chat.update")
            async with asyncio.timeout(WAIT_S):
                await update.reached.wait()
            await kill(world, life)
        async with world.run():
            await until_answered(slack, "C1", root, timeout_s=WAIT_S)
            await slack.until(lambda: slack.status("C1", root) == "active", WAIT_S)
        (answer,) = answers(slack, "C1", root)
        assert answer.shown.split() == LONG.split()
        assert answer.ts == streaming[0].ts
        assert len(traces(slack, "C1", root)) == 1
        assert world.calls == ["look"]


async def test_each_calls_own_trace_is_there_once_after_kill_9(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        slack = world.slack
        async with world.run(TRACE="full") as life:
            world.hold_tools()
            root = await slack.say("C1", "U1", f"{LOOK} and {ACT}", mention=True)
            await slack.until(lambda: len(traces(slack, "C1", root)) == 2, WAIT_S)
            await kill(world, life)
        world.release_tools()
        async with world.run(TRACE="full"):
            await until_answered(slack, "C1", root, timeout_s=WAIT_S)
            await slack.until(lambda: slack.status("C1", root) == "active", WAIT_S)
        looked, acted = [message.shown for message in traces(slack, "C1", root)]
        assert "look" in looked
        assert "act" in acted
        assert len(answers(slack, "C1", root)) == 1
        assert world.calls.count("act") <= 1


async def test_a_process_that_is_told_to_end_finishes_what_it_is_at_and_leaves_nothing_to_the_next(
    tmp_path: Path,
) -> None:
    async with open_failing_world(tmp_path) as world:
        slack = world.slack
        async with world.run() as life:
            world.hold_tools()
            root = await slack.say("C1", "U1", ACT, mention=True)
            await world.until_called("act")
            life.process.terminate()
            await slack.until(lambda: not slack.open_sockets(), WAIT_S)
            world.release_tools()
            async with asyncio.timeout(WAIT_S):
                await life.process.wait()
            assert life.process.returncode == 128 + signal.SIGTERM
            assert slack.status("C1", root) == "active"
        async with world.run():
            await slack.until(lambda: slack.calls_of("conversations.history"), WAIT_S)
        (answer,) = answers(slack, "C1", root)
        assert "did act" in answer.shown
        assert len(traces(slack, "C1", root)) == 1
        assert world.calls == ["act"]
