"""What goes wrong on every platform, and what its users see of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.failures.table import LOOK, QUESTION, Case, served
from tests.failures.world import World
from tests.scenarios.drivers import Conversation, Question

CROWD = 40


def cases(platform: str, *, only_in_table: Collection[str] = ()) -> Iterator[Case]:
    """Yield the rows that every platform has; those named are not played with the other tests."""
    for happens, seen, scene in _SCENES:
        yield Case(
            platform=platform,
            happens=happens,
            seen=seen,
            play=served(scene),
            is_in_suite=happens not in only_in_table,
        )


async def settled_with(world: World, conversation: Conversation, answers: dict[str, Question]) -> None:
    """Wait for the answers and for all deliveries; see that there are just these, in order, each to its question."""
    await conversation.answered(len(answers))
    await world.driver.settled()
    shown = [message.shown for message in conversation.written]
    assert len(shown) == len(answers), shown
    assert all(text in one for text, one in zip(answers, shown, strict=True)), shown
    assert conversation.growing == []
    conversation.check_answered(*answers.values())


# --- deliveries and connections --------------------------------------------------------------------------------


async def _delivered_again(world: World) -> None:
    conversation = await world.driver.open()
    world.driver.deliver_next_again()
    first = await conversation.ask(QUESTION)
    await settled_with(world, conversation, {"Hello!": first})
    second = await conversation.ask("What is 20 + 1?")
    await settled_with(world, conversation, {"Hello!": first, "20 + 1": second})
    assert len(await world.model.requests()) == 2


async def _three_at_once(world: World) -> None:
    conversation = await world.driver.open()
    world.hold_tools()
    first = await conversation.ask(LOOK)
    await world.until_called("look")
    second, third = [await conversation.ask(f"What is {number} + 1?") for number in (20, 30)]
    await world.driver.until(lambda: second.is_waiting and third.is_waiting)
    world.release_tools()
    await settled_with(world, conversation, {"did look": first, "20 + 1": second, "30 + 1": third})
    await world.driver.until(lambda: second.is_unmarked and third.is_unmarked)


async def _crowd(world: World) -> None:
    conversations = await world.driver.crowd(CROWD, channels=8)
    questions = [await conversation.ask(QUESTION) for conversation in conversations]
    for conversation in conversations:
        await world.driver.until(lambda conversation=conversation: conversation.answers)
    await world.driver.settled()
    for conversation, question in zip(conversations, questions, strict=True):
        [answer] = conversation.written
        assert "Hello!" in answer.shown
        conversation.check_answered(question)


async def _cut_in_the_middle(world: World) -> None:
    conversation = await world.driver.open()
    world.hold_tools()
    first = await conversation.ask(LOOK)
    await world.until_called("look")
    await world.driver.cut()
    second = await conversation.ask("What is 20 + 1?")
    world.release_tools()
    await settled_with(world, conversation, {"did look": first, "20 + 1": second})
    await world.driver.until(lambda: world.driver.is_connected)
    third = await conversation.ask("What is 30 + 1?")
    await settled_with(world, conversation, {"did look": first, "20 + 1": second, "30 + 1": third})


# --- an answer of the platform is lost -------------------------------------------------------------------------


async def _lost_after_post(world: World) -> None:
    conversation = await world.driver.open()
    world.driver.fail_post("after")
    await settled_with(world, conversation, {"Hello!": await conversation.ask(QUESTION)})


# --- the store -------------------------------------------------------------------------------------------------


async def _no_record(world: World) -> None:
    """The answer is posted, and cannot be recorded as posted at the first attempt."""
    conversation = await world.driver.open()
    with world.database_that_refuses("UPDATE ON outbox WHEN NEW.state = 'posted'"):
        first = await conversation.ask(QUESTION)
        await world.driver.until(lambda: conversation.answers)
        await world.until_tried_again()
    second = await conversation.ask("What is 20 + 1?")  # it waits until the first is off the books
    await settled_with(world, conversation, {"Hello!": first, "20 + 1": second})


_SCENES = (
    ("a mention is delivered more than once", "one answer", _delivered_again),
    (
        "three quick messages in one conversation",
        "three answers in order; a sign on the two that wait",
        _three_at_once,
    ),
    (f"{CROWD} conversations at once", "one answer in each", _crowd),
    (
        "the connection is cut while a tool runs",
        "one answer, and one to each later question",
        _cut_in_the_middle,
    ),
    ("the connection is lost after an answer was posted", "one answer", _lost_after_post),
    ("the database cannot record that the answer was posted", "one answer", _no_record),
)
