"""Details: what a turn's journal says of its tool calls, as people may see it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import AssistantMessage, Attachment, ModelAnswer, ToolCall, ToolOutcome, ToolResult
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallStarted, CallWaiting, ModelAnswered, Step
from bot.turns.details import DETAILS_CHARS, details_of


def asked(round_number: int, *calls: ToolCall) -> ModelAnswered:
    return ModelAnswered(
        round=round_number, answer=ModelAnswer(message=AssistantMessage(text="Let me see.", tool_calls=calls))
    )


def call(call_id: str, name: str = "files__save_file", arguments: str = "{}") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def started(round_number: int, call_id: str) -> CallStarted:
    return CallStarted(round=round_number, call_id=call_id)


def finished(round_number: int, call_id: str, text: str = "saved", *, outcome: ToolOutcome = "ok") -> CallFinished:
    return CallFinished(round=round_number, result=ToolResult(call_id=call_id, text=text, outcome=outcome))


def test_the_calls_are_in_the_order_in_which_they_were_asked_for_with_their_states() -> None:
    steps: list[Step] = [
        asked(0, call("a"), call("b"), call("c")),
        started(0, "a"),
        started(0, "b"),
        started(0, "c"),
        finished(0, "c", "no such folder", outcome="error"),
        finished(0, "a"),
        asked(1, call("d")),
    ]
    lines = details_of(steps)
    assert [(line.call_id, line.state, line.result) for line in lines] == [
        ("a", "ok", "saved"),
        ("b", "running", ""),
        ("c", "error", "no such folder"),
        ("d", "asked", ""),
    ]


def test_a_call_without_a_result_was_stopped_where_the_turn_is_over() -> None:
    steps = [asked(0, call("a"), call("b"), call("c")), started(0, "a"), started(0, "b"), finished(0, "b")]
    assert [line.state for line in details_of(steps, is_over=True)] == ["stopped", "ok", "stopped"]


def test_calls_of_different_rounds_with_the_same_id_are_told_apart() -> None:
    steps = [asked(0, call("a")), started(0, "a"), finished(0, "a", "first"), asked(1, call("a")), started(1, "a")]
    assert [(line.state, line.result) for line in details_of(steps)] == [("ok", "first"), ("running", "")]


def test_server_and_tool_have_their_own_names_or_in_an_old_journal_what_the_models_name_says() -> None:
    steps = [
        asked(0, call("a"), call("b", "gone__do_it__now"), call("c", "made_up")),
        CallAsked(round=0, call=call("a"), server="files", tool="save.file"),
    ]
    names = [(line.server, line.tool) for line in details_of(steps)]
    assert names == [("files", "save.file"), ("gone", "do_it__now"), ("", "made_up")]


def test_a_call_that_waits_is_shown_so_until_it_is_decided() -> None:
    wait = CallWaiting(round=0, call_id="a", reason="Ann has to approve it.", expires_at=1.0)
    steps: list[Step] = [asked(0, call("a")), started(0, "a"), wait]
    assert [line.state for line in details_of(steps)] == ["waiting"]
    assert [line.state for line in details_of(steps, is_over=True)] == ["stopped"]
    steps += [CallDecided(round=0, call_id="a", outcome="approved", by="slack:T1:U1")]
    assert [line.state for line in details_of(steps)] == ["asked"]
    steps += [started(0, "a"), finished(0, "a")]
    assert [line.state for line in details_of(steps)] == ["ok"]


def test_time_and_files_of_a_result_are_told() -> None:
    picture = Attachment(name="map.png", mime_type="image/png", data=b"png")
    result = ToolResult(call_id="a", text="here", attachments=(picture,), seconds=1.5)
    (line,) = details_of([asked(0, call("a")), CallFinished(round=0, result=result)])
    assert (line.seconds, line.attachments) == (1.5, ("map.png",))


def test_no_secret_of_arguments_or_result_is_shown() -> None:
    steps = [
        asked(0, call("a", arguments='{"password": "hunter2", "path": "a.txt"}')),
        finished(0, "a", "token=abcdefgh123 done"),
    ]
    (line,) = details_of(steps)
    assert "hunter2" not in line.arguments and "a.txt" in line.arguments
    assert "abcdefgh123" not in line.result and "done" in line.result


@given(text=st.integers(0, 12).map(lambda size: "0123456789" * 10**4 * size), rest=st.text("abc ", max_size=50))
def test_a_result_is_whole_up_to_the_bound_and_says_where_it_is_not(text: str, rest: str) -> None:
    whole = text + rest
    (line,) = details_of([asked(0, call("a")), finished(0, "a", whole)])
    if len(whole) <= DETAILS_CHARS:
        assert line.result == whole
    else:
        assert line.result.startswith(whole[:DETAILS_CHARS]) and f"{len(whole):,} characters" in line.result
        assert len(line.result) < DETAILS_CHARS + 100


def test_a_secret_that_reaches_over_the_bound_is_hidden_all_the_same() -> None:
    secret = "xoxb-" + "1" * 40
    (line,) = details_of([asked(0, call("a")), finished(0, "a", "." * (DETAILS_CHARS - 7) + secret + "." * 20_000)])
    assert "xoxb" not in line.result


def test_a_turn_that_used_no_tool_has_no_lines() -> None:
    assert details_of([]) == details_of([asked(0)]) == ()


def test_thoughts_follow_the_calls_where_the_operator_wants_them() -> None:
    message = AssistantMessage(text="", tool_calls=(ToolCall(id="a", name="shop__buy", arguments="{}"),))
    thoughtful = ModelAnswered(round=0, answer=ModelAnswer(message=message, thoughts="I need api_key=hunter2-winter."))
    assert [line.tool for line in details_of([thoughtful])] == ["buy"]
    buying, thoughts = details_of([thoughtful], shows_thoughts=True)
    assert buying.tool == "buy" and thoughts.tool == "thoughts 1"
    assert thoughts.result.startswith("I need") and "hunter2" not in thoughts.result
