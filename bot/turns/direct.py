"""A turn in which no model is asked: a person asked for one call, and its result is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.events import RunRequest
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolMessage
from bot.domain.turns import TextArrived
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.text.redaction import HIDDEN_NOTE, redact

ANSWER_CHARS = 20_000  # of the result that is shown as the answer; Details has all of it
_BEYOND_CHARS = 2_000  # are searched for secrets as well: half of one would not be recognised as a secret
CALL_ID = "run"


@dataclass(frozen=True, slots=True)
class DirectRun:
    """Satisfies `Model`, without a single token: first it asks for the call, then it answers with the result."""

    run: RunRequest
    name: str = "no model"
    refused_tools: Mapping[str, str] = field(default_factory=dict[str, str])

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the next answer; never raises."""
        last = request.messages[-1]
        if not isinstance(last, ToolMessage):
            call = ToolCall(id=CALL_ID, name=self.run.name, arguments=self.run.arguments)
            return ModelAnswer(message=AssistantMessage(text="", tool_calls=(call,)))
        text, is_redacted = _bounded(last.text)
        progress(TextArrived(text=text))
        return ModelAnswer(message=AssistantMessage(text=text), notes=(HIDDEN_NOTE,) if is_redacted else ())


def _bounded(text: str) -> tuple[str, bool]:
    """Return the result as people read it, bounded and without secrets, and whether it had any."""
    if not text.strip():
        return "It is done; the tool returned no text.", False
    read = text[: ANSWER_CHARS + _BEYOND_CHARS]
    shown = redact(read)
    if len(text) <= ANSWER_CHARS:
        return shown, shown != read
    cut = f"_(cut: the first {ANSWER_CHARS:,} of {len(text):,} characters)_"
    return f"{shown[:ANSWER_CHARS]}\n\n{cut}", shown != read
