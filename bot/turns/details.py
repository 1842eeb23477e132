"""The tool calls of a turn as people read them: one fold of its events, for the live view and for the details."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import (
    UNENDED_CALLS,
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallProgressed,
    CallStarted,
    CallWaiting,
    ModelAnswered,
    Step,
    TraceLine,
    TurnEvent,
)
from bot.text.lines import NAME_CHARS, one_line
from bot.text.redaction import redact

DETAILS_CHARS = 200_000  # of one call's arguments, and of one result
_BEYOND_CHARS = 10_000  # are searched for secrets as well: half of one would not be recognised as a secret


class CallLines:
    """Folds the events of one turn into a line for each call that the model asked for, in its order.

    Arguments and results are redacted, and cut at `max_chars` each.
    """

    def __init__(self, *, max_chars: int) -> None:
        self._max_chars = max_chars
        self._lines: dict[tuple[int, str], TraceLine] = {}

    @property
    def lines(self) -> tuple[TraceLine, ...]:
        """The calls so far."""
        return tuple(self._lines.values())

    def saw(self, event: TurnEvent) -> bool:
        """Take note of the event; return whether it changed a line."""
        match event:
            case ModelAnswered(round=number, answer=answer):
                for call in answer.message.tool_calls:
                    self._lines[number, call.id] = self._asked(call)
                return bool(answer.message.tool_calls)
            case CallAsked(round=number, call=call):
                return self._change(number, call.id, server=event.server, tool=event.tool)
            case CallStarted(round=number, call_id=call_id):
                return self._change(number, call_id, state="running")
            case CallProgressed(round=number, call_id=call_id, text=text):
                return self._change(number, call_id, progress=redact(text))
            case CallWaiting(round=number, call_id=call_id):
                return self._change(number, call_id, state="waiting")
            case CallJudged(round=number, call_id=call_id, note=note):
                note = note or (f"denied: rule {event.rule}" if event.verdict == "deny" else "")
                return bool(note) and self._change(number, call_id, note=note)
            case CallDecided():
                return self._decide(event)
            case CallFinished(round=number, result=result):
                return self._finish(number, result)
            case _:
                return False

    def close(self) -> None:
        """Mark the calls without a result as stopped: their turn is over."""
        for key, line in self._lines.items():
            if line.state in UNENDED_CALLS:
                self._lines[key] = replace(line, state="stopped")

    def _asked(self, call: ToolCall) -> TraceLine:
        # The namespaced name tells server and tool until `CallAsked` names them as they name themselves.
        server, _, tool = call.name.partition("__")
        return TraceLine(
            call_id=call.id,
            server=server if tool else "",
            tool=tool or server,
            state="asked",
            arguments=self._shown(call.arguments),
        )

    def _decide(self, event: CallDecided) -> bool:
        changes: dict[str, object] = {"note": decision_note(event)}
        if event.arguments:
            changes["arguments"] = self._shown(event.arguments)
        return self._change(event.round, event.call_id, state="asked", **changes)

    def _finish(self, number: int, result: ToolResult) -> bool:
        return self._change(
            number,
            result.call_id,
            state=result.outcome,
            result=self._shown(result.text),
            seconds=result.seconds,
            progress="",
            attachments=tuple(attachment.name for attachment in result.attachments),
        )

    def _change(self, number: int, call_id: str, **changes: object) -> bool:
        line = self._lines.get((number, call_id))
        if line is not None:
            self._lines[number, call_id] = replace(line, **changes)  # type: ignore[arg-type]
        return line is not None

    def _shown(self, text: str) -> str:
        return shown_text(text, max_chars=self._max_chars)


def decision_note(decided: CallDecided) -> str:
    """Return what was decided on a call, as a phrase: "approved by Ben and Cleo"."""
    if decided.outcome not in _SAID:
        return ""
    names = list(dict.fromkeys(one_line(vote.name or vote.by, max_chars=NAME_CHARS) for vote in decided.votes))
    by = f" by {' and '.join(names)}" if names else ""
    edited = " with changed arguments" if decided.arguments and decided.outcome == "approved" else ""
    return f"{_SAID[decided.outcome]}{by}{edited}"


_SAID = {"approved": "approved", "declined": "declined", "withdrawn": "withdrawn", "expired": "expired"}


def details_of(steps: Iterable[Step], *, is_over: bool = False, shows_thoughts: bool = False) -> tuple[TraceLine, ...]:
    """Return the calls that a journal tells of; where the turn `is_over`, a call without a result was stopped.

    `shows_thoughts`: what the model thought follows the calls, whose numbers stay the same.
    """
    calls = CallLines(max_chars=DETAILS_CHARS)
    thoughts: list[TraceLine] = []
    for step in steps:
        calls.saw(step)
        if shows_thoughts and isinstance(step, ModelAnswered) and step.answer.thoughts:
            text = shown_text(step.answer.thoughts, max_chars=DETAILS_CHARS)
            name = f"thoughts {step.round + 1}"
            thoughts.append(TraceLine(call_id=name, server="", tool=name, state="ok", arguments="", result=text))
    if is_over:
        calls.close()
    return (*calls.lines, *thoughts)


def shown_text(text: str, *, max_chars: int) -> str:
    """Return the text as people may read it: redacted, and cut at `max_chars`."""
    shown = redact(text[: max_chars + _BEYOND_CHARS])
    if len(shown) <= max_chars and len(text) <= max_chars + _BEYOND_CHARS:
        return shown
    return f"{shown[:max_chars]}\n[cut: the beginning of {len(text):,} characters]"
