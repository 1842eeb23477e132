"""The live view: what each event changes, and that a resumed turn shows what was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallProgressed,
    CallStarted,
    CallWaiting,
    ModelAnswered,
    ModelAsked,
    Paused,
    StateChanged,
    Step,
    TextArrived,
    TextTakenBack,
    TurnEvent,
    TurnView,
)
from bot.ports.work_store import ClaimedTurn, Lease
from bot.turns.details import details_of
from bot.turns.view import ViewObserver
from tests.fakes.ports import message

TURN = ClaimedTurn(
    lease=Lease(turn_id=7, conversation_id=1, fence=2, attempt=2), event=message("Hi"), state="running", wakes=1
)
WAIT = CallWaiting(round=0, call_id="a", reason="Ben has to approve it.", expires_at=1.0)


class Screen:
    """What was shown of one turn."""

    def __init__(self) -> None:
        self.views: list[TurnView] = []
        self.observer = ViewObserver(TURN, self.views.append)

    def see(self, *events: TurnEvent) -> TurnView:
        for event in events:
            self.observer.saw(TURN, event)
        return self.views[-1]


def answered(number: int, text: str, *calls: str) -> ModelAnswered:
    asked = tuple(ToolCall(id=call, name=f"shop__{call}", arguments="{}") for call in calls)
    return ModelAnswered(round=number, answer=ModelAnswer(message=AssistantMessage(text=text, tool_calls=asked)))


def test_text_that_is_taken_back_stays_until_the_next_one_replaces_it() -> None:
    screen = Screen()
    screen.see(answered(0, "Let me look.", "a"), ModelAsked(round=1), TextArrived(text="The night trai"))
    waiting = screen.see(TextTakenBack(), Paused(reason="The model's answer broke off.", wait_s=1))
    assert waiting.text == "Let me look.\n\nThe night trai"
    assert waiting.notice == "The model's answer broke off. Trying again in 1 s."
    assert screen.see(TextArrived(text="The ")).text == "Let me look.\n\nThe "
    assert screen.see(TextArrived(text="22:51.")).text == "Let me look.\n\nThe 22:51."


def named(number: int, call: str) -> CallAsked:
    asked = ToolCall(id=call, name=f"shop__{call}", arguments="{}")
    return CallAsked(round=number, call=asked, server="the shop", tool=call.upper())


def finished(number: int, call: str) -> CallFinished:
    return CallFinished(round=number, result=ToolResult(call_id=call, text=f"did {call}"))


def test_a_view_says_whose_turn_it_is_and_how_often_it_was_begun() -> None:
    view = Screen().see(StateChanged(state="running"))
    assert (view.turn_id, view.in_reply_to, view.author_id, view.state) == (7, "Hi", "U1", "running")
    assert view.attempt == 3  # its second attempt, and it had waited once


def test_the_text_grows_and_an_answer_that_broke_off_takes_only_its_own_with_it() -> None:
    screen = Screen()
    screen.see(
        ModelAsked(round=0), TextArrived(text="Let me "), TextArrived(text="see."), answered(0, "Let me see.", "a")
    )
    assert screen.see(ModelAsked(round=1), TextArrived(text="It i")).text == "Let me see.\n\nIt i"
    assert screen.observer.unkept_text == "It i"
    assert screen.see(ModelAsked(round=1), TextArrived(text="It is")).text == "Let me see.\n\nIt is"
    assert screen.see(answered(1, "It is done.")).text == "Let me see.\n\nIt is done."
    assert screen.observer.unkept_text == ""


def test_what_is_stored_of_an_answer_is_what_is_seen_of_it() -> None:
    assert Screen().see(TextArrived(text="heard"), answered(0, "stored")).text == "stored"


def test_how_far_a_call_is_can_be_seen_while_it_runs() -> None:
    screen = Screen()
    screen.see(answered(0, "", "a"), CallStarted(round=0, call_id="a"))
    view = screen.see(CallProgressed(round=0, call_id="a", text="3 of 10: token=abcdefghijklmnopqrstuvwxyz012345"))
    assert view.trace[0].state == "running"
    assert view.trace[0].progress.startswith("3 of 10: token=")
    assert "abcdefghijklmnop" not in view.trace[0].progress
    assert screen.see(finished(0, "a")).trace[0].progress == ""


def test_a_pause_is_said_until_something_goes_on() -> None:
    screen = Screen()
    notice = screen.see(Paused(reason="The model is busy.", wait_s=4.0)).notice
    assert notice == "The model is busy. Trying again in 4 s."
    assert screen.see(TextArrived(text="Hello")).notice == ""


def test_calls_are_seen_from_the_answer_that_asks_for_them_to_their_results() -> None:
    screen = Screen()
    states = [
        [(line.server, line.tool, line.state) for line in screen.see(event).trace]
        for event in (answered(0, "", "a"), named(0, "a"), CallStarted(round=0, call_id="a"), finished(0, "a"))
    ]
    assert states == [
        [("shop", "a", "asked")],
        [("the shop", "A", "asked")],
        [("the shop", "A", "running")],
        [("the shop", "A", "ok")],
    ]


def test_what_a_turn_waits_for_stays_in_sight_while_it_waits() -> None:
    screen = Screen()
    view = screen.see(answered(0, "", "a"), CallStarted(round=0, call_id="a"), WAIT, StateChanged(state="waiting"))
    assert (view.state, view.notice) == ("waiting", "Ben has to approve it.")
    assert [line.state for line in view.trace] == ["waiting"]
    assert screen.see(StateChanged(state="running")).notice == ""


def test_an_event_that_changes_nothing_shows_nothing() -> None:
    screen = Screen()
    screen.observer.saw(TURN, finished(0, "unknown"))
    assert screen.views == []


calls = st.sampled_from(["a", "b", "c"])
rounds = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.builds(answered, rounds, st.sampled_from(["", "Let me see."]), calls),
        st.builds(named, rounds, calls),
        st.builds(lambda number, call: CallStarted(round=number, call_id=call), rounds, calls),
        st.builds(lambda number, call: replace(WAIT, round=number, call_id=call), rounds, calls),
        st.builds(lambda number, call: CallDecided(round=number, call_id=call, outcome="approved"), rounds, calls),
        st.builds(finished, rounds, calls),
    ),
    max_size=30,
)


@given(steps)
def test_the_view_and_the_details_of_a_journal_are_one_fold(journal: Sequence[Step]) -> None:
    live, resumed = Screen(), Screen()
    seen = live.see(StateChanged(state="running"), *journal, StateChanged(state="running"))
    resumed.observer.recall(journal, is_over=False)
    assert resumed.see(StateChanged(state="running")) == replace(seen, notice="")
    assert seen.trace == details_of(journal)


@given(steps)
def test_of_a_turn_that_is_over_no_call_is_seen_to_run(journal: Sequence[Step]) -> None:
    screen = Screen()
    screen.observer.recall(journal, is_over=True)
    trace = screen.see(StateChanged(state="delivering")).trace
    assert trace == details_of(journal, is_over=True)
    assert not {line.state for line in trace} & {"asked", "waiting", "running"}


def test_a_turn_that_was_given_back_at_a_shutdown_is_shown_as_one_that_may_have_been_shown_before() -> None:
    shown: list[TurnView] = []
    lease = Lease(turn_id=7, conversation_id=1, fence=2, attempt=1)  # giving it back spends no attempt
    turn = ClaimedTurn(lease=lease, event=message("Hi"), state="running")
    ViewObserver(turn, shown.append).saw(turn, StateChanged(state="delivering"))
    assert shown[-1].attempt == 2
