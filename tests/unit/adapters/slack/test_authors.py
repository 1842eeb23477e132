"""Messages with a mark of an app: whose they are; and those with links to messages: what these lead to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.slack.authors import Authors
from adapters.slack.people import People
from adapters.slack.previews import Previews
from bot.domain.events import MessageEdited, MessageReceived
from tests.unit.adapters.slack.test_api import TEAM, Loopback, opened, serving

THROUGH_AN_APP = {"type": "message", "user": "U3", "bot_id": "B5", "app_id": "A5", "ts": "1785747607.000100"}


async def read(event: dict[str, Any], *, is_bot: bool, channel: str = "C1") -> tuple[Any, Loopback]:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [{"ok": True, "user": {"id": "U3", "is_bot": is_bot}}]
        told = await Authors(people).read(event, team=TEAM, bot_user="UBOT", channel=channel)
        return told, slack


@pytest.mark.parametrize("is_bot", [False, True])
async def test_slack_is_asked_whether_a_user_with_the_mark_of_an_app_is_a_person(is_bot: bool) -> None:
    told, slack = await read(THROUGH_AN_APP | {"text": "<@UBOT> hello"}, is_bot=is_bot)
    assert isinstance(told, MessageReceived)
    assert (told.author_kind, told.author_id) == (("app", "A5") if is_bot else ("person", "U3"))
    assert len(slack.seen) == 1


@pytest.mark.parametrize("is_bot", [False, True])
async def test_an_edit_is_its_authors_too(is_bot: bool) -> None:
    message = THROUGH_AN_APP | {"text": "<@UBOT> new", "edited": {"ts": "1785747609.000000"}}
    change = {"type": "message", "subtype": "message_changed", "message": message, "previous_message": THROUGH_AN_APP}
    told, _ = await read(change, is_bot=is_bot)
    assert isinstance(told, MessageEdited)
    assert told.message.author_kind == ("app" if is_bot else "person")


@pytest.mark.parametrize("is_bot", [False, True])
async def test_an_edit_without_a_mention_is_an_edit_only_where_a_person_made_it(is_bot: bool) -> None:
    thread = {"thread_ts": "1785747600.000100"}
    message = THROUGH_AN_APP | thread | {"text": "and less?", "edited": {"ts": "1785747609.000000"}}
    before = THROUGH_AN_APP | thread | {"text": "and more?"}
    change = {"type": "message", "subtype": "message_changed", "message": message, "previous_message": before}
    told, _ = await read(change, is_bot=is_bot)
    assert (told is None) == is_bot
    assert is_bot or (told.message.author_kind, told.message.text) == ("person", "and less?")


@pytest.mark.parametrize("is_bot", [False, True])
async def test_a_direct_message_through_an_app_is_for_the_bot_where_a_person_wrote_it(is_bot: bool) -> None:
    told, _ = await read(THROUGH_AN_APP | {"text": "hello"}, is_bot=is_bot, channel="D1")
    assert (told is None) == is_bot
    assert is_bot or (told.author_kind, told.is_addressed) == ("person", True)


@pytest.mark.parametrize(
    "event",
    [
        THROUGH_AN_APP | {"text": "nobody is asked"},
        THROUGH_AN_APP | {"text": "<@UBOT> by a webhook", "subtype": "bot_message", "user": ""},
        {"type": "message", "user": "U3", "ts": "1785747607.000100", "text": "<@UBOT> a person's"},
        {},
    ],
)
async def test_where_it_makes_no_difference_slack_is_not_asked(event: dict[str, Any]) -> None:
    _, slack = await read(event, is_bot=False)
    assert slack.seen == []


# --- links to messages ---

LINK = "https://example.slack.com/archives/C3/p1785744000000100"
QUESTION = {
    "type": "message",
    "channel": "C1",
    "user": "U1",
    "ts": "1785747602.000100",
    "text": f"<@UBOT> is this still going on? <{LINK}>",
}
PREVIEW = {"is_msg_unfurl": True, "from_url": LINK, "author_id": "U3", "author_name": "Carla", "text": "Queue is full"}
SHOWN = {
    "type": "message",
    "subtype": "message_changed",
    "channel": "C1",
    "message": {**QUESTION, "attachments": [PREVIEW]},
    "previous_message": QUESTION,
}
PATIENT_S, HASTY_S = 60.0, 0.05


@asynccontextmanager
async def authors(patience_s: float) -> AsyncGenerator[Any]:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        reader = Authors(people, previews=Previews(patience_s=patience_s))

        async def read(event: dict[str, Any], channel: str = "") -> Any:
            return await reader.read(event, team=TEAM, bot_user="UBOT", channel=channel)

        yield read


async def test_a_message_behind_a_link_that_slack_shows_a_moment_later_comes_along_with_both_deliveries() -> None:
    async with authors(PATIENT_S) as read:
        reading = [asyncio.create_task(read(event)) for event in (QUESTION, QUESTION | {"type": "app_mention"})]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in reading)
        assert await read(SHOWN) is None  # no edit
        for told in await asyncio.gather(*reading):
            assert [quoted.text for quoted in told.quoted] == ["Queue is full"]
            assert told.unread == ()


async def test_a_preview_that_overtakes_its_message_is_not_lost() -> None:
    async with authors(PATIENT_S) as read:
        await read(SHOWN)
        assert [quoted.text for quoted in (await read(QUESTION)).quoted] == ["Queue is full"]


async def test_a_message_behind_a_link_that_is_never_shown_is_named_as_unread_after_one_moment() -> None:
    async with authors(HASTY_S) as read:
        told = [await read(QUESTION) for _ in range(2)]
        assert [(one.quoted, one.unread) for one in told] == [((), ("the message behind a link",))] * 2
    async with authors(PATIENT_S) as read:
        assert (await read(QUESTION, channel="C1")).unread  # found in a history: nothing more comes


@pytest.mark.parametrize(
    "event",
    [
        QUESTION | {"text": "<@UBOT> what is <https://example.com/archives/C3/p1>?"},
        QUESTION | {"text": f"nobody asks the bot <{LINK}>"},
        QUESTION | {"text": f"<@U2> see <{LINK}>", "thread_ts": "1785747600.000100"},
        QUESTION | {"attachments": [PREVIEW]},
    ],
)
async def test_other_messages_wait_for_no_preview(event: dict[str, Any]) -> None:
    began = time.monotonic()
    async with authors(PATIENT_S) as read:
        told = await read(event)
    assert time.monotonic() - began < PATIENT_S / 2
    assert told is None or told.unread == ()
