"""The status of a thread: shown while the bot works, gone when it rests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from adapters.shared.kept import KeptMessages
from adapters.slack.errors import SlackRefusedError
from adapters.slack.own_messages import Place
from adapters.slack.parse import conversation_key
from adapters.slack.refusals import Refusals
from adapters.slack.status import LAST_WAIT_S, Status
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import TurnState, TurnView
from tests.fakes.hosts import MemoryNotes

SESSION, WORDS = "agents.sessions.setStatus", "assistant.threads.setStatus"
PLACE = Place(team="T1", channel="C1", thread="1.0")


@dataclass
class FakeCalls:
    """Takes every call and keeps the status of each kind; `refuses` are methods that Slack does not offer here.

    `fails`: all calls do, after they had their effect where that is unknown to the caller. As in Slack, words are gone
    when the bot posts.
    """

    refuses: tuple[str, ...] = ()
    fails: AdapterError | None = None
    ended_at: float = 0.0
    posted_at: float = 0.0
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    noted: list[str] = field(default_factory=list[str])  # while each call was made
    statuses: dict[str, str] = field(default_factory=dict[str, str])
    titles: list[str | None] = field(default_factory=list[str | None])

    async def call(
        self,
        method: str,
        *,
        team: str,
        limit_key: str = "",
        may_repeat: bool = False,
        wait_s: float = 60.0,
        **arguments: Any,
    ) -> dict[str, Any]:
        self.noted = [*self.notes.kept]
        if isinstance(self.fails, RateLimitError) and wait_s < LAST_WAIT_S:
            raise self.fails
        if method in self.refuses:
            raise SlackRefusedError(method=method, code="missing_scope")
        self.statuses[method] = arguments["status"]
        self.titles.append(arguments.get("title"))
        if self.fails is not None:
            raise self.fails
        return {"ok": True}

    def post(self) -> None:
        self.posted_at = time.monotonic()
        self.statuses.pop("assistant.threads.setStatus", None)

    def end_stream(self) -> None:
        self.ended_at = time.monotonic()
        self.statuses["agents.sessions.setStatus"] = "active"


def status(slack: FakeCalls) -> Status:
    return Status(
        slack=slack,
        place=PLACE,
        refusals=Refusals(),
        session_ended_at=lambda: slack.ended_at,
        posted_at=lambda: slack.posted_at,
        kept=KeptMessages(notes=slack.notes, platform="slack", turn_id=1, kind="session"),
    )


def view(state: TurnState, *, notice: str = "") -> TurnView:
    return TurnView(turn_id=1, conversation=conversation_key("T1", "C1", "1.0"), state=state, notice=notice)


async def test_a_session_is_active_again_when_the_turn_ends_or_waits() -> None:
    for rests in ("answered", "waiting"):
        slack = FakeCalls()
        shown = status(slack)
        await shown.work(view("running"))
        assert slack.statuses == {"agents.sessions.setStatus": "processing"}
        await shown.rest(view(rests))
        assert slack.statuses == {"agents.sessions.setStatus": "active"}


@pytest.mark.parametrize(("attempt", "ends"), [(1, {}), (2, {"agents.sessions.setStatus": "active"})])
async def test_a_session_that_a_dead_process_began_ends_with_an_attempt_that_is_too_short_for_one(
    attempt: int, ends: dict[str, str]
) -> None:
    slack = FakeCalls()
    await status(slack).rest(replace(view("answered"), attempt=attempt))
    assert slack.statuses == ends


async def test_a_session_whose_end_waits_for_its_rate_is_kept_for_the_next_process_until_it_has_ended() -> None:
    slack = FakeCalls()
    shown = status(slack)
    await shown.work(view("running"))
    slack.fails = RateLimitError(retry_after_s=30.0)
    await shown.rest(view("answered"))
    assert slack.noted == ["slack/session/1/0"]
    assert slack.notes.kept == {}


async def test_words_are_cleared_unless_the_answer_has_ended_them() -> None:
    for rests, is_posted in (("answered", True), ("answered", False), ("undelivered", False), ("waiting", False)):
        slack = FakeCalls(refuses=(SESSION,))
        shown = status(slack)
        await shown.work(view("running"))
        assert slack.statuses == {WORDS: "is thinking…"}
        if is_posted:
            slack.post()
        await shown.rest(view(rests))
        assert slack.statuses == ({} if is_posted else {WORDS: ""})


@pytest.mark.parametrize("fails", [None, AdapterError("Slack did not answer.")])
async def test_a_status_that_reaches_slack_after_the_answer_is_taken_back(fails: AdapterError | None) -> None:
    for refuses, end, ends in (
        ((SESSION,), FakeCalls.post, {WORDS: ""}),
        ((), FakeCalls.end_stream, {SESSION: "active"}),
    ):
        slack = FakeCalls(refuses=refuses)
        shown = status(slack)
        end(slack)
        slack.fails = fails
        await shown.work(view("running"))
        slack.fails = None
        await shown.rest(view("answered"))
        assert {**slack.statuses, **ends} == slack.statuses


async def test_a_session_ends_also_where_it_could_not_be_renewed() -> None:
    slack = FakeCalls()
    shown = status(slack)
    await shown.work(view("running"))
    slack.fails = RateLimitError(retry_after_s=1.0)
    await shown.work(view("running"))
    slack.fails = None
    await shown.rest(view("answered"))
    assert slack.statuses == {SESSION: "active"}


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What is\n6 * 7?", "What is 6 * 7?"),
        ("", None),  # what was pointed at is somebody else's
        (" \u200b\x00 ", None),
        ("x" * 200, "x" * 200),
        ("x" * 5_000, "x" * 199 + "…"),
    ],
)
async def test_a_thread_is_named_after_the_words_of_the_question(question: str, title: str | None) -> None:
    slack = FakeCalls()
    shown = status(slack)
    await shown.work(replace(view("running"), question=question))
    await shown.rest(view("answered"))
    assert slack.titles == [title, None]
