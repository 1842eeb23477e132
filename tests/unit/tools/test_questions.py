"""Whose question it is that a server asks, what is asked of nobody, and what is kept while a person is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.types import ElicitRequestFormParams, ElicitResult

from bot.domain.turns import CallDecided
from bot.tools.inquiries import Pending, read_pending, result_of
from bot.tools.servers.live import CURRENT, CallsOnLink, Inquiry, LiveCall
from bot.tools.servers.sensitive import asks_for_secret


def live(asker: str = "ada") -> LiveCall:
    return LiveCall(asker=asker, conversation_id="c", progress=lambda _: None)


def on_link(*calls: LiveCall) -> CallsOnLink:
    """Return a connection on which these calls were sent, with the ids 0, 1, ..."""
    link = CallsOnLink(server="cafe")
    for request_id, call in enumerate(calls):
        token = CURRENT.set(call)
        link.sent(request_id)
        CURRENT.reset(token)
    return link


# --- whose question it is --------------------------------------------------------------------------------------


def test_a_question_belongs_to_the_request_in_whose_answer_it_came() -> None:
    ada, ben = live("ada"), live("ben")
    link = on_link(ada, ben)
    link.came_with("q1", 1)
    assert link.owner("q1") is ben


def test_a_question_that_does_not_say_it_belongs_to_the_only_call_that_runs() -> None:
    ada = live()
    assert on_link(ada).owner("q1") is ada
    assert on_link().owner("q1") is None


def test_of_several_calls_of_one_asker_it_is_the_newest_that_has_not_asked() -> None:
    older, newer = live(), live()
    assert on_link(older, newer).owner("q1") is newer


def test_between_calls_of_several_people_nobody_is_asked() -> None:
    assert on_link(live("ada"), live("ben")).owner("q1") is None


def test_a_call_that_has_ended_owns_no_question() -> None:
    ada, ben = live("ada"), live("ben")
    link = on_link(ada, ben)
    link.came_with("q1", 0)
    link.ended(ada)
    assert link.owner("q1") is ben  # the only one left


async def test_a_question_that_its_server_takes_back_is_not_asked_any_more() -> None:
    call = live()
    params = ElicitRequestFormParams(message="Name?", requested_schema={"properties": {"name": {"type": "string"}}})
    asking = asyncio.create_task(call.ask(params, server="cafe"))
    await asyncio.wait_for(call.news.wait(), 10)
    assert call.question is not None
    asking.cancel()
    await asyncio.wait({asking})
    assert call.question is None
    call.answer("1", ElicitResult(action="accept"))  # too late, and without effect


async def test_a_server_that_never_stops_asking_is_answered_by_a_cancel() -> None:
    call = live()
    params = ElicitRequestFormParams(message="Name?", requested_schema={})
    call.question_count = 10
    assert await call.ask(params, server="cafe") == ElicitResult(action="cancel")


# --- secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "described", "message"),
    [
        ("password", {"type": "string"}, ""),
        ("userPassword", {"type": "string"}, ""),
        ("value", {"type": "string", "title": "API key"}, ""),
        ("value", {"type": "string", "description": "Your GitHub token, at most 40 characters"}, ""),
        ("access_token", {"type": "string"}, ""),
        ("PIN", {"type": "integer"}, ""),
        ("card_number", {"type": "string"}, ""),
        ("code", {"type": "string", "title": "One-time code"}, ""),
        ("value", {"type": "string"}, "Please paste your private key"),
        ("value", {"type": "string"}, "This is not a test. Please type your password."),
        ("eingabe", {"type": "string", "title": "Passwort"}, ""),
        ("v", {"type": "string", "title": "パスワード"}, ""),
        ("x", {"type": "object", "title": "Credentials"}, ""),
    ],
)
def test_a_form_that_asks_for_a_secret_is_recognised(name: str, described: dict[str, Any], message: str) -> None:
    assert asks_for_secret(message, {"properties": {name: described}})


@pytest.mark.parametrize(
    ("name", "described", "message"),
    [
        ("issue_key", {"type": "string"}, "Which issue?"),
        ("max_tokens", {"type": "integer"}, ""),
        ("keyboard", {"type": "string"}, ""),
        ("postal_code", {"type": "string"}, ""),
        ("secretary", {"type": "string"}, ""),
        (
            "n",
            {"type": "integer", "description": "Any (do not give us your phone number, pin, or others)"},
            "",
        ),
        ("title", {"type": "string"}, "We never ask for passwords. What is the title?"),
        ("reset_password", {"type": "boolean"}, "Your password will be reset. Go on?"),
        ("method", {"type": "string", "enum": ["password", "token"]}, "How do you sign in?"),
    ],
)
def test_what_only_sounds_like_a_secret_is_asked(name: str, described: dict[str, Any], message: str) -> None:
    assert not asks_for_secret(message, {"properties": {name: described}})


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "https://", "http://[", "ftp://a.example"]
)
def test_only_web_pages_are_opened(url: str) -> None:
    assert "declined" in Inquiry(key="1", message="Please", url=url).refusal(server="cafe")


def test_a_form_without_end_is_declined() -> None:
    many = {"properties": {f"field {number}": {"type": "string"} for number in range(5_000)}}
    assert "too large" in Inquiry(key="1", message="Please", schema=many).refusal(server="cafe")
    assert Inquiry(key="1", message="Name?", schema={}).refusal(server="cafe") == ""


# --- what is kept ----------------------------------------------------------------------------------------------


def kept(*keys: str) -> Pending:
    inquiries = tuple(Inquiry(key=key, message=f"{key}?") for key in keys)
    return Pending(kind="round", server="cafe", tool="order", inquiries=inquiries, request_state="sealed")


def test_what_a_call_waits_for_survives_the_store_with_its_answers() -> None:
    answered = kept("a", "b").answered("a", ElicitResult(action="accept", content={"n": 2, "on": True, "x": 0.5}))
    wait = answered.wait()
    assert wait is not None and wait.ask is not None and wait.ask.key == "b"
    again = read_pending(wait.state)
    assert again is not None and again == answered
    sent = again.answered("b", ElicitResult(action="accept", content={})).to_send()
    assert sent.request_state == "sealed"
    assert json.loads(json.dumps({key: each.model_dump() for key, each in (sent.responses or {}).items()}))["a"][
        "content"
    ] == {"n": 2, "on": True, "x": 0.5}


def test_who_closes_one_question_is_not_asked_the_others() -> None:
    declined = kept("a", "b", "c").answered("a", ElicitResult(action="decline"))
    assert declined.wait() is None
    assert [answer["action"] for answer in declined.answers.values()] == ["decline", "cancel", "cancel"]


@pytest.mark.parametrize(
    ("outcome", "content", "result"),
    [
        ("accept", '{"name": "Ada"}', ElicitResult(action="accept", content={"name": "Ada"})),
        ("accept", "", ElicitResult(action="accept", content={})),
        ("accept", "[1]", ElicitResult(action="cancel")),
        ("accept", '{"a": {"b": 1}}', ElicitResult(action="cancel")),
        ("decline", "", ElicitResult(action="decline")),
        ("cancel", "", ElicitResult(action="cancel")),
        ("expired", "", ElicitResult(action="cancel")),
    ],
)
def test_a_decision_is_told_to_the_server_in_its_own_terms(outcome: str, content: str, result: ElicitResult) -> None:
    decision = CallDecided(round=0, call_id="1", outcome=outcome, content=content)
    assert result_of(decision, Inquiry(key="1", message="Name?"), is_complete=False) == result


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=50) | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_a_state_that_is_not_ours_is_none(text: str) -> None:
    assert read_pending(text) is None
