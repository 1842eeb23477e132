"""Answers that a platform does not take: nobody is left in silence, and nothing of them stays half-finished."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.turns.limits import Patience
from tests.scenarios.drivers import REFUSALS, Conversation, Driver
from tests.scenarios.model import calls, words
from tests.scenarios.tools import with_workshop

HASTE = Patience(without_files_s=0.3, elsewhere_s=0.8, outage_s=60.0)
REFUSED = "My answer could not be posted, neither here nor in a direct message."


async def ask_for(driver: Driver, conversation: Conversation, text: str, *, chunk_s: float = 0.0) -> None:
    await driver.model.pace(chunk_s=chunk_s)
    await driver.model.script({"text": text})
    await conversation.ask("tell me")


async def in_a_pause(driver: Driver) -> None:
    """Wait until the bot waits before it tries again."""
    tried, since = -1, 0.0
    while driver.calls != tried or time.monotonic() - since < 1.5:
        if driver.calls != tried:
            tried, since = driver.calls, time.monotonic()
        await asyncio.sleep(0.02)


async def check_goes_on(driver: Driver, conversation: Conversation) -> None:
    """Check that the conversation's next question is answered."""
    driver.heal()
    await driver.model.script({"text": "Here again."})
    await conversation.ask("and now?")
    await driver.until(lambda: "Here again." in [message.shown for message in conversation.messages])


# --- refused for good ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "refusal"), REFUSALS, indirect=["driver"])
async def test_an_answer_that_its_place_refuses_reaches_its_asker_with_the_reason_and_a_way_back(
    driver: Driver, refusal: str
) -> None:
    async with driver.serving() as conversation:
        driver.close(refusal, "place", "channel")
        await ask_for(driver, conversation, "The answer is **42**.")
        [message] = await driver.until(lambda: driver.direct_messages("ada"))
        assert "could not be posted there" in message and driver.refusals[refusal] in message
        assert message.endswith("The answer is **42**.")
        driver.check_led_back(message)
        await check_goes_on(driver, conversation)
        assert driver.direct_messages("ada") == [message]


@pytest.mark.parametrize(("driver", "refusal"), REFUSALS, indirect=["driver"])
async def test_half_an_answer_whose_end_is_refused_is_brought_to_an_end_and_is_whole_in_a_direct_message(
    driver: Driver, refusal: str
) -> None:
    async with driver.serving() as conversation:
        text = words(600)
        await ask_for(driver, conversation, text, chunk_s=0.005)
        await driver.until(lambda: conversation.growing and len(conversation.growing[0].shown) > 600)
        driver.close(refusal, "place", "channel")
        await driver.until(lambda: any("word599" in message for message in driver.direct_messages("ada")))
        told = "\n\n".join(driver.direct_messages("ada"))
        assert [word for word in told.split() if word.startswith("word")] == text.split()
        driver.check_led_back(told)
        await driver.check_nothing_lives()
        await check_goes_on(driver, conversation)


@pytest.mark.parametrize("driver", ["slack", "discord"], indirect=True)
async def test_what_was_shown_of_an_answer_that_can_still_be_changed_says_where_the_rest_is(driver: Driver) -> None:
    refusal = next(iter(driver.refusals))
    async with driver.serving() as conversation:
        text = words(3_000)
        await ask_for(driver, conversation, text, chunk_s=0.002)
        await driver.until(lambda: conversation.growing and len(conversation.growing[0].shown) > 600)
        driver.close_for_posts(refusal)
        await driver.until(lambda: any("word2999" in message for message in driver.direct_messages("ada")))
        await driver.until(lambda: any("direct message" in message.shown for message in conversation.messages))
        await driver.check_nothing_lives()
        await check_goes_on(driver, conversation)


@pytest.mark.parametrize(("driver", "refusal"), REFUSALS, indirect=["driver"])
async def test_where_direct_messages_are_refused_too_one_sentence_says_why(driver: Driver, refusal: str) -> None:
    async with driver.serving() as conversation:
        driver.close(refusal, "place", "channel", "direct")
        await ask_for(driver, conversation, words(3_000))
        await driver.until(lambda: any(REFUSED in sentence for sentence in driver.sentences("ada")))
        await check_goes_on(driver, conversation)
        [sentence] = [sentence for sentence in driver.sentences("ada") if REFUSED in sentence]
        assert driver.refusals[refusal] in sentence
        assert driver.direct_messages("ada") == []
        await driver.check_nothing_lives()


async def test_files_that_are_refused_cost_only_the_files_and_are_named_with_the_reason(driver: Driver) -> None:
    async with driver.serving(**with_workshop(driver.home)) as conversation:
        reason = driver.refuse_files()
        await driver.model.script(calls("shop__record"), {"text": "Listen."})
        await conversation.ask("record it")
        await conversation.answered()
        await driver.until(lambda: any("could not be posted" in one.shown for one in conversation.messages))
        shown = "\n".join(message.shown for message in conversation.messages)
        assert "Listen." in shown and reason in shown
        assert conversation.files == {}
        assert driver.direct_messages("ada") == []


# --- failing for long ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 404])
async def test_an_answer_whose_file_always_fails_comes_without_it_and_holds_up_no_question(
    driver: Driver, status: int
) -> None:
    async with driver.serving(patience=HASTE, **with_workshop(driver.home)) as conversation:
        driver.fail_with(status, "files")
        await driver.model.script(calls("shop__record"), {"text": "Listen."}, {"text": "Next."})
        await conversation.ask("record it")
        await conversation.ask("and now?")
        await conversation.answered(2)
        shown = [message.shown for message in conversation.messages]
        assert sum("Listen." in text for text in shown) == sum("Next." in text for text in shown) == 1
        assert any("could not be posted" in text for text in shown)
        assert conversation.files == {}


async def test_after_an_outage_the_whole_answer_is_there_once_with_its_file(driver: Driver) -> None:
    # The pauses between its tries are long enough to end the outage in one of them.
    patience = Patience(without_files_s=2.5, elsewhere_s=3.0, outage_s=60.0)
    async with driver.serving(patience=patience, **with_workshop(driver.home)) as conversation:
        driver.fail_with(500, "posts")
        await driver.model.script(calls("shop__record"), {"text": "Listen."})
        await conversation.ask("record it")
        await driver.until(lambda: driver.posts >= 12)  # in every way, several times
        await in_a_pause(driver)
        driver.heal()
        await conversation.answered()
        await driver.until(lambda: conversation.files)
        assert len(conversation.files) == 1
        assert sum("Listen." in message.shown for message in conversation.messages) == 1
        assert not any("could not be posted" in message.shown for message in conversation.messages)
        assert driver.direct_messages("ada") == []


async def test_an_answer_that_fails_while_others_are_taken_goes_to_its_asker(driver: Driver) -> None:
    async with driver.serving(patience=HASTE) as conversation:
        driver.fail_place(500)
        await ask_for(driver, conversation, "The answer is 42.")
        [message] = await driver.until(lambda: driver.direct_messages("ada"))
        assert "The answer is 42." in message
        await check_goes_on(driver, conversation)


async def test_a_refusal_that_is_not_in_the_platform_s_form_is_a_refusal_and_no_outage(driver: Driver) -> None:
    async with driver.serving() as conversation:
        driver.fail_place(405)
        await ask_for(driver, conversation, "The answer is 42.")
        [message] = await driver.until(lambda: driver.direct_messages("ada"))
        assert "HTTP 405" in message and "The answer is 42." in message
        await check_goes_on(driver, conversation)
