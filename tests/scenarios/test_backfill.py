"""What people write on a chat platform while the bot is away is answered when it is back, once and in order."""

from __future__ import annotations

from tests.scenarios.drivers import Conversation, Driver, Person
from tests.scenarios.drivers.driver import Kind


async def opened(driver: Driver, kind: Kind, *, by: Person = "ada") -> Conversation:
    """Return a conversation in which a first question was answered."""
    conversation = await driver.open(kind, by=by)
    await conversation.ask("the opening", by=by)
    await conversation.answered()
    return conversation


def said(conversation: Conversation, texts: list[str]) -> list[str]:
    """Return for each of the bot's answers there which of the texts is in it."""
    return [next((text for text in texts if text in answer), answer) for answer in conversation.texts]


async def test_mentions_follow_ups_and_direct_messages_that_were_missed_are_answered_once_and_in_order(
    driver: Driver,
) -> None:
    async with driver.serving(options=driver.direct):
        channel = await opened(driver, "channel")
        thread = await opened(driver, "thread")
        direct = await opened(driver, "direct", by="ben")
        await driver.noted()
    mention, private = await driver.open("channel"), await driver.open("direct", by="ben")
    await channel.ask("the second", by="ben", deliver=False)
    await thread.say("the third", deliver=False)
    await driver.mutter("not for the bot", deliver=False)
    await mention.ask("the fourth", by="cleo", deliver=False)
    await direct.ask("the fifth", by="ben", deliver=False)
    await mention.ask("the sixth", by="cleo", deliver=False)
    await thread.say("the seventh", by="ben", deliver=False)
    await private.ask("the eighth", by="ben", deliver=False)
    await direct.ask("the ninth", by="ben", deliver=False)
    expected: dict[Conversation, list[str]] = {}
    for conversation, texts in (
        (channel, ["the opening", "the second"]),
        (thread, ["the opening", "the third", "the seventh"]),
        (mention, ["the fourth", "the sixth"]),
        (direct, ["the opening", "the fifth"]),
        (private, ["the eighth"]),
        (direct, ["the ninth"]),
    ):  # where a platform has one conversation for two of these, their questions follow one another in it
        same = next((each for each in expected if each.key == conversation.key), conversation)
        expected.setdefault(same, []).extend(texts)
    async with driver.serving(options=driver.direct):
        for conversation, texts in expected.items():
            await conversation.answered(len(texts))
    for conversation, texts in expected.items():
        assert said(conversation, texts) == texts
    assert len(await driver.model.requests()) == 11


async def test_what_was_answered_before_is_not_answered_again_after_a_restart(driver: Driver) -> None:
    async with driver.serving():
        first = await opened(driver, "channel")
        thread = await opened(driver, "thread")
        await driver.noted()
    for life in (1, 2):
        before = driver.looks_back
        async with driver.serving():
            await first.ask(f"question {life}")
            await first.answered(1 + life)
            await driver.until(lambda before=before: driver.looks_back > before)
    assert (len(first.answers), len(thread.answers)) == (3, 1)
    assert len(await driver.model.requests()) == 4


async def test_messages_that_are_older_than_the_age_limit_stay_unanswered(driver: Driver) -> None:
    driver.advance(-1_000)
    async with driver.serving():
        thread = await opened(driver, "thread")
        await opened(driver, "channel")
        await driver.noted()
    await driver.was_there(2_000)
    old, recent = await driver.open("channel"), await driver.open("channel")
    await old.ask("too old", deliver=False)
    await thread.say("too old as well", deliver=False)
    driver.advance(940)
    await recent.ask("a minute ago", deliver=False)
    driver.advance(60)
    async with driver.serving(options={"backfill_minutes": 15}):
        await driver.until(lambda: any("a minute ago" in text for text in recent.texts))
        await recent.answered()
    assert len(thread.answers) == 1
    assert not any("too old" in text for text in (*thread.texts, *old.texts, *recent.texts))
    assert len(await driver.model.requests()) == 3
