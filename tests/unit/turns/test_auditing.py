"""What the audit gets of a turn's calls."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.asks import ApprovalAsk
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallJudged, CallStarted, CallWaiting, Step
from bot.ports.work_store import ClaimedTurn, Lease
from bot.turns.auditing import ARGUMENTS_CHARS, CallAudit, audited_arguments
from tests.fakes.ports import message

TURN = ClaimedTurn(lease=Lease(turn_id=7, conversation_id=1, fence=1, attempt=1), event=message("Hi"), state="running")
CALL = ToolCall(id="c", name="d__deploy", arguments='{"env": "prod", "password": "hunter2"}')
ASKED = CallAsked(round=0, call=CALL, server="deploys", tool="deploy")
STARTED = CallStarted(round=0, call_id="c")
ASK = ApprovalAsk(
    server="deploys",
    tool="deploy",
    name=CALL.name,
    arguments=CALL.arguments,
    digest="d",
    rule="prod",
    rule_key="k",
    reason="",
)
WAITING = CallWaiting(round=0, call_id="c", reason="", expires_at=0, ask=ASK)


def judged(verdict: str, *approvers: str) -> CallJudged:
    return CallJudged(round=0, call_id="c", verdict=verdict, rule="prod", approvers=approvers)  # type: ignore[arg-type]


def finished(outcome: str) -> CallFinished:
    return CallFinished(round=0, result=ToolResult(call_id="c", text="", outcome=outcome))  # type: ignore[arg-type]


def kept(*steps: Step) -> Sequence[tuple[str, ...]]:
    return [
        (entry.kind, entry.verdict, entry.rule, entry.outcome, *entry.approvers)
        for entry in CallAudit(TURN, now=lambda: 1.0).entries(steps)
    ]


def test_an_entry_names_person_place_tool_and_redacted_arguments() -> None:
    [entry] = CallAudit(TURN, now=lambda: 1.0).entries([ASKED, judged("allow"), STARTED])
    assert (entry.person, entry.place, entry.server, entry.tool) == (
        "fake:U1",
        "fake:team:general",
        "deploys",
        "deploy",
    )
    assert (entry.turn_id, entry.call_id) == (7, "c")
    assert "prod" in entry.arguments and "hunter2" not in entry.arguments


def test_a_call_that_runs_leaves_its_start_with_the_verdict_and_its_outcome() -> None:
    assert kept(ASKED, judged("allow"), STARTED, finished("timeout")) == [
        ("started", "allow", "prod", ""),
        ("finished", "allow", "prod", "timeout"),
    ]


def test_a_call_that_is_not_sent_leaves_its_verdict() -> None:
    assert kept(ASKED, judged("deny"), finished("denied")) == [("judged", "deny", "prod", "denied")]
    assert kept(ASKED, judged("ask"), finished("withheld")) == [("judged", "ask", "prod", "withheld")]


def test_a_call_that_asks_leaves_that_and_who_approved_what_started() -> None:
    assert kept(ASKED, judged("ask"), WAITING, judged("ask", "fake:U2"), STARTED) == [
        ("asked", "ask", "prod", "approval"),
        ("started", "ask", "prod", "", "fake:U2"),
    ]


def test_that_nobody_decided_in_time_is_kept() -> None:
    expired = CallDecided(round=0, call_id="c", outcome="expired")
    assert kept(ASKED, judged("ask"), WAITING, expired)[-1] == ("decided", "ask", "prod", "expired")


def test_a_call_that_reaches_no_server_leaves_nothing() -> None:
    assert kept(ASKED, STARTED, finished("ok")) == []


def test_edited_arguments_are_what_is_kept_from_then_on() -> None:
    decided = CallDecided(round=0, call_id="c", outcome="approved", arguments='{"env": "dev"}')
    entries = CallAudit(TURN, now=lambda: 1.0).entries([ASKED, judged("ask"), WAITING, decided, judged("ask"), STARTED])
    assert entries[-1].arguments == '{"env": "dev"}'


def test_a_secret_at_the_cut_is_hidden_too() -> None:
    text = "x" * (ARGUMENTS_CHARS - 5) + " sk-" + "a1" * 20
    assert "sk-" not in audited_arguments(text) and len(audited_arguments(text)) <= ARGUMENTS_CHARS
