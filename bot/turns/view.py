"""What the user sees of a turn while it runs: its tool calls, the text so far, what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.turns import CallState, TraceLine, TurnState, TurnView
from bot.ports.model import ModelProgress, ModelWaiting, TextArrived
from bot.ports.store import ClaimedTurn
from bot.text.redaction import redact
from bot.turns.context import cut_result

MAX_SHOWN_CHARS = 50_000  # of one result: each view carries it, and it is searched for secrets


class Trace:
    """Collects what happens in one turn and shows each change."""

    def __init__(self, show: Callable[[TurnView], None], turn: ClaimedTurn) -> None:
        self._show = show
        self._view = TurnView(
            turn_id=turn.lease.turn_id,
            conversation=turn.event.conversation,
            state="running",
            in_reply_to=turn.event.event_key,
            author_id=turn.event.author_id,
            attempt=turn.lease.attempt,
            has_waited=turn.has_waited,
        )
        self._lines: dict[tuple[int, str], TraceLine] = {}
        self._kept = 0  # characters of the text that belong to answers that are stored

    @property
    def unkept_text(self) -> str:
        """What the model has said in an answer that is not finished: it was seen, and must not vanish."""
        return self._view.text[self._kept :].strip()

    def enter(self, state: TurnState) -> None:
        """Show that the turn is in another state."""
        self._change(replace(self._view, state=state, notice=""))

    def begin_answer(self) -> None:
        """Show that the model is asked; what it said before its tool calls stays."""
        text = self._view.text[: self._kept].rstrip()
        self._change(replace(self._view, text=f"{text}\n\n" if text else "", notice=""))

    def keep_answer(self) -> None:
        """Take note that the answer is stored, with all that was heard of it."""
        self._kept = len(self._view.text)

    def recall_answer(self, text: str) -> None:
        """Show an answer that was given to a process before this one."""
        self.begin_answer()
        if text:
            self._change(replace(self._view, text=self._view.text + text))
        self.keep_answer()

    def recall_calls(self, lines: Sequence[TraceLine]) -> None:
        """Take the calls of a turn that was answered before; they are shown with its next state."""
        self._view = replace(self._view, trace=tuple(lines))

    def hear(self, progress: ModelProgress) -> None:
        """Show what the model port tells."""
        match progress:
            case TextArrived():
                self._change(replace(self._view, text=self._view.text + progress.text, notice=""))
            case ModelWaiting():
                self.wait(progress.reason, wait_s=progress.wait_s)

    def wait(self, reason: str, *, wait_s: float) -> None:
        """Show why nothing goes on, and when it is tried again."""
        self._change(replace(self._view, notice=f"{reason} Trying again in {wait_s:.0f} s."))

    def ask(self, round_number: int, call: ToolCall, spec: ToolSpec | None) -> None:
        """Show a call that the model asked for."""
        self._set(
            round_number,
            TraceLine(
                call_id=call.id,
                server=spec.server if spec else "",
                tool=spec.tool if spec else call.name,
                state="asked",
                arguments=redact(call.arguments),
            ),
        )

    def start(self, round_number: int, call_id: str) -> None:
        """Show that the call is running."""
        self._set(round_number, replace(self._lines[round_number, call_id], state="running"))

    def finish(self, round_number: int, result: ToolResult) -> None:
        """Show how the call ended."""
        state: CallState = result.outcome
        line = self._lines[round_number, result.call_id]
        self._set(
            round_number,
            replace(
                line,
                state=state,
                result=redact(cut_result(result.text, max_chars=MAX_SHOWN_CHARS)),
                seconds=result.seconds,
                attachments=tuple(attachment.name for attachment in result.attachments),
            ),
        )

    def _set(self, round_number: int, line: TraceLine) -> None:
        self._lines[round_number, line.call_id] = line
        self._change(replace(self._view, trace=tuple(self._lines.values())))

    def _change(self, view: TurnView) -> None:
        self._view = view
        self._show(view)
