"""The log with people's words: one line for each turn and each call, without secrets, and nothing kept of turns."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.domain.messages import AssistantMessage, ToolCall, ToolMessage, ToolResult, UserMessage
from bot.domain.turns import CallFinished, CallTaken, ModelAsked, Replied, StateChanged, TurnEvent, TurnState
from bot.observe.content_log import ContentLog
from bot.ports.work_store import ClaimedTurn, Lease
from tests.fakes.ports import message

SECRET = "sk-proj-" + "aB3" * 20
TURN = ClaimedTurn(
    lease=Lease(turn_id=7, conversation_id=1, fence=1, attempt=1), event=message(f"buy with {SECRET}"), state="running"
)
BUY = ToolCall(id="a", name="shop__buy", arguments='{"what": "plan", "api_key": "8f14e45fceea167a5a36dedd4bea2543"}')


def taken(call: ToolCall = BUY, *, number: int = 0) -> CallTaken:
    return CallTaken(round=number, call=call, server="shop", tool="buy")


def finished(number: int = 0, **result: Any) -> CallFinished:
    return CallFinished(round=number, result=ToolResult(call_id="a", text="bought", seconds=0.0256, **result))


def logged(observer: ContentLog, *events: TurnEvent) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        for event in events:
            observer.saw(TURN, event)
    return [dict(line) for line in lines]


def test_a_call_is_one_line_with_its_arguments_and_the_length_of_its_result() -> None:
    (line,) = logged(ContentLog(), taken(), finished())
    assert line.items() >= {
        "event": "tool_call", "call": "a", "tool": "shop/buy", "result_chars": 6, "milliseconds": 26, "success": True
    }.items()  # fmt: skip
    assert '"what": "plan"' in line["arguments"] and "8f14e45fceea" not in line["arguments"]
    assert "bought" not in str(line)


def test_a_call_that_did_not_succeed_says_so_and_how() -> None:
    (line,) = logged(ContentLog(), taken(), finished(outcome="denied"))
    assert (line["success"], line["outcome"]) == (False, "denied")


def test_calls_with_one_id_in_two_rounds_have_their_own_arguments_and_changed_ones_count() -> None:
    second = ToolCall(id="a", name="shop__buy", arguments='{"what": "tea"}')
    edited = ToolCall(id="a", name="shop__buy", arguments='{"what": "cake"}')
    lines = logged(ContentLog(), taken(), finished(), taken(second, number=1), taken(edited, number=1), finished(1))
    assert "plan" in lines[0]["arguments"] and lines[1]["arguments"] == '{"what": "cake"}'


def test_a_turn_is_one_line_with_question_answer_tools_and_length_of_the_history() -> None:
    messages = (
        UserMessage(text="buy"),
        AssistantMessage(text="I will buy it.", tool_calls=(BUY, BUY)),
        ToolMessage(call_id="a", text="bought"),
        AssistantMessage(text=f"Done. {SECRET}"),
    )
    events = (ModelAsked(round=0, history=4), Replied(outcome="answered", messages=messages))
    (line,) = logged(ContentLog(), *events, StateChanged(state="answered"))
    assert line.items() >= {
        "event": "conversation_turn", "question": "buy with [hidden]", "answer": "I will buy it.\n\nDone. [hidden]",
        "tools": ["shop__buy"], "history_messages": 4, "outcome": "answered",
    }.items()  # fmt: skip


@pytest.mark.parametrize("state", ["answered", "waiting", "taken_over"])
def test_nothing_is_kept_of_a_turn_that_is_at_rest(state: TurnState) -> None:
    observer = ContentLog()
    logged(observer, ModelAsked(round=0, history=1), taken(), StateChanged(state=state))
    assert not any(vars(observer).values())
