"""The failure table of Discord: what happens, what the user sees of it, and how it is played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from adapters.discord.backfill import ALIVE
from tests.failures.cases import Case
from tests.failures.discord.kills import STEPS, Step, live_through
from tests.failures.discord.seen import answers, files, stops, traces, until_answered
from tests.failures.discord.world import World, open_failing_world
from tests.failures.kills import DRAW, LONG, LOOK, QUESTION
from tests.fakes.discord import Channel, Message
from tests.scenarios.discord.serving import Bot

CHANNELS = 40
PAUSE_S = 0.5
WHOLE = "the whole answer, once"


def all_cases() -> Iterator[Case]:
    """Yield the rows of the table, in its order."""
    yield from _DELIVERIES
    yield from (
        Case(
            happens=f"429 on `{route}`",
            seen=seen,
            play=partial(_limited, route, scene),
            is_in_suite=route in _LIMITS_IN_SUITE,
        )
        for route, (seen, scene) in _LIMITS.items()
    )
    yield from (_killed(step) for step in STEPS)


def _killed(step: Step) -> Case:
    async def play(home: Path) -> int:
        return await live_through(step, home)

    return Case(happens=f"`kill -9` {step.name}", seen=step.seen, play=play, is_in_suite=step.is_in_suite)


def _served(scene: Callable[[World], Awaitable[None]]) -> Callable[[Path], Awaitable[int]]:
    """Return how to play a scene with the bot served in this process."""

    async def play(home: Path) -> int:
        async with open_failing_world(home) as world:
            async with world.serve(breaker_s=PAUSE_S):
                await scene(world)
            return len(world.discord.calls)

    return play


async def _answered_with(world: World, question: Message, text: str = "Hello!") -> None:
    """Wait until the question is answered; see that it is so once, in one message, and that nothing is left over."""
    await until_answered(world.discord, question)
    (answer,) = answers(world.discord, question)
    assert text in answer.content
    assert stops(world.discord, question) == []


async def _answered_with_all(world: World, question: Message) -> None:
    """Wait until the long answer stands, all of it and nothing twice."""
    await until_answered(world.discord, question)
    shown = [message.content for message in answers(world.discord, question)]
    assert "\n".join(shown).split() == LONG.split(), shown
    assert stops(world.discord, question) == []


async def _ask_for_all(world: World) -> Message:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.005)
    return await world.ask()


# --- deliveries and connections --------------------------------------------------------------------------------


async def _delivered_twice(world: World) -> None:
    world.discord.duplicate_next()
    await _answered_with(world, await world.ask())
    await _answered_with(world, await world.ask("What is 20 + 1?"), "20 + 1")
    assert len(await world.model.requests()) == 2


async def _three_at_once(world: World) -> None:
    discord = world.discord
    world.hold_tools()
    first = await world.ask(LOOK)
    await world.until_called("look")
    later = [await world.ask(f"What is {number} + 1?") for number in (20, 30)]
    await discord.until(lambda: all(discord.reactions(question) for question in later))
    world.release_tools()
    for question, text in zip((first, *later), ("did look", "20 + 1", "30 + 1"), strict=True):
        await _answered_with(world, question, text)
    assert [message.reference for message in discord.own(first.channel)] == [one.id for one in (first, *later)]
    await discord.until(lambda: not any(discord.reactions(question) for question in later))


async def _forty_channels(world: World) -> None:
    discord, people = world.discord, world.people
    discord.rates = {"*": (5, 5.0)}
    rooms: list[Channel] = [discord.add_channel(people.guild, f"room-{number}") for number in range(CHANNELS)]
    questions = [await discord.say(room, people.ada, QUESTION, mention=True) for room in rooms]
    for question in questions:
        await _answered_with(world, question)


async def _cut_in_the_middle(world: World) -> None:
    world.hold_tools()
    question = await world.ask(LOOK)
    await world.until_called("look")
    await world.discord.cut()
    missed = await world.ask("What is 20 + 1?")
    world.release_tools()
    await _answered_with(world, question, "did look")
    await _answered_with(world, missed, "20 + 1")


async def _session_lost(world: World) -> None:
    await _answered_with(world, await world.ask())
    await world.discord.invalidate()
    await _answered_with(world, await world.ask("What is 20 + 1?"), "20 + 1")


async def _banned(world: World) -> None:
    world.discord.cloudflare_next(route="create_message")
    await _answered_with(world, await world.ask())
    refused, *_ = world.discord.calls_of("create_message")
    later = [call for call in world.discord.calls if call.at > refused.at]
    assert all(call.at - refused.at >= PAUSE_S - 0.05 for call in later), "something was sent meanwhile"


# --- Discord's answers are lost --------------------------------------------------------------------------------


async def _lost_after_post(world: World) -> None:
    world.discord.fail_next("create_message", drop="after")
    await _answered_with(world, await world.ask())


async def _lost_after_first_piece(world: World) -> None:
    world.discord.fail_next("create_message", drop="after")
    await _answered_with_all(world, await _ask_for_all(world))


async def _lost_after_edits(world: World) -> None:
    world.discord.fail_next("edit_message", drop="after", times=2)
    await _answered_with_all(world, await _ask_for_all(world))


async def _lost_after_thread(world: World) -> None:
    world.discord.fail_next("start_thread_from_message", drop="after")
    question = await world.ask(LOOK)
    await _answered_with(world, question, "did look")
    (trace,) = await world.discord.until(lambda: traces(world.discord, question))
    await world.discord.until(lambda: "✓" in trace.content)
    assert len(world.discord.threads(question.channel)) == 1


async def _lost_after_file(world: World) -> None:
    world.hold_tools()
    question = await world.ask(DRAW)
    await world.discord.until(lambda: traces(world.discord, question))
    world.discord.fail_next("create_message", drop="after")
    world.release_tools()
    await _answered_with(world, question, "did draw")
    assert len(files(world.discord, question)) == 1


# --- the store -------------------------------------------------------------------------------------------------


async def _full_disk(world: World) -> None:
    with world.database_that_refuses("INSERT ON turn"):
        question = await world.ask()
        (told,) = await world.discord.until(lambda: answers(world.discord, question))
        assert "database" in told.content
    await until_answered(world.discord, question)
    assert len(answers(world.discord, question)) == 2


async def _no_record(world: World) -> None:
    """The answer is posted, and cannot be noted as posted at the first attempt."""
    with world.database_that_refuses("UPDATE ON outbox WHEN NEW.state = 'posted'"):
        question = await world.ask()
        await until_answered(world.discord, question)
        await world.until_tried_again()
    second = await world.ask("What is 20 + 1?")  # waits until the first is off the books
    await _answered_with(world, second, "20 + 1")
    await _answered_with(world, question)


_DELIVERIES = (
    Case(happens="a mention is delivered twice", seen="one answer", play=_served(_delivered_twice), is_in_suite=False),
    Case(
        happens="three quick messages in one channel",
        seen="three answers in order; a sign on the two that wait",
        play=_served(_three_at_once),
    ),
    Case(happens="40 channels at once", seen="one answer in each", play=_served(_forty_channels)),
    Case(
        happens="the connection is cut while a tool runs",
        seen="one answer, and an answer to what was asked meanwhile",
        play=_served(_cut_in_the_middle),
        is_in_suite=False,
    ),
    Case(
        happens="Discord has forgotten the session",
        seen="an answer to what was asked meanwhile",
        play=_served(_session_lost),
        is_in_suite=False,
    ),
    Case(
        happens="Cloudflare lets nothing through for a while",
        seen="one answer, after that; nothing is sent meanwhile",
        play=_served(_banned),
    ),
    Case(
        happens="the connection is lost after an answer was posted", seen="one answer", play=_served(_lost_after_post)
    ),
    Case(
        happens="the connection is lost after a growing answer's first piece was posted",
        seen=WHOLE,
        play=_served(_lost_after_first_piece),
    ),
    Case(
        happens="the connection is lost after a growing answer was changed",
        seen=WHOLE,
        play=_served(_lost_after_edits),
    ),
    Case(
        happens="the connection is lost after the trace's thread was begun",
        seen="one answer, one trace in one thread",
        play=_served(_lost_after_thread),
    ),
    Case(
        happens="the connection is lost after a file was posted",
        seen="one answer and its file, once",
        play=_served(_lost_after_file),
    ),
    Case(
        happens="the database takes no new question for a while",
        seen="a sentence to the one who asked, once; later one answer",
        play=_served(_full_disk),
        is_in_suite=False,
    ),
    Case(
        happens="the database cannot record that the answer was posted",
        seen="one answer",
        play=_served(_no_record),
    ),
)


# --- 429 -------------------------------------------------------------------------------------------------------

Scene = Callable[[World], Awaitable[None]]


async def _limited(route: str, scene: Scene, home: Path) -> int:
    """Play the scene while Discord refuses a call of the route; return how many calls there were in all."""
    async with open_failing_world(home) as world:
        world.discord.limit_next(route, retry_after=PAUSE_S)
        await scene(world)
        calls = world.discord.calls_of(route)
        refused = next(call for call in calls if call.status == 429)
        granted = [call.at for call in calls if call.ok and call.at > refused.at]
        assert granted, f"{route} was not called again"
        assert all(at - refused.at >= PAUSE_S - 0.05 for at in granted), "the pause was not kept"
        return len(world.discord.calls)


async def _answered(world: World) -> None:
    async with world.serve():
        await _answered_with(world, await world.ask())


async def _typed(world: World) -> None:
    async with world.serve():
        world.hold_tools()
        question = await world.ask(LOOK)
        await world.discord.until(lambda: world.discord.typing(question.channel))
        world.release_tools()
        await _answered_with(world, question, "did look")


async def _traced(world: World) -> None:
    async with world.serve():
        question = await world.ask(LOOK)
        await _answered_with(world, question, "did look")
        (trace,) = await world.discord.until(lambda: traces(world.discord, question))
        await world.discord.until(lambda: "✓" in trace.content)
        assert len(world.discord.threads(question.channel)) == 1


async def _grown(world: World) -> None:
    async with world.serve():
        await _answered_with_all(world, await _ask_for_all(world))


async def _waited(world: World) -> None:
    async with world.serve():
        await _three_at_once(world)


async def _shortened(world: World) -> None:
    """An answer of several messages that is forbidden in its middle: what was shown of it goes."""
    async with world.serve():
        await world.model.script({"text": "\n\n".join([LONG] * 3)})
        await world.model.pace(chunk_s=0.002)
        await world.model.fail("content_filter", after_chunks=100_000)
        question = await world.ask()
        await until_answered(world.discord, question)
        await world.discord.until(lambda: len(answers(world.discord, question)) == 1)
        await _answered_with(world, question, "filter")


async def _commanded(world: World) -> None:
    async with world.serve():
        await world.discord.until(lambda: world.discord.commands())
        await _answered_with(world, await world.ask())


async def _missed(world: World) -> None:
    async with world.serve() as bot:
        await _answered_with(world, await world.ask())
        await _until_noted(bot)
    people = world.people
    missed = await world.discord.say(people.channel, people.ada, "What is 20 + 1?", mention=True, deliver=False)
    async with world.serve():
        await _answered_with(world, missed, "20 + 1")


async def _until_noted(bot: Bot) -> None:
    while not await bot.app.store.notes(ALIVE):  # noqa: ASYNC110  (a store sets no event)
        await asyncio.sleep(0.01)


_ONE = "one answer"
_LIMITS: dict[str, tuple[str, Scene]] = {
    "get_me": (_ONE, _answered),
    "get_gateway_bot": (_ONE, _answered),
    "put_commands": ("one answer; the commands a little later", _commanded),
    "trigger_typing": (_ONE, _typed),
    "create_message": (_ONE, _answered),
    "edit_message": (WHOLE, _grown),
    "delete_message": ("the sentence of the model's filter, and nothing of what it forbade", _shortened),
    "start_thread_from_message": ("one answer, one trace in one thread", _traced),
    "create_reaction": ("three answers in order; the signs a little later", _waited),
    "delete_own_reaction": ("three answers in order; the signs go a little later", _waited),
    "list_messages": ("what was missed is answered a little later", _missed),
}
_LIMITS_IN_SUITE = ("create_message", "edit_message", "start_thread_from_message")
