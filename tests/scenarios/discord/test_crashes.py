"""The real process is killed more than once, or with several questions open; `tests/failures` has each step of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.failures.discord.seen import answers, stops, traces, until_answered
from tests.failures.discord.world import open_failing_world
from tests.failures.kills import ACT, LONG, LOOK
from tests.failures.world import WAIT_S


async def test_questions_that_waited_behind_the_one_at_work_are_answered_in_order_after_kill_9(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        discord = world.discord
        world.hold_tools()
        async with world.run() as life:
            first = await world.ask(ACT)
            await world.until_called("act")
            later = [await world.ask(f"What is {number} + 1?") for number in (20, 30)]
            await discord.until(lambda: all(discord.reactions(question) for question in later), WAIT_S)
            await world.kill(life)
        world.release_tools()
        async with world.run():
            for question in (first, *later):
                await until_answered(discord, question, timeout_s=WAIT_S)
            await discord.until(lambda: not any(discord.reactions(question) for question in later))
        shown = [message.content for question in (first, *later) for message in answers(discord, question)]
        assert len(shown) == 3
        assert all(text in one for text, one in zip(("may have run", "20 + 1", "30 + 1"), shown, strict=True))
        assert [message.reference for message in discord.own(first.channel)] == [one.id for one in (first, *later)]
        assert world.calls == ["act"]


async def test_a_turn_that_is_killed_twice_ends_with_one_answer_and_one_trace(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        discord = world.discord
        asks: dict[str, Any] = {"tool_calls": [{"name": "shop__look", "arguments": {}}]}
        await world.model.script(asks, {"text": LONG}, {"text": LONG})
        await world.model.pace(chunk_s=0.02)
        async with world.run() as life:
            question = await world.ask("tell me all")
            (growing,) = await discord.until(lambda: stops(discord, question), WAIT_S)
            await world.kill(life)
        await world.model.pace()
        async with world.run() as life:
            discord.hang_next("edit_message")
            await discord.until(lambda: discord.hung, WAIT_S)
            await world.kill(life)
        async with world.run():
            await until_answered(discord, question, timeout_s=WAIT_S)
        shown = answers(discord, question)
        assert "\n".join(message.content for message in shown).split() == LONG.split()
        assert shown[0].id == growing.id
        assert stops(discord, question) == []
        assert len(traces(discord, question)) == 1
        assert world.calls == ["look"]


async def test_each_calls_own_trace_is_there_once_after_kill_9(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path) as world:
        discord = world.discord
        world.hold_tools()
        async with world.run(TRACE="full") as life:
            question = await world.ask(f"{LOOK} and {ACT}")
            await discord.until(lambda: len(traces(discord, question)) == 2, WAIT_S)
            await world.kill(life)
        world.release_tools()
        async with world.run(TRACE="full"):
            await until_answered(discord, question, timeout_s=WAIT_S)
        looked, acted = [message.content for message in traces(discord, question)]
        assert "look" in looked
        assert "act" in acted
        assert len(answers(discord, question)) == 1
        assert world.calls.count("act") <= 1
