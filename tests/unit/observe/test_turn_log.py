"""The log of turns: a line for each tool call and each end, and nothing kept of turns that are over."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallStarted,
    CallWaiting,
    StateChanged,
    TextArrived,
    TurnEvent,
    TurnState,
)
from bot.observe.turn_log import TurnLog
from bot.ports.work_store import ClaimedTurn, Lease
from tests.fakes.ports import message

TURN = ClaimedTurn(
    lease=Lease(turn_id=7, conversation_id=1, fence=1, attempt=1), event=message("my secret plan"), state="running"
)
ASKED = CallAsked(
    round=0, call=ToolCall(id="a", name="shop__buy", arguments='{"what": "plan"}'), server="shop", tool="buy"
)
RUNNING = StateChanged(state="running")


def logged(observer: TurnLog, *events: TurnEvent) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        for event in events:
            observer.saw(TURN, event)
    return [dict(line) for line in lines]


def test_a_tool_call_is_one_line_with_its_tool_and_outcome_and_none_of_its_text() -> None:
    result = ToolResult(call_id="a", text="the plan", outcome="error", seconds=0.25)
    lines = logged(TurnLog(), RUNNING, ASKED, CallStarted(round=0, call_id="a"), CallFinished(round=0, result=result))
    assert [(line["event"], line["tool"], line["outcome"], line["seconds"]) for line in lines] == [
        ("tool_call_ended", "shop__buy", "error", 0.25)
    ]
    assert "plan" not in str(lines)


def test_a_wait_and_its_decision_are_lines_that_say_who_decided() -> None:
    wait = CallWaiting(round=0, call_id="a", reason="my secret plan", expires_at=1.0)
    decided = CallDecided(round=0, call_id="a", outcome="approved", by="slack:T1:U2", note="my secret plan")
    lines = logged(TurnLog(), wait, decided)
    assert [line["event"] for line in lines] == ["tool_call_waits", "tool_call_decided"]
    assert (lines[1]["outcome"], lines[1]["by"]) == ("approved", "slack:T1:U2")
    assert "plan" not in str(lines)


@pytest.mark.parametrize("state", ["answered", "stopped", "failed", "undelivered"])
def test_an_end_is_one_line_with_its_outcome_and_time(state: TurnState) -> None:
    (line,) = logged(TurnLog(), RUNNING, TextArrived(text="hello"), StateChanged(state=state))
    assert (line["event"], line["outcome"], line["attempt"]) == ("turn_ended", state, 1)
    assert line["seconds"] >= 0


@pytest.mark.parametrize("state", ["answered", "waiting", "taken_over"])
def test_nothing_is_kept_of_a_turn_that_is_at_rest(state: TurnState) -> None:
    observer = TurnLog()
    logged(observer, RUNNING, ASKED, StateChanged(state=state))
    assert not any(vars(observer).values())
