"""Answers that every platform refuses or fails to take, and what their askers see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bot.turns.limits import Patience
from tests.failures.table import DRAW, LAST_WORDS, LONG, QUESTION, Case, served
from tests.failures.world import World
from tests.scenarios.drivers import Conversation

HASTE = Patience(without_files_s=0.3, elsewhere_s=0.8, outage_s=60.0)


def refusals(platform: str) -> Iterator[Case]:
    """Yield the rows that every platform has."""
    for happens, seen, scene in _SCENES:
        yield Case(platform=platform, happens=happens, seen=seen, play=served(scene, patience=HASTE))
    yield Case(
        platform=platform,
        happens="`kill -9` between a refused answer's direct message and the platform's answer",
        seen="one direct message",
        play=_killed_after_direct,
        is_in_suite=False,
    )


async def _until_direct(world: World, text: str) -> str:
    """Return the one direct message, which has the text in it."""
    await world.driver.until(lambda: any(text in message for message in world.driver.direct_messages("ada")))
    return "\n".join(world.driver.direct_messages("ada"))


async def _next_is_answered(world: World, conversation: Conversation) -> None:
    world.driver.heal()
    await conversation.ask("What is 20 + 1?")
    await world.driver.until(lambda: any("20 + 1" in message.shown for message in conversation.messages))
    await world.driver.check_nothing_lives()


async def _refused(world: World, *, refusal: str = "") -> None:
    refusal = refusal or next(iter(world.driver.refusals))
    conversation = await world.driver.open()
    world.driver.close(refusal, "place", "channel")
    await conversation.ask(QUESTION)
    assert world.driver.refusals[refusal] in await _until_direct(world, "Hello!")
    await _next_is_answered(world, conversation)
    assert len(world.driver.direct_messages("ada")) == 1


async def _refused_everywhere(world: World) -> None:
    refusal = next(iter(world.driver.refusals))
    conversation = await world.driver.open()
    world.driver.close(refusal, "place", "channel", "direct")
    await conversation.ask(QUESTION)
    await world.driver.until(lambda: any("could not be posted" in text for text in world.driver.sentences("ada")))
    assert sum(world.driver.refusals[refusal] in text for text in world.driver.sentences("ada")) == 1
    await _next_is_answered(world, conversation)


async def _end_refused(world: World) -> None:
    conversation = await world.driver.open()
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    await conversation.ask(QUESTION)
    await world.driver.until(lambda: any(len(one.shown) > 500 for one in conversation.growing))
    world.driver.close(next(iter(world.driver.refusals)), "place", "channel")
    assert "Paragraph 0" in await _until_direct(world, LAST_WORDS)
    await world.driver.check_nothing_lives()
    await _next_is_answered(world, conversation)


async def _file_fails(world: World, *, status: int) -> None:
    conversation = await world.driver.open()
    world.driver.fail_with(status, "files")
    await conversation.ask(DRAW)
    await conversation.ask("What is 20 + 1?")
    await conversation.answered(2)
    shown = [message.shown for message in conversation.messages]
    assert sum("did draw" in text for text in shown) == 1, shown
    assert any("could not be posted" in text for text in shown), shown
    assert conversation.files == {}


async def _place_fails(world: World) -> None:
    conversation = await world.driver.open()
    world.driver.fail_place(500)
    await conversation.ask(QUESTION)
    await _until_direct(world, "Hello!")
    await _next_is_answered(world, conversation)


async def _foreign_refusal(world: World) -> None:
    conversation = await world.driver.open()
    world.driver.fail_place(405)
    await conversation.ask(QUESTION)
    assert "HTTP 405" in await _until_direct(world, "Hello!")
    await _next_is_answered(world, conversation)


async def _killed_after_direct(world: World) -> None:
    conversation = await world.driver.open()
    world.driver.close(next(iter(world.driver.refusals)), "place", "channel")
    async with world.run() as life:
        world.driver.hold_next(world.driver.post_call, behind="direct")
        await conversation.ask(QUESTION)
        await world.driver.until_held()
        await world.kill(life)
    async with world.run():
        await world.until_ended()
    assert len(world.driver.direct_messages("ada")) == 1
    assert conversation.written == []


_SCENES = (
    ("a channel refuses an answer for good", "the answer directly, with the reason; the next one in place", _refused),
    (
        "a channel and direct messages refuse an answer for good",
        "one sentence that says why; the next answer in place",
        _refused_everywhere,
    ),
    (
        "a channel refuses the last change of an answer that has grown",
        "the whole answer directly; in the channel nothing that grows",
        _end_refused,
    ),
    (
        "each post of a file fails with 500",
        "the answer without its file, and a note; then the next answer",
        partial(_file_fails, status=500),
    ),
    (
        "a proxy refuses each post of a file with 404",
        "the answer without its file, and a note; then the next answer",
        partial(_file_fails, status=404),
    ),
    ("each post in a channel fails with 500", "the answer directly; later the next one in place", _place_fails),
    ("a proxy refuses each post in a channel with 405", "the answer directly, with the reason", _foreign_refusal),
)
