"""What the user sees of a turn while it runs: its events, folded into one view after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallProgressed,
    CallStarted,
    CallTaken,
    CallWaiting,
    ModelAnswered,
    ModelAsked,
    Paused,
    Replied,
    StateChanged,
    Step,
    TextArrived,
    TextTakenBack,
    TokensSpent,
    TurnEvent,
    TurnView,
)
from bot.ports.work_store import ClaimedTurn
from bot.text.redaction import hide_known, redact
from bot.turns.details import CallLines

VIEW_CHARS = 50_000  # of one call's arguments, and of one result: each view carries them


class ViewObserver:
    """A `TurnObserver` of one turn: shows each change of its view."""

    def __init__(
        self,
        turn: ClaimedTurn,
        show: Callable[[TurnView], None],
        *,
        trace_style: Literal["", "summary", "full"] = "",
    ) -> None:
        self._show = show
        self._view = TurnView(
            turn_id=turn.lease.turn_id,
            conversation=turn.event.conversation,
            state="running",
            in_reply_to=turn.event.event_key,
            question=hide_known(turn.event.text),
            author_id=turn.event.author_id,
            # A turn that was given back at a shutdown has spent no attempt, but was shown: its fence has grown.
            attempt=max(turn.lease.attempt + turn.wakes, turn.lease.fence),
            has_waited=turn.has_waited,
            trace_style=trace_style,
        )
        self._calls = CallLines(max_chars=VIEW_CHARS)
        self._is_void = False  # the text after those broke off, and goes when the next one begins
        self._kept = 0  # characters of the text that belong to answers that are stored

    @property
    def unkept_text(self) -> str:
        """What the model has said in an answer that is not finished: it was seen, and must not vanish."""
        return self._view.text[self._kept :].strip()

    def recall(self, steps: Iterable[Step], *, is_over: bool) -> None:
        """Take up what an earlier attempt did; it is shown with the next change. `is_over`: no call runs any more."""
        for step in steps:
            self._view = self._folded(step)
        if is_over:
            self._calls.close()
            self._view = replace(self._view, trace=self._calls.lines)

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Show what the event changes."""
        view = self._folded(event)
        if view is not self._view:
            self._view = view
            self._show(view)

    def _folded(self, event: TurnEvent) -> TurnView:
        """Return the view after the event; the same object where it changes nothing."""
        view = self._view
        match event:
            case StateChanged(state=state):
                return replace(view, state=state, notice=view.notice if state == "waiting" else "")
            case ModelAsked():
                self._is_void = False
                return replace(view, text=self._kept_text(), notice="")
            case TextTakenBack():
                self._is_void = True
                return view
            case TextArrived(text=text):
                before = self._kept_text() if self._is_void else view.text
                self._is_void = False
                return replace(view, text=before + text, notice="")
            case TokensSpent() | CallTaken() | Replied():
                return view
            case Paused(reason=reason, wait_s=wait_s):
                again = f" Trying again in {wait_s:.0f} s." if wait_s else ""
                return replace(view, notice=f"{redact(reason)}{again}")
            case ModelAnswered(answer=answer):
                # What was heard of the answer is replaced by what is stored of it: the two must not differ.
                text = self._kept_text() + answer.message.text if answer.message.text else view.text[: self._kept]
                self._kept, self._is_void = len(text), False
                self._calls.saw(event)
                return replace(view, text=text, trace=self._calls.lines, notice="")
            case CallWaiting(reason=reason):
                self._calls.saw(event)
                return replace(view, trace=self._calls.lines, notice=reason)
            case CallAsked() | CallJudged() | CallStarted() | CallProgressed() | CallDecided() | CallFinished():
                return replace(view, trace=self._calls.lines) if self._calls.saw(event) else view

    def _kept_text(self) -> str:
        """Return what the model said before its tool calls, ready for more."""
        text = self._view.text[: self._kept].rstrip()
        return f"{text}\n\n" if text else ""
