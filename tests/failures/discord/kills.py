"""`kill -9` of the real process at each step of a turn, and what stands in the channel after the next start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.failures.discord.seen import answers, files, stops, traces, until_answered
from tests.failures.discord.world import World, open_failing_world
from tests.failures.kills import ACT, DRAW, LAST_WORDS, LONG, LOOK, MAY_HAVE_RUN, PICTURE, Killed
from tests.failures.world import WAIT_S
from tests.fakes.discord import Message
from tests.scenarios.discord.rooms import kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Killed):
    """Such a turn in Discord; `arrange` is done before the question, `reach` waits for the moment."""

    arrange: Callable[[World], Awaitable[None]]
    reach: Callable[[World, Message], Awaitable[None]]


async def live_through(step: Step, home: Path) -> int:
    """Ask, kill the process at the step, start it again, and see that the channel holds all once.

    Returns how many calls of Discord's API both lives made.
    """
    async with open_failing_world(home) as world:
        discord = world.discord
        await world.model.script(*({"text": text} for text in step.scripts))
        await world.model.pace(chunk_s=step.chunk_s)
        async with world.run() as life:
            await step.arrange(world)
            question = await world.ask(step.question)
            await step.reach(world, question)
            await world.kill(life)
        world.release_tools()
        await world.model.pace()
        async with world.run():
            await until_answered(discord, question, timeout_s=WAIT_S)
        _check(step, world, question)
        return len(discord.calls)


def _check(step: Step, world: World, question: Message) -> None:
    """See what stands there; the process has ended, so nothing is added to it."""
    discord = world.discord
    shown = [message.content for message in answers(discord, question)]
    whole = "\n".join(shown)
    assert step.answer in whole, shown
    if step.scripts:
        assert whole.split() == LONG.split(), shown
    else:
        assert len(shown) == 1, shown
    assert stops(discord, question) == []
    told = traces(discord, question)
    assert len(told) == step.traces, [message.content for message in told]
    assert not any("…" in message.content.split("\n")[0] for message in told), [message.content for message in told]
    assert len(discord.threads(question.channel)) == step.traces
    assert files(discord, question) == list(step.files)
    assert world.calls == list(step.calls)


# --- how each step is reached ----------------------------------------------------------------------------------


async def _nothing(world: World) -> None:
    pass


async def _silence(world: World) -> None:
    """Let the model begin to answer and then say nothing more."""
    await world.model.fail("stall", after_chunks=0)


async def _held_tools(world: World) -> None:
    world.hold_tools()


def _held_call(route: str, *, is_done: bool = True) -> Callable[[World], Awaitable[None]]:
    async def arrange(world: World) -> None:
        world.discord.hang_next(route, is_done=is_done)

    return arrange


async def _until_held(world: World, question: Message) -> None:
    await world.discord.until(lambda: world.discord.hung, WAIT_S)


async def _until_asked(world: World, question: Message) -> None:
    await world.until_asked(1)


async def _until_tool_runs(world: World, question: Message) -> None:
    await world.discord.until(lambda: world.calls, WAIT_S)


async def _until_traced(world: World, question: Message) -> None:
    await world.discord.until(lambda: traces(world.discord, question), WAIT_S)


async def _until_partly_shown(world: World, question: Message) -> None:
    def has_begun() -> bool:
        return any("stop" in kinds(one) and len(one.content) > 700 for one in answers(world.discord, question))

    await world.discord.until(has_begun, WAIT_S)


async def _until_last_edit_is_held(world: World, question: Message) -> None:
    """Let all the rest of the answer come at once, so that the next edit is its last."""
    await _until_partly_shown(world, question)
    world.discord.hang_next("edit_message")
    await world.model.pace()
    await _until_held(world, question)


async def _until_file_is_held(world: World, question: Message) -> None:
    await _until_traced(world, question)
    world.discord.hang_next("create_message")
    world.release_tools()
    await _until_held(world, question)


STEPS = (
    Step(name="while the model thinks", arrange=_silence, reach=_until_asked),
    Step(
        name="while a tool runs that only reads",
        question=LOOK,
        arrange=_held_tools,
        reach=_until_tool_runs,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="while a tool runs that acts",
        question=ACT,
        arrange=_held_tools,
        reach=_until_tool_runs,
        calls=("act",),
        answer=MAY_HAVE_RUN,
        traces=1,
    ),
    Step(
        name="after the trace was posted, while its tool runs",
        question=LOOK,
        arrange=_held_tools,
        reach=_until_traced,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="between the beginning of the trace's thread and Discord's answer",
        is_in_suite=True,
        question=LOOK,
        arrange=_held_call("start_thread_from_message"),
        reach=_until_held,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
    Step(
        name="between the trace's post and Discord's answer",
        question=LOOK,
        arrange=_held_call("create_message"),
        reach=_until_held,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
    Step(
        name="while the answer grows",
        is_in_suite=True,
        arrange=_nothing,
        reach=_until_partly_shown,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="between a growing answer's edit and Discord's answer",
        arrange=_held_call("edit_message"),
        reach=_until_held,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="between a growing answer's last edit and Discord's answer",
        arrange=_nothing,
        reach=_until_last_edit_is_held,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="between the stored answer and its post",
        arrange=_held_call("create_message", is_done=False),
        reach=_until_held,
    ),
    Step(
        name="between the answer's post and Discord's answer",
        is_in_suite=True,
        arrange=_held_call("create_message"),
        reach=_until_held,
    ),
    Step(
        name="between the post of an answer with a file and Discord's answer",
        is_in_suite=True,
        question=DRAW,
        arrange=_held_tools,
        reach=_until_file_is_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    ),
)
