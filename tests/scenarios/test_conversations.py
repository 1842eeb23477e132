"""Talking with the bot on a chat platform: what it ignores, what waits its turn, and how it is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from tests.scenarios.drivers import WAYS_TO_STOP, Conversation, Driver, Question
from tests.scenarios.model import calls, last_word, spoken
from tests.scenarios.tools import with_workshop

CHUNK_S = 0.005  # of an answer that is slow enough to be stopped
STOPPING = "Stopping."  # what the one who stopped it is told, on some platforms for everyone to see


async def asked(driver: Driver) -> list[str]:
    """Return the questions that the model read in its last request, without what they point at."""
    messages = (await driver.model.requests())[-1]["messages"]
    questions = [spoken(message["content"]) for message in messages if message["role"] == "user"]
    return [question.rpartition("⟦The message itself:⟧\n\n")[2] for question in questions]


def answers_in(conversation: Conversation) -> list[str]:
    return [text for text in conversation.texts if text != STOPPING]


async def test_the_bot_ignores_what_is_not_for_it(driver: Driver) -> None:
    async with driver.serving():
        await driver.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = await driver.open("thread")
        await thread.ask("are you there?")
        await thread.answered()

        await driver.chatter(thread)
        await thread.say("stop it, I think", by="cleo")
        assert (await thread.answered(2))[1:] == ["Still here."]

        await driver.check_silence()
        first, second = await asked(driver)  # the second with the talk before it
        assert first == "[Ada] are you there?"
        assert second.endswith("[Cleo] stop it, I think")
        assert len(await driver.model.requests()) == 2  # the question, and the only follow-up


# --- waiting its turn ---


@asynccontextmanager
async def busy(driver: Driver) -> AsyncGenerator[tuple[Conversation, Question, Callable[[], None]]]:
    """A conversation in which the bot works on a question, and what lets that work end with the answer "One."."""
    released = driver.home / "released"
    async with driver.serving(**with_workshop(driver.home, RELEASE_FILE=str(released))) as conversation:
        await driver.model.script(calls("shop__act"), {"text": "One."})
        first = await conversation.ask("first")
        await driver.until(lambda: conversation.traces)
        yield conversation, first, released.touch


async def test_three_quick_messages_are_answered_in_order_and_those_that_wait_show_an_hourglass(driver: Driver) -> None:
    async with busy(driver) as (conversation, first, release):
        await driver.model.script({"text": "Two."}, {"text": "Three."})
        second, third = [await conversation.ask(text) for text in ("second", "third")]
        await driver.until(lambda: second.is_waiting and third.is_waiting)
        assert first.is_unmarked
        assert conversation.answers == []
        release()
        assert await conversation.answered(3) == ["One.", "Two.", "Three."]
        conversation.check_answered(first, second, third)
        await driver.until(lambda: second.is_unmarked and third.is_unmarked)
        assert (await asked(driver))[-2:] == ["[Ada] second", "[Ada] third"]


async def test_what_waits_can_still_be_changed_or_deleted_and_what_runs_is_said_to_be_too_late(driver: Driver) -> None:
    async with busy(driver) as (conversation, first, release):
        await driver.model.script({"text": "Two."})
        second, third = [await conversation.ask(text, by="ben") for text in ("secnod", "third")]
        await driver.until(lambda: second.is_waiting and third.is_waiting)
        await second.edit("second")  # where it had a mention it loses that, and is a question all the same
        await third.delete()
        await first.edit("fisrt", mention=True)
        [told] = await driver.until(lambda: conversation.notices(first))
        assert "Send the change as a new message" in told
        release()
        assert [text for text in await conversation.answered(2) if text != told] == ["One.", "Two."]
        assert await asked(driver) == ["[Ada] first", "[Ben] second"]
        assert len(await driver.model.requests()) == 3  # two for the first
        assert len(conversation.notices(first)) == 1
        assert [conversation.notices(each, to="ben") for each in (second, third)] == [[], []]


async def test_a_message_that_is_too_long_is_refused_with_the_limit(driver: Driver) -> None:
    async with driver.serving(max_input_chars=100) as conversation:
        question = await conversation.ask("word " * 40)
        await driver.until(lambda: conversation.notices(question))
        await driver.settled()
        [told] = conversation.notices(question)
        assert "at most 100" in told
        assert [message.shown for message in conversation.messages] in ([], [told])  # seen by its author or by all
        assert await driver.model.requests() == []


async def test_a_message_that_is_delivered_more_than_once_is_answered_once(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Once."}, {"text": "Twice."})
        driver.deliver_next_again()
        first = await conversation.ask("how often?")
        await conversation.answered()
        driver.deliver_next_again()
        second = await conversation.ask("and now?")
        assert await conversation.answered(2) == ["Once.", "Twice."]
        await driver.settled()
        assert conversation.texts == ["Once.", "Twice."]
        conversation.check_answered(first, second)
        assert len(await driver.model.requests()) == 2


async def test_forty_conversations_at_once_are_all_answered_within_the_platforms_rates(driver: Driver) -> None:
    async with driver.serving():
        conversations = await driver.crowd(40, channels=40)
        for number, conversation in enumerate(conversations):
            await conversation.ask(f"question {number}")
        for conversation in conversations:
            await driver.until(lambda conversation=conversation: conversation.answers)
        assert [len(conversation.messages) for conversation in conversations] == [1] * 40
        assert driver.limited_posts == 0


# --- stopping ---


@pytest.mark.parametrize(("driver", "way"), WAYS_TO_STOP, indirect=["driver"])
async def test_stop_ends_the_answer_within_a_second_and_what_was_seen_of_it_stays(driver: Driver, way: str) -> None:
    async with driver.serving() as conversation:
        # Short ones, so that all that is said before the stop fits into one message, on a busy machine as well.
        words = " ".join(f"w{number}" for number in range(2_000))
        await driver.model.pace(chunk_s=CHUNK_S)
        await driver.model.script({"text": words}, {"text": "Gladly."})
        await conversation.ask("tell me everything")
        await driver.until(lambda: any("w110 " in message.shown for message in conversation.growing))
        [growing] = conversation.growing
        seen = growing.shown.rstrip()
        await conversation.stop(way)
        await conversation.answered()
        text = growing.shown
        assert answers_in(conversation) == [text]
        assert (last_word(text) - last_word(seen)) * CHUNK_S < 1.0  # so long did the model go on
        assert text.startswith(seen) and text.endswith("\n\n_Stopped._")
        assert [text] == await conversation.stored_answers()
        assert conversation.growing == []

        await conversation.ask("stop the server")  # a question
        assert (await conversation.answered(2))[-1] == "Gladly."
        assert answers_in(conversation) == [text, "Gladly."]
        assert len(conversation.messages) == len(conversation.answers)


@pytest.mark.parametrize(
    ("driver", "way"), [("slack", "button"), ("slack", "word"), ("discord", "word")], indirect=["driver"]
)
async def test_stop_while_a_tool_runs_leaves_a_history_that_the_model_accepts(driver: Driver, way: str) -> None:
    released = driver.home / "released"
    async with driver.serving(**with_workshop(driver.home, RELEASE_FILE=str(released))):
        thread = await driver.open("thread")
        await driver.model.script(calls("shop__act", "shop__refuse"), {"text": "Where were we?"})
        await thread.ask("act")
        await driver.until(lambda: thread.traces and "… act" in thread.traces[0].shown)
        await thread.stop(way)
        await thread.answered()
        assert answers_in(thread) == ["Stopped."]
        await driver.until(lambda: "■ act" in thread.traces[0].shown)
        released.touch()
        await thread.say("go on")
        await thread.answered(2)
        assert answers_in(thread) == ["Stopped.", "Where were we?"]
        stored = await thread.stored()
        wanted = [call.id for message in stored if isinstance(message, AssistantMessage) for call in message.tool_calls]
        assert wanted
        assert sorted(wanted) == sorted(message.call_id for message in stored if isinstance(message, ToolMessage))
        assert len([message for message in stored if isinstance(message, UserMessage)]) == 2
