"""The answer on a chat platform: short or long, whatever the platform refuses on the way."""

from __future__ import annotations

import pytest

from tests.scenarios.drivers import Conversation, Driver, Question
from tests.scenarios.model import words

POST_FAULTS = [
    *[(platform, fault) for platform in ("slack", "discord") for fault in ("429", "500", "before", "after")],
    ("discord", "global"),
]


async def ask_for(driver: Driver, conversation: Conversation, text: str, *, chunk_s: float = 0.0) -> Question:
    """Have someone ask a question whose answer is this text."""
    await driver.model.pace(chunk_s=chunk_s)
    await driver.model.script({"text": text})
    return await conversation.ask("tell me")


async def test_a_very_long_answer_goes_on_in_further_messages_with_its_fences_and_tables_whole(driver: Driver) -> None:
    size = driver.long_answer
    code = "\n".join(f"print({number})  # line {number}" for number in range(size.lines))
    rows = "\n".join(f"| row {number} | {'x' * size.row_chars} |" for number in range(size.rows))
    last = words(size.words_after, start=400)
    text = f"{words(size.words_before)}\n\n```python\n{code}\n```\n\n| a | b |\n|---|---|\n{rows}\n\n{last}"
    async with driver.serving() as conversation:
        question = await ask_for(driver, conversation, text, chunk_s=0.001)
        await conversation.check_whole(text)
        conversation.check_parts(question)


@pytest.mark.parametrize(("driver", "fault"), POST_FAULTS, indirect=["driver"])
async def test_a_short_answer_whose_post_fails_is_there_exactly_once(driver: Driver, fault: str) -> None:
    async with driver.serving() as conversation:
        driver.fail_post(fault)
        await ask_for(driver, conversation, "A short answer.")
        await conversation.check_whole("A short answer.")
        assert driver.posts == (1 if fault == "after" else 2)


async def test_nobody_is_notified_by_what_a_model_writes(driver: Driver) -> None:
    text = f"{driver.pings} https://example.com/ {words(150)}"
    async with driver.serving() as conversation:
        await ask_for(driver, conversation, text, chunk_s=0.01)
        await conversation.answered()
        other = await driver.open("thread")
        await ask_for(driver, other, f"{driver.pings} come and see")
        await other.answered()
        assert len(conversation.answers) == len(other.answers) == 1
        await driver.check_nobody_is_notified(conversation.answers[0], other.answers[0])
        assert await conversation.stored_answers() == [text]


async def test_an_answer_that_breaks_off_is_asked_for_again_and_replaced_in_its_message(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.fail("cut", after_chunks=40)
        await driver.model.pace(chunk_s=0.02)  # long enough for its beginning to be shown
        await driver.model.script({"text": words(150)}, {"text": "All of it."})
        await conversation.ask("tell me")
        assert await conversation.answered() == ["All of it."] == await conversation.stored_answers()
        assert len(conversation.messages) == 1


@pytest.mark.parametrize("kind", ["quota", "unauthorized", "content_filter", "context_too_long", "cut"])
async def test_a_failing_model_is_reported_in_one_message(driver: Driver, kind: str) -> None:
    async with driver.serving() as conversation:
        await driver.model.fail(kind, **({"after_chunks": 80, "times": 3} if kind == "cut" else {}))
        await ask_for(driver, conversation, words(150), chunk_s=0.002)
        [text] = await conversation.answered()
        assert text.rstrip("_").endswith(".")
        assert [text] == await conversation.stored_answers()
        assert len(conversation.messages) == 1
        if kind == "cut":
            assert text.startswith("word0 word1 ")


async def test_a_mark_of_a_speaker_that_the_model_copies_is_never_shown(driver: Driver) -> None:
    mark = f"⟦from {driver.user_id('ada')}: Ada⟧"
    async with driver.serving() as conversation:
        await driver.model.pace(chunk_s=0.002)
        text = f"{mark}\n{words(150)}\n\nAs {mark} said.\n\n{mark}\n{words(100, start=150)}"
        await driver.model.script({"text": text})
        await conversation.ask("tell me")
        shown = "".join(await conversation.answered())
        assert "As Ada said." in shown and "word249" in shown
        assert "⟦" not in driver.sent and "\\u27e6" not in driver.sent
        assert all("⟦" not in answer for answer in await conversation.stored_answers())
