"""What is seen of the tools on a chat platform, and what people think of an answer."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.scenarios.drivers import Driver
from tests.scenarios.model import calls
from tests.scenarios.tools import with_workshop


async def test_without_a_trace_only_the_answer_is_seen(driver: Driver) -> None:
    async with driver.serving(options={"trace": "off"}, **with_workshop(driver.home)) as conversation:
        await driver.model.script(calls("shop__look"), {"text": "All done."})
        await conversation.ask("look")
        assert await conversation.answered() == ["All done."]
        assert conversation.messages == conversation.answers
        assert conversation.traces == []
        assert conversation.side_threads == 0


async def test_the_full_trace_is_a_message_for_each_call_with_its_arguments_and_result(driver: Driver) -> None:
    async with driver.serving(options={"trace": "full"}, **with_workshop(driver.home)) as conversation:
        await driver.model.script(calls("shop__look"), calls("shop__big", chars=12), {"text": "All done."})
        await conversation.ask("look and be big")
        assert await conversation.answered() == ["All done."]
        await driver.until(lambda: len(conversation.traces) == 2 and "xxx" in conversation.traces[1].shown)
        first, second = conversation.traces
        assert "look · shop" in first.shown and "looked" in first.shown
        assert "big · shop" in second.shown and '{"chars": 12}' in second.shown and "x" * 12 in second.shown
        assert "x" * 12 in await conversation.details(trace=1)
        assert len(conversation.messages) == len(conversation.answers) + (0 if driver.begins_threads else 2)


async def test_no_secret_is_seen_in_a_trace_or_its_details(driver: Driver) -> None:
    secrets = {"api_key": "hunter2hunter2", "note": "xoxb-test-0123456789"}
    async with driver.serving(options={"trace": "full"}, **with_workshop(driver.home)) as conversation:
        await driver.model.script({"tool_calls": [{"name": "shop__look", "arguments": secrets}]}, {"text": "All done."})
        await conversation.ask("look")
        await conversation.answered()
        await driver.until(lambda: conversation.traces)
        assert "[hidden]" in await conversation.details()
        assert "[hidden]" in conversation.traces[0].shown
        assert [secret for secret in secrets.values() if secret in driver.sent] == []


async def test_details_of_a_running_turn_show_what_is_known_by_then(driver: Driver) -> None:
    released = driver.home / "released"
    async with driver.serving(**with_workshop(driver.home, RELEASE_FILE=str(released))) as conversation:
        await driver.model.script(calls("shop__big", chars=10), calls("shop__act"), {"text": "All done."})
        await conversation.ask("act")
        await driver.until(lambda: conversation.traces and "… act" in conversation.traces[0].shown)
        shown = await conversation.details()
        assert "xxxxxxxxxx" in shown and "running" in shown
        released.touch()
        assert await conversation.answered() == ["All done."]


async def test_a_rating_is_kept_with_its_turn_and_each_person_has_one(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await driver.model.script({"text": "One."}, {"text": "Two."})
        for number in (1, 2):
            await conversation.ask(f"question {number}")
            await conversation.answered(number)
        assert "noted" in await conversation.rate(0, "bad")
        assert "noted" in await conversation.rate(0, "bad", by="ben")
        assert "noted" in await conversation.rate(1, "good")
        assert "noted" in await conversation.rate(0, "good")
    with closing(sqlite3.connect(driver.home / "toolbridge.db")) as database:
        kept = database.execute(
            "SELECT turn_id, author_id, rating FROM feedback ORDER BY turn_id, author_id"
        ).fetchall()
    ada, ben = driver.user_id("ada"), driver.user_id("ben")
    assert kept == [(1, ada, "good"), (1, ben, "bad"), (2, ada, "good")]
