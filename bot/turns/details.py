"""The exact arguments and results of a turn's tool calls, read back from its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered, Step, TraceLine
from bot.ports.tools import Offer
from bot.text.redaction import redact

MAX_CHARS = 200_000  # of one call's arguments, and of one result
_BEYOND_CHARS = 10_000  # are searched for secrets as well: half of one would not be known for a secret


def lines_of(steps: Sequence[Step], offer: Offer, *, is_over: bool = False) -> tuple[TraceLine, ...]:
    """Return a line for each call that the model asked for, in its order, with redacted arguments and result.

    Where `is_over`, the turn works no more: a call without a result was stopped. Server and tool are named as the offer
    has them; of a tool that is not offered now the namespaced name says which they were.
    """
    lines: dict[tuple[int, str], TraceLine] = {}
    for step in steps:
        match step:
            case ModelAnswered():
                for call in step.answer.message.tool_calls:
                    lines[step.round, call.id] = _asked(call, offer)
            case CallStarted():
                place = (step.round, step.call_id)
                if place in lines:
                    lines[place] = replace(lines[place], state="running")
            case CallFinished():
                place = (step.round, step.result.call_id)
                if place in lines:
                    lines[place] = _finished(lines[place], step.result)
    return tuple(_stopped(line) if is_over else line for line in lines.values())


def _asked(call: ToolCall, offer: Offer) -> TraceLine:
    spec = offer.find(call.name)
    server, _, tool = call.name.partition("__")
    return TraceLine(
        call_id=call.id,
        server=spec.server if spec else server if tool else "",
        tool=spec.tool if spec else tool or server,
        state="asked",
        arguments=_shown(call.arguments),
    )


def _finished(line: TraceLine, result: ToolResult) -> TraceLine:
    return replace(
        line,
        state=result.outcome,
        result=_shown(result.text),
        seconds=result.seconds,
        attachments=tuple(attachment.name for attachment in result.attachments),
    )


def _stopped(line: TraceLine) -> TraceLine:
    return replace(line, state="stopped") if line.state in ("asked", "running") else line


def _shown(text: str) -> str:
    shown = redact(text[: MAX_CHARS + _BEYOND_CHARS])
    if len(shown) <= MAX_CHARS and len(text) <= MAX_CHARS + _BEYOND_CHARS:
        return shown
    return f"{shown[:MAX_CHARS]}\n[cut: the beginning of {len(text):,} characters]"
