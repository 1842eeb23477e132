"""The protocol of `/responses`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from bot.models.rehearsal.model import word_groups
from tests.fakes.openai.strictness import ROLES, RequestRefusedError, check_name, check_parts
from tests.fakes.openai.wire import (
    MODEL_NAME,
    Reply,
    argument_pieces,
    as_dict,
    as_list,
    images_in,
    text_in,
    write_event,
)

# https://developers.openai.com/api/reference/resources/responses
_PARAMETERS = """
    access_programs background background_options context_management conversation image include input instructions
    max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store
    stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user
"""
PARAMETERS = frozenset(_PARAMETERS.split())
_ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning")


class Responses:
    """The Responses API, as OpenAI and Azure speak it."""

    parameters = PARAMETERS
    prompt_fields = ("tools", "instructions", "input")
    image_part = "input_image"
    tool_path = ""

    def unknown_parameters(self, names: list[str]) -> RequestRefusedError:
        return RequestRefusedError(f"Unknown parameter: '{names[0]}'.", param=names[0], code="unknown_parameter")

    def check(self, body: dict[str, Any]) -> None:
        items = [_item(one) for one in as_list(body.get("input"))]
        if not items:
            raise RequestRefusedError(
                "Missing required parameter: 'input'.", param="input", code="missing_required_parameter"
            )
        called: list[str] = []
        for at, item in enumerate(items):
            _check_item(item, f"input[{at}]")
            key = str(item.get("call_id"))
            if item["type"] == "function_call":
                called.append(key)
            elif item["type"] == "function_call_output":
                if key not in called:
                    raise RequestRefusedError(
                        f"No tool call found for function call output with call_id {key}.", param="input"
                    )
                called.remove(key)
        if called:
            raise RequestRefusedError(f"No tool output found for function call {called[0]}.", param="input")

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        return tool

    def messages(self, body: dict[str, Any]) -> list[Message]:
        """Read the items; consecutive function calls are one answer, as they were when it was given."""
        messages: list[Message] = []
        for item in map(_item, as_list(body["input"])):
            match item["type"], item.get("role"):
                case "message", "user":
                    content = item.get("content")
                    messages.append(UserMessage(text=text_in(content), images=images_in(content)))
                case "message", "assistant":
                    messages.append(AssistantMessage(text=text_in(item.get("content"))))
                case "function_call", _:
                    call = ToolCall(id=item["call_id"], name=item["name"], arguments=item["arguments"])
                    last = messages[-1] if messages else None
                    if isinstance(last, AssistantMessage):
                        messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
                    else:
                        messages.append(AssistantMessage(text="", tool_calls=(call,)))
                case "function_call_output", _:
                    messages.append(ToolMessage(call_id=item["call_id"], text=text_in(item.get("output"))))
                case _:
                    pass
        return messages

    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        return _finished(_head(body), reply, _output(reply))

    def stream(self, reply: Reply, body: dict[str, Any], *, is_azure: bool) -> tuple[list[bytes], list[bytes]]:
        head, output = _head(body), _output(reply)
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": head},
            {"type": "response.in_progress", "response": head},
        ]
        for at, item in enumerate(output):
            events += _message_events(item, at) if item["type"] == "message" else _call_events(item, at)
        kind = "response.incomplete" if reply.is_filtered else "response.completed"
        events.append({"type": kind, "response": _finished(head, reply, output)})
        sent = [write_event({**event, "sequence_number": at}) for at, event in enumerate(events)]
        return sent[:-1], sent[-1:]


def _check_item(item: dict[str, Any], param: str) -> None:
    if item["type"] not in _ITEM_TYPES:
        text = f"Invalid value: '{item['type']}'. Supported values are: {', '.join(_ITEM_TYPES)}."
        raise RequestRefusedError(text, param=f"{param}.type", code="invalid_value")
    if item["type"] == "message" and item.get("role") not in ROLES[:-1]:
        text = f"Invalid value: '{item.get('role')}'. Supported values are: {', '.join(ROLES[:-1])}."
        raise RequestRefusedError(text, param=f"{param}.role", code="invalid_value")
    if item.get("role") == "user":
        check_parts(item.get("content"), f"{param}.content", ("input_text", "input_image"))
    if item["type"] == "function_call":
        check_name(item.get("name"), f"{param}.name")
        if not isinstance(item.get("arguments"), str) or not isinstance(item.get("call_id"), str):
            raise RequestRefusedError("A function call needs a call_id and its arguments as a string.", param=param)


def _item(item: object) -> dict[str, Any]:
    """Return an input item with its type; a bare string is a user message."""
    return {"type": "message", **(as_dict(item) or {"role": "user", "content": item})}


def _message_events(item: dict[str, Any], at: int) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": at}
    in_part = {**place, "content_index": 0}
    added: dict[str, Any] = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": at, "item": added}
    yield {"type": "response.content_part.added", **in_part, "part": {**part, "text": ""}}
    for piece in word_groups(part["text"]):
        yield {"type": "response.output_text.delta", **in_part, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **in_part, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **in_part, "part": part}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _call_events(item: dict[str, Any], at: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": at}
    added = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": at, "item": added}
    for piece in argument_pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    named = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **named}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _output(reply: Reply) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    status = "incomplete" if reply.is_filtered else "completed"
    if reply.text or not reply.calls:
        part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        spoken = {"type": "message", "role": "assistant", "status": status, "content": [part]}
        output.append({"id": f"msg_{uuid.uuid4().hex}", **spoken})
    for call in reply.calls:
        named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        output.append({"id": f"fc_{uuid.uuid4().hex}", "type": "function_call", "status": status, **named})
    return output


def _head(body: dict[str, Any]) -> dict[str, Any]:
    echoed = ("instructions", "max_output_tokens", "temperature", "top_p", "previous_response_id")
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": MODEL_NAME,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "store": body.get("store", True),
        "metadata": body.get("metadata") or {},
        "usage": None,
        **{name: body.get(name) for name in echoed},
    }


def _finished(head: dict[str, Any], reply: Reply, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **head,
        "status": "incomplete" if reply.is_filtered else "completed",
        "incomplete_details": {"reason": "content_filter"} if reply.is_filtered else None,
        "output": output,
        "usage": {
            "input_tokens": reply.usage.input_tokens,
            "input_tokens_details": {"cached_tokens": reply.usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": reply.usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.usage.input_tokens + reply.usage.output_tokens,
        },
    }
