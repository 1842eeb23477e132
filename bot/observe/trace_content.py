"""What was said, as spans have it where the operator wants that: without secrets, and bounded.

The forms are those of the conventions' JSON schemas (gen-ai-input-messages.json, gen-ai-output-messages.json) at
https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai; names of people are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, assert_never

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, ToolResult, UserMessage
from bot.ports.observer import ModelCall
from bot.text.redaction import redact

MAX_CHARS = 10_000  # of one text
_BEYOND_CHARS = 2_000  # are searched for secrets as well: half of one would not be recognised


def messages_of(call: ModelCall) -> Mapping[str, str]:
    """Return the attributes of a call to the model: what it got, and its answer."""
    found: dict[str, str] = {}
    if call.request is not None:
        found["gen_ai.system_instructions"] = json.dumps([_text(call.request.system)])
        found["gen_ai.input.messages"] = json.dumps([_message(message) for message in call.request.messages])
    if call.answer is not None:
        reason = "length" if call.answer.is_cut else "tool_call" if call.answer.message.tool_calls else "stop"
        answer = {**_message(call.answer.message), "finish_reason": reason}
        found["gen_ai.output.messages"] = json.dumps([answer])
    return found


def arguments_of(call: ToolCall) -> Mapping[str, str]:
    """Return the attribute of what a tool gets."""
    return {"gen_ai.tool.call.arguments": _shown(call.arguments)}


def result_of(result: ToolResult) -> Mapping[str, str]:
    """Return the attribute of what a tool gave back."""
    return {"gen_ai.tool.call.result": _shown(result.text)}


def _message(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage():
            words = (message.context, message.text, message.attached)
            return {"role": "user", "parts": [_text(text) for text in words if text]}
        case AssistantMessage():
            words = [_text(message.text)] if message.text else []
            return {"role": "assistant", "parts": [*words, *map(_call, message.tool_calls)]}
        case ToolMessage():
            part = {"type": "tool_call_response", "id": message.call_id, "response": _shown(message.text)}
            return {"role": "tool", "parts": [part]}
        case _:
            assert_never(message)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": _shown(text)}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": _shown(call.arguments)}


def _shown(text: str) -> str:
    shown = redact(text[: MAX_CHARS + _BEYOND_CHARS])
    return shown if len(text) <= MAX_CHARS else f"{shown[:MAX_CHARS]} [cut: {len(text):,} characters]"
