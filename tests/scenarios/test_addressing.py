"""Whom a message is for: other people, the bot by a later edit, other apps, and how a conversation is stopped."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.scenarios.drivers import Conversation, Driver
from tests.scenarios.model import last_word

MANY = 15  # more mentions in a row than one app has answered
CHUNK_S = 0.005  # of an answer that is slow enough to be stopped


def unanswered(logs: list[EventDict]) -> list[EventDict]:
    """Return the lines about mentions that get no answer."""
    return [line for line in logs if line["event"] == "mention_not_answered"]


async def begun(driver: Driver) -> Conversation:
    """Return a thread in which the bot has answered Ada."""
    thread = await driver.open("thread")
    await thread.ask("are you there?")
    await thread.answered()
    return thread


# --- other people ---


async def test_what_is_said_to_someone_else_in_the_bots_thread_is_left_alone(driver: Driver) -> None:
    async with driver.serving():
        await driver.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = await begun(driver)
        for call in driver.calls_to_others:
            await thread.say(f"{call} can you have a look?")
        await thread.say("and you?", by="cleo")
        assert list(await thread.answered(2)) == ["Here I am.", "Still here."]
        await driver.settled()
        assert len(await driver.model.requests()) == 2


async def test_a_mention_of_the_bot_in_what_is_said_to_someone_else_is_answered(driver: Driver) -> None:
    async with driver.serving():
        await driver.model.script({"text": "Here I am."}, {"text": "I can help both."})
        thread = await begun(driver)
        await thread.mention(f"and {driver.calls_to_others[0]}, who of you can help?")
        assert list(await thread.answered(2)) == ["Here I am.", "I can help both."]


async def test_where_follow_ups_need_a_mention_they_are_left_alone_without_one(driver: Driver) -> None:
    async with driver.serving(follow_ups="mention"):
        await driver.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = await begun(driver)
        await thread.say("and now?", by="ben")
        await thread.mention("and now?", by="cleo")
        assert list(await thread.answered(2)) == ["Here I am.", "Still here."]
        await driver.settled()
        requests = await driver.model.requests()
        assert len(requests) == 2
        assert ": Ben" in str(requests[-1]["messages"][-1])  # what was left alone is known all the same


# --- a mention that comes later ---


async def test_a_mention_that_an_edit_adds_within_two_minutes_is_answered_once(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Ask at the desk."})
        question = await conversation.say("what is the password for guests?")
        await question.edit("what is the password for guests?", mention=True)
        assert list(await conversation.answered()) == ["Ask at the desk."]
        conversation.check_answered(question)
        await driver.settled()
        assert len(await driver.model.requests()) == 1


async def test_a_mention_that_an_edit_adds_after_two_minutes_is_not_answered_and_the_log_says_so(
    driver: Driver,
) -> None:
    async with driver.serving() as conversation:
        driver.advance(-200.0)
        question = await conversation.say("what is the password for guests?")
        driver.advance(200.0)
        await driver.model.script({"text": "Ask at the desk."})
        with capture_logs() as logs:
            await question.edit("what is the password for guests?", mention=True)
            await driver.until(lambda: unanswered(logs))
        assert [line["log_level"] for line in unanswered(logs)] == ["info"]
        await driver.settled()
        assert await driver.model.requests() == []


# --- other apps ---


async def test_another_apps_mention_gets_no_answer_and_one_line_in_the_log_says_why(driver: Driver) -> None:
    async with driver.serving():
        await driver.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = await begun(driver)
        with capture_logs() as logs:
            await thread.say_as_app("build 17 has failed", mention=True)
            await driver.until(lambda: unanswered(logs))
            await driver.settled()
        [line] = unanswered(logs)
        assert line["log_level"] == "info" and line["reason"]
        await thread.say("and you?")
        assert list(await thread.answered(2)) == ["Here I am.", "Still here."]
        assert len(await driver.model.requests()) == 2


async def test_an_app_that_the_operator_lists_is_answered_where_it_mentions_the_bot_and_only_there(
    driver: Driver,
) -> None:
    for app in driver.app_ids:
        async with driver.serving(allowed_apps=app):
            asked = len(await driver.model.requests())
            await driver.model.script({"text": "Here I am."}, {"text": "The disk is full."})
            thread = await begun(driver)
            await thread.say_as_app("build 17 has failed")
            await thread.say_as_app("why?", mention=True)
            assert list(await thread.answered(2)) == ["Here I am.", "The disk is full."]
            await driver.settled()
            assert len(await driver.model.requests()) == asked + 2


async def test_two_bots_that_answer_each_other_are_stopped(driver: Driver) -> None:
    async with driver.serving(allowed_apps=driver.app_ids[0]):
        await driver.model.script({"text": "Here I am."}, *({"text": f"No, {each}!"} for each in range(MANY)))
        thread = await begun(driver)
        with capture_logs() as logs:
            for turn in range(1, MANY):
                await thread.say_as_app("no, you!", mention=True)
                count = turn + 1
                await driver.until(lambda count=count: unanswered(logs) or len(thread.answers) == count)
                if unanswered(logs):
                    break
        assert unanswered(logs)
        assert 2 <= len(await driver.model.requests()) < MANY


# --- stopping by a word ---


@pytest.mark.parametrize("words", ["Stop!", "STOP.", "please stop", "stop please"])
async def test_stop_is_understood_as_people_say_it(driver: Driver, words: str) -> None:
    async with driver.serving():
        await driver.model.pace(chunk_s=CHUNK_S)
        await driver.model.script({"text": " ".join(f"word{number}" for number in range(2_000))})
        thread = await driver.open("thread")
        await thread.ask("tell me everything")
        await driver.until(lambda: any("word150 " in message.shown for message in thread.growing))
        await thread.say(words)
        await driver.until(lambda: not thread.growing and thread.answers)
        assert "_Stopped._" in "".join(message.shown for message in thread.answers)
        assert last_word(thread.answers[0].shown) < 1_999
        assert len(await driver.model.requests()) == 1
