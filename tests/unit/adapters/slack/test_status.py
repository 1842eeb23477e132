"""The status of a thread: shown while the bot works, gone when it rests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from adapters.slack.errors import SlackRefusedError
from adapters.slack.own_messages import Place
from adapters.slack.parse import conversation_key
from adapters.slack.refusals import Refusals
from adapters.slack.status import Status
from bot.domain.turns import TurnState, TurnView

PLACE = Place(team="T1", channel="C1", thread="1.0")


@dataclass
class FakeCalls:
    """Takes every call and keeps the status of each kind; `refuses` are methods that Slack does not offer here."""

    refuses: tuple[str, ...] = ()
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
        if method in self.refuses:
            raise SlackRefusedError(method=method, code="missing_scope")
        self.statuses[method] = arguments["status"]
        self.titles.append(arguments.get("title"))
        return {"ok": True}


def status(slack: FakeCalls) -> Status:
    return Status(slack=slack, place=PLACE, refusals=Refusals(), has_ended=lambda: False)


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


async def test_words_are_cleared_when_the_turn_waits_and_left_for_the_answer_to_end_otherwise() -> None:
    for rests, words in (("answered", "is thinking…"), ("waiting", "")):
        slack = FakeCalls(refuses=("agents.sessions.setStatus",))
        shown = status(slack)
        await shown.work(view("running"))
        assert slack.statuses == {"assistant.threads.setStatus": "is thinking…"}
        await shown.rest(view(rests))
        assert slack.statuses == {"assistant.threads.setStatus": words}


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
