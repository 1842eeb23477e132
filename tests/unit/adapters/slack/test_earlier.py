"""What was said in a thread before a question, as one call reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from adapters.slack.api import SlackApi
from adapters.slack.earlier import ThreadReader
from adapters.slack.errors import SlackRefusedError
from adapters.slack.identities import Identities
from adapters.slack.installs import OneToken
from adapters.slack.own_messages import GROWING, NOTICE, POST, TRACE
from adapters.slack.parse import conversation_key, event_key
from adapters.slack.people import People
from adapters.slack.readable import MAX_NAMED, Readable
from bot.domain.events import Earlier, MessageReceived
from tests.fakes.slack import FakeSlack, Message


@dataclass
class World:
    """A loopback Slack with a thread of Ada's in C1, and what reads it."""

    slack: FakeSlack
    reader: ThreadReader
    people: People
    root: str

    async def reply(self, user: str, text: str, **details: object) -> str:
        return await self.slack.say("C1", user, text, self.root, deliver=False, **details)  # pyright: ignore

    def own(self, text: str, kind: str) -> str:
        message = Message(
            channel="C1",
            ts=self.slack.next_ts(),
            user="UBOT",
            bot_id="B1",
            team="T1",
            text=text,
            thread_ts=self.root,
            metadata={"event_type": kind, "event_payload": {}} if kind else None,
        )
        return self.slack.store(message).ts

    async def read(self, question: str = "", *, since: str = "", limit: int = 50) -> Earlier:
        ts = question or self.slack.next_ts()
        at = datetime.fromtimestamp(float(ts), UTC)
        message = MessageReceived(
            conversation=conversation_key("T1", "C1", self.root),
            event_key=event_key("T1", "C1", ts),
            author_id="U1",
            author_name="Ada",
            text="which?",
            sent_at=at,
            has_earlier=ts != self.root,
        )
        return await self.reader.before(
            message, since=datetime.fromtimestamp(float(since), UTC) if since else None, limit=limit
        )


@asynccontextmanager
async def opened() -> AsyncGenerator[World]:
    async with FakeSlack() as slack, aiohttp.ClientSession() as session:
        for user, name in (("U1", "Ada"), ("U2", "Ben"), ("U3", "Cleo")):
            slack.add_user(user, display_name=name)
        slack.add_channel("C1", members=["U1", "U2", "U3"])
        api = SlackApi(OneToken("xoxb-test"), session, base_url=slack.api_url)
        async with People(api, patience_s=60.0) as people:
            identities = Identities(api)
            readable = Readable(api, identities=identities, people=people)
            reader = ThreadReader(api, identities=identities, people=people, readable=readable)
            root = await slack.say("C1", "U1", "Payments 5xx, <@U2>", deliver=False)
            yield World(slack, reader, people, root)


def said(earlier: Earlier) -> Sequence[tuple[str, str, str]]:
    return [(each.relation, each.author, each.text) for each in earlier.messages]


async def test_one_call_reads_who_said_what_before_the_question_in_order() -> None:
    async with opened() as world:
        await world.reply("U2", "error E4711")
        question = await world.reply("U3", "<@UBOT> which error?")
        await world.reply("U1", "said after the question")
        assert said(await world.read(question)) == [
            ("starter", "Ada", "Payments 5xx, @Ben (U2)"),
            ("earlier", "Ben", "error E4711"),
        ]
        [call] = world.slack.calls_of("conversations.replies")
        assert call.arguments["latest"] == question


async def test_a_question_that_begins_its_thread_costs_no_call() -> None:
    async with opened() as world:
        assert await world.read(world.root) == Earlier()
        assert world.slack.calls == []


async def test_what_was_known_already_does_not_come_again_not_even_the_beginning() -> None:
    async with opened() as world:
        known = await world.reply("U2", "known")
        await world.reply("U2", "new")
        assert said(await world.read(since=known)) == [("earlier", "Ben", "new")]
        assert (await world.read(since=known)).is_cut is False


async def test_the_beginning_and_the_newest_stay_where_the_limit_cuts() -> None:
    async with opened() as world:
        for number in range(5):
            await world.reply("U2", str(number))
        for limit, kept in ((2, ["3", "4"]), (5, ["0", "1", "2", "3", "4"]), (0, [])):
            earlier = await world.read(limit=limit)
            assert [text for _, _, text in said(earlier)][1:] == kept
            assert earlier.is_cut is (limit < 5)


async def test_a_thread_that_slack_gives_in_parts_is_said_to_be_cut() -> None:
    async with opened() as world:
        world.slack.api.max_history_items = 15  # outside the Marketplace
        for number in range(20):
            await world.reply("U2", str(number))
        earlier = await world.read()
        assert earlier.lacks_newest and len(earlier.messages) == 16
        assert len(world.slack.calls_of("conversations.replies")) == 1


async def test_of_the_bots_own_messages_only_answers_come_along() -> None:
    async with opened() as world:
        answer = world.own("It was E4711.", POST)
        for kind in (TRACE, NOTICE, GROWING, ""):
            world.own("not an answer", kind)
        [_, own] = (await world.read()).messages
        assert (own.author_kind, own.author, own.text) == ("self", "toolbridge", "It was E4711.")
        assert own.reference == answer


async def test_what_nobody_wrote_is_left_out_and_a_broadcast_is_not() -> None:
    async with opened() as world:
        await world.slack.join("C1", "U3")
        await world.reply("U2", "to all", broadcast=True)
        await world.slack.say_as_other_bot("C1", "", world.root)
        assert said(await world.read())[1:] == [("earlier", "Ben", "to all")]


async def test_apps_are_called_as_slack_shows_them_and_people_behind_apps_by_their_names() -> None:
    async with opened() as world:
        await world.slack.say_as_other_bot("C1", "down", world.root, app="Uptime", is_integration=True)
        await world.slack.say_as_other_bot("C1", "build 17", world.root, app="Builds")
        await world.reply("U3", "dictated", through="BDICTATION")
        messages = (await world.read()).messages[1:]
        assert [(each.author, each.author_kind, each.text) for each in messages] == [
            ("Uptime", "app", "down"),
            ("Builds", "app", "build 17"),
            ("Cleo", "person", "dictated"),
        ]


async def test_strangers_bring_their_names_along() -> None:
    async with opened() as world:
        world.slack.add_user("U21", display_name="carla", team="T2", is_stranger=True)
        world.slack.channels["C1"].members.add("U21")
        await world.reply("U21", "hello")
        assert said(await world.read())[1:] == [("earlier", "carla", "hello")]
        assert world.people.home("T1", "U21") == "T2"


async def test_of_many_people_the_last_ones_are_looked_up() -> None:
    async with opened() as world:
        for number in range(100, 130):
            world.slack.add_user(f"U{number}", display_name=f"Person {number}")
            world.slack.channels["C1"].members.add(f"U{number}")
            await world.reply(f"U{number}", "hello")
        authors = [author for _, author, _ in said(await world.read())]
        assert authors[-1] == "Person 129"
        assert authors[1] == "U100"
        assert len(world.slack.calls_of("users.info")) == MAX_NAMED


async def test_a_thread_that_slack_does_not_show_is_a_refusal() -> None:
    async with opened() as world:
        world.slack.fail_next("conversations.replies", error="missing_scope")
        with pytest.raises(SlackRefusedError):
            await world.read()
        world.slack.remove(world.slack.message("C1", world.root))
        with pytest.raises(SlackRefusedError):
            await world.read(f"{float(world.root) + timedelta(hours=1).total_seconds():.6f}")
