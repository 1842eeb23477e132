"""The names of users, and message text as people read it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web as server
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.people import People, mentions, with_names
from tests.unit.adapters.slack.test_api import OK, TEAM, Gate, opened, opened_fake, refusal, serving

BOT = "UBOT"
NAMES = {"U1": "Ada", "W2": "Grace Hopper"}


def user(**profile: Any) -> dict[str, Any]:
    return {"ok": True, "user": {"id": "U1", "name": "ada.l", "profile": profile}}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (user(display_name="Ada", real_name="Ada Lovelace"), "Ada"),
        (user(display_name="", real_name="Ada Lovelace"), "Ada Lovelace"),
        (user(), "ada.l"),
        ({"ok": True, "user": {"id": "U1"}}, "U1"),
        (user(display_name=" Ada \n L. "), "Ada L."),
        (refusal("user_not_found"), "U1"),
    ],
)
async def test_a_user_is_called_as_slack_shows_them(answer: dict[str, Any], name: str) -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [answer]
        assert await people.name(TEAM, "U1") == name
        assert await people.name(TEAM, "U1") == name
    assert [request.arguments for request in slack.seen] == [{"user": "U1"}]


async def test_a_name_is_asked_for_once_by_all_who_wait_for_it() -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [user(display_name="Ada")]
        names = await asyncio.gather(*(people.name(TEAM, "U1") for _ in range(20)))
    assert set(names) == {"Ada"}
    assert len(slack.seen) == 1


async def test_a_name_that_takes_long_is_the_id_until_it_comes() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack) as api, People(api, patience_s=0.05) as people:

        async def late(request: server.Request) -> server.StreamResponse:
            await gate(request)
            return server.json_response(user(display_name="Ada"))

        slack.script["users.info"] = [late]
        assert await people.name(TEAM, "U1") == "U1"
        gate.let_go.set()
        while await people.name(TEAM, "U1") == "U1":
            pass  # each time it waits a little for the same answer
        assert await people.name(TEAM, "U1") == "Ada"
    assert len(slack.seen) == 1


async def test_where_slack_tells_no_names_only_the_first_is_waited_for() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack) as api, People(api, patience_s=0.2) as people:

        async def late(request: server.Request) -> server.StreamResponse:
            await gate(request)
            return server.json_response(user(display_name="Ada"))

        slack.script["users.info"] = [late]
        began = time.monotonic()
        assert [await people.name(TEAM, f"U{number}") for number in range(20)] == [f"U{n}" for n in range(20)]
        assert time.monotonic() - began < 10 * 0.2
        gate.let_go.set()
        while await people.name(TEAM, "U19") == "U19":
            pass
        slack.script["users.info"] = [user(display_name="Ben")]
        assert await people.name(TEAM, "U20") == "Ben"  # it is waited for again


async def test_whether_a_user_is_a_person_is_waited_for_once() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack) as api, People(api, patience_s=0.3) as people:
        slack.script["users.info"] = [gate]
        began = time.monotonic()
        assert not any([await people.is_person(TEAM, "U1") for _ in range(20)])
        assert time.monotonic() - began < 10 * 0.3
        gate.let_go.set()


async def test_after_an_hour_the_name_is_asked_for_again_and_the_old_one_bridges_a_failure() -> None:
    clock = 0.0
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0, now=lambda: clock) as people:
        slack.script["users.info"] = [user(display_name="Ada"), refusal("user_not_found"), user(display_name="Ada L.")]
        assert await people.name(TEAM, "U1") == "Ada"
        clock = 3_599.0
        assert await people.name(TEAM, "U1") == "Ada"
        assert len(slack.seen) == 1
        clock = 3_601.0
        assert await people.name(TEAM, "U1") == "Ada"
        assert len(slack.seen) == 2
        clock += 61.0
        assert await people.name(TEAM, "U1") == "Ada L."


async def test_the_name_used_longest_ago_is_dropped_first() -> None:
    async with serving() as slack, opened(slack) as api, People(api, max_names=2, patience_s=60.0) as people:
        slack.script["users.info"] = [user(display_name="Ada")]
        for user_id in ("U1", "U2", "U1", "U3", "U1", "U2"):
            await people.name(TEAM, user_id)
    assert [request.arguments["user"] for request in slack.seen] == ["U1", "U2", "U3", "U2"]


async def test_one_person_in_two_workspaces_is_two_names() -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [user(display_name="Ada"), user(display_name="Countess")]
        assert [await people.name(team, "U1") for team in ("T1", "T2")] == ["Ada", "Countess"]


async def test_closing_ends_the_questions_under_way() -> None:
    gate = Gate()
    async with serving() as slack, opened(slack) as api:
        slack.script["users.info"] = [gate, OK]
        async with People(api, patience_s=0.01) as people:
            assert await people.name(TEAM, "U1") == "U1"
            await gate.arrived.wait()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "slack:user-name"]
        gate.let_go.set()


async def test_a_whole_slack_tells_the_names() -> None:
    async with opened_fake() as (_, api), People(api, patience_s=60.0) as people:
        assert [await people.name(TEAM, user_id) for user_id in ("U1", "U404")] == ["Ada", "U404"]


def test_mentions_are_the_users_of_a_text() -> None:
    assert mentions("<@U1> and <@W2|grace>, <#C1|general>, <!here>, &lt;@U3&gt;") == {"U1", "W2"}


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("<@UBOT> what time is it?", "what time is it?"),
        ("<@UBOT|bot> hi", "hi"),
        ("hey <@UBOT> hi", "hey hi"),
        ("hello <@UBOT>!", "hello!"),
        ("hello <@UBOT>", "hello"),
        ("one <@UBOT>\ntwo", "one\ntwo"),
        ("hey <@UBOT>you", "hey you"),
        ("<@UBOT>", ""),
        ("<@UBOT> <@U1> hi", "@Ada hi"),
        ("ask <@U1|ada>, <@W2> or <@U9>", "ask @Ada, @Grace Hopper or @U9"),
        ("<@U9|nine>", "@nine"),
        ("in <#C1|general> or <#C2> or <#C3|>", "in #general or #C2 or #C3"),
        ("see <https://example.com/a|the page>", "see the page (https://example.com/a)"),
        ("see <https://example.com/a>", "see https://example.com/a"),
        ("see <https://example.com/a|https://example.com/a>", "see https://example.com/a"),
        ("see <http://example.com|example.com>", "see http://example.com"),
        ("<https://example.com/?a=1&amp;b=2>", "https://example.com/?a=1&b=2"),
        ("<mailto:ada@example.com|ada@example.com>", "ada@example.com"),
        ("<mailto:ada@example.com|Ada>", "Ada (ada@example.com)"),
        ("<!channel> <!here|here> <!everyone>", "@channel @here @everyone"),
        ("<!subteam^S1|@ops> and <!subteam^S2>", "@ops and @S2"),
        ("<!date^1392734382^{date}|February 18>", "February 18"),
        ("if a &lt; b &amp;&amp; b &gt; c", "if a < b && b > c"),
        ("&amp;lt; stays written", "&lt; stays written"),
        ("&lt;@U1&gt; was typed", "<@U1> was typed"),
        ("a <b> c <> d", "a <b> c <> d"),
    ],
)
def test_markup_becomes_what_people_read(raw: str, read: str) -> None:
    assert with_names(raw, NAMES, BOT) == read


def test_a_name_is_not_read_as_markup() -> None:
    assert with_names("<@U1>", {"U1": "<!channel> &lt;"}, BOT) == "@<!channel> &lt;"


@given(st.text(alphabet=st.characters(exclude_characters="<>&")))
def test_text_without_markup_comes_back_unchanged(text: str) -> None:
    assert with_names(text, NAMES, BOT) == text


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>@#!|&;^UBOT :"))))
def test_any_text_is_read_without_an_error(text: str) -> None:
    with_names(text, NAMES, BOT)
    mentions(text)


# --- people of other organisations, and bots ---

STRANGER = {
    "user": "U21",
    "user_team": "T2",
    "user_profile": {"display_name": "carla", "real_name": "Carla Example", "team": "T2"},
}


async def test_what_a_message_says_of_its_author_needs_no_question() -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        people.learn(TEAM, STRANGER)
        assert (await people.name(TEAM, "U21"), people.home(TEAM, "U21")) == ("carla", "T2")
    assert slack.seen == []


async def test_without_a_profile_the_workspace_is_that_of_the_message_then_of_the_user_then_the_apps() -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [{"ok": True, "user": {"id": "U1", "name": "ada", "team_id": "T3"}}]
        assert people.home(TEAM, "U1") == TEAM
        assert await people.name(TEAM, "U1") == "ada"
        assert people.home(TEAM, "U1") == "T3"
        people.learn(TEAM, {"user": "U1", "source_team": "T4", "user_profile": "none"})
        assert (await people.name(TEAM, "U1"), people.home(TEAM, "U1")) == ("ada", "T4")


@pytest.mark.parametrize(
    ("answer", "is_person"),
    [
        ({"ok": True, "user": {"id": "U1", "is_bot": False}}, True),
        ({"ok": True, "user": {"id": "U1", "is_bot": True}}, False),
        ({"ok": True, "user": {"id": "U1"}}, False),
        ({"ok": True}, False),
        (refusal("user_not_visible"), False),
    ],
)
async def test_only_who_is_known_to_be_no_bot_is_a_person(answer: dict[str, Any], is_person: bool) -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["users.info"] = [answer]
        assert await people.is_person(TEAM, "U1") is is_person
        assert await people.name(TEAM, "U1") == "U1"
    assert len(slack.seen) == 1  # for both


@pytest.mark.parametrize(
    "message", [{}, {"user": 7}, {"user": "U1", "user_profile": []}, {"user": "U1", "user_team": 1}]
)
async def test_a_message_that_says_nothing_of_its_author_teaches_nothing(message: dict[str, Any]) -> None:
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        people.learn(TEAM, message)
        assert people.home(TEAM, "U1") == TEAM
