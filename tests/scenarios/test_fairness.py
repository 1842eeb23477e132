"""What people read who ask too much, and that it is said once, only to them where the platform can do that."""

from __future__ import annotations

from tests.scenarios.drivers import Driver


async def test_of_messages_beyond_the_rate_the_first_gets_the_reason_and_others_are_answered(driver: Driver) -> None:
    async with driver.serving(requests_per_minute=2) as conversation:
        await driver.model.script({"text": "One."}, {"text": "Two."}, {"text": "Of Ben."})
        for number, text in enumerate(("first?", "second?"), start=1):
            await conversation.ask(text)
            await conversation.answered(number)
        third, fourth = await conversation.mention("third?"), await conversation.mention("fourth?")
        await conversation.mention("and I?", by="ben")
        await driver.until(lambda: "Of Ben." in conversation.texts)
        await driver.settled()
        said = [text for text in {*conversation.notices(third), *conversation.notices(fourth)} if "minute" in text]
        assert len(said) == 1 and said[0].startswith("That is more than 2 messages in a minute. Please try again in ")
        assert said[0].endswith(" s; I will not answer any more until then.")
        assert driver.private("ben") == [] and len(await driver.model.requests()) == 3


async def test_one_persons_waiting_messages_leave_half_of_a_conversation_to_others(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.pace(first_token_s=1.0)
        await conversation.ask("first?")
        asked = [await conversation.mention(f"question {number}?") for number in range(10)]
        (told,) = set(await driver.until(lambda: conversation.notices(asked[-1])))
        assert told.startswith("10 messages of yours are already waiting here, and other people want to ask here too.")
        assert told.endswith("Please send this one again once some are answered.")
        of_ben = await conversation.mention("and I?", by="ben")
        await driver.until(lambda: of_ben.is_waiting)
        assert conversation.notices(of_ben, to="ben") == []
