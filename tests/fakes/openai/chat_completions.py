"""The protocol of `/chat/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
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

# https://developers.openai.com/api/reference/resources/chat
_PARAMETERS = """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
"""
PARAMETERS = frozenset(_PARAMETERS.split())


class ChatCompletions:
    """Chat Completions, as OpenAI and Azure speak it."""

    parameters = PARAMETERS
    prompt_fields = ("tools", "messages")
    image_part = "image_url"
    tool_path = ".function"

    def unknown_parameters(self, names: list[str]) -> RequestRefusedError:
        plural = "s" if len(names) > 1 else ""
        return RequestRefusedError(f"Unrecognized request argument{plural} supplied: {', '.join(names)}")

    def check(self, body: dict[str, Any]) -> None:
        messages = [as_dict(message) for message in as_list(body.get("messages"))]
        if not messages:
            text = "Invalid 'messages': expected an array with at least one message."
            raise RequestRefusedError(text, param="messages", code="empty_array")
        if "stream_options" in body and not body.get("stream"):
            text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise RequestRefusedError(text, param="stream_options")
        if not as_list(body.get("tools")):
            _check_no_tools(body)
        for at, message in enumerate(messages):
            _check_message(message, f"messages[{at}]")
        _check_pairs(messages)

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        return as_dict(tool.get("function"))

    def messages(self, body: dict[str, Any]) -> list[Message]:
        return [message for one in as_list(body["messages"]) if (message := _message(as_dict(one)))]

    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
        return {**_head("chat.completion"), "choices": [choice], "usage": _usage(reply)}

    def stream(self, reply: Reply, body: dict[str, Any], *, is_azure: bool) -> tuple[list[bytes], list[bytes]]:
        head = _head("chat.completion.chunk")
        with_usage = bool(as_dict(body.get("stream_options")).get("include_usage"))
        if with_usage:
            head["usage"] = None

        def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return write_event({**head, "choices": [choice]})

        content = [chunk(delta) for delta in _deltas(reply)]
        if is_azure:  # Azure begins with what its content filter found in the prompt
            first: dict[str, Any] = {**head, "id": "", "model": "", "choices": [], "prompt_filter_results": []}
            content.insert(0, write_event(first))
        ending = [chunk({}, _finish_reason(reply))]
        if with_usage:
            ending.append(write_event({**head, "choices": [], "usage": _usage(reply)}))
        return content, [*ending, b"data: [DONE]\n\n"]


def _check_no_tools(body: dict[str, Any]) -> None:
    if body.get("tools") is not None:
        message = "Invalid 'tools': empty array. Expected at least one tool."
        raise RequestRefusedError(message, param="tools", code="empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body:
            raise RequestRefusedError(f"'{name}' is only allowed when 'tools' are specified.", param=name)


def _check_message(message: dict[str, Any], param: str) -> None:
    if message.get("role") not in ROLES:
        text = f"Invalid value: '{message.get('role')}'. Supported values are: {', '.join(ROLES)}."
        raise RequestRefusedError(text, param=f"{param}.role", code="invalid_value")
    calls, content = as_list(message.get("tool_calls")), message.get("content")
    if not isinstance(content, str | list) and not (content is None and calls):
        text = f"Invalid value for 'content': expected a string or an array, got {type(content).__name__}."
        raise RequestRefusedError(text, param=f"{param}.content", code="invalid_type")
    if message["role"] == "user":
        check_parts(message["content"], f"{param}.content", ("text", "image_url"))
    for at, call in enumerate(calls):
        function = as_dict(as_dict(call).get("function"))
        check_name(function.get("name"), f"{param}.tool_calls[{at}].function.name")
        if not isinstance(function.get("arguments"), str) or not isinstance(as_dict(call).get("id"), str):
            raise RequestRefusedError(
                "A tool call needs an id and its arguments as a string.", param=f"{param}.tool_calls[{at}]"
            )


def _check_pairs(messages: Sequence[dict[str, Any]]) -> None:
    """Refuse a tool call without exactly one tool message right after it, and a tool message without its call."""
    awaited: list[str] = []
    for at, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in awaited:
                text = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise RequestRefusedError(text, param=f"messages[{at}].role")
            awaited.remove(message["tool_call_id"])
        elif awaited:
            text = (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each of them. "
                f"The following tool_call_ids did not have response messages: {', '.join(awaited)}"
            )
            raise RequestRefusedError(text, param=f"messages[{at}]")
        else:
            awaited = [as_dict(call)["id"] for call in as_list(message.get("tool_calls"))]
        if len(set(awaited)) < len(awaited):
            raise RequestRefusedError(
                "The ids of a message's tool calls must differ.", param=f"messages[{at}].tool_calls"
            )


def _message(message: dict[str, Any]) -> Message | None:
    text = text_in(message.get("content"))
    match message["role"]:
        case "user":
            return UserMessage(text=text, images=images_in(message.get("content")))
        case "assistant":
            calls = [(call["id"], call["function"]) for call in as_list(message.get("tool_calls"))]
            made = tuple(ToolCall(id=key, name=call["name"], arguments=call["arguments"]) for key, call in calls)
            return AssistantMessage(text=text, tool_calls=made)
        case "tool":
            return ToolMessage(call_id=message["tool_call_id"], text=text)
        case _:
            return None


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if reply.calls and not reply.text else "", "refusal": None}
    yield from ({"content": piece} for piece in word_groups(reply.text))
    for at, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": at, "id": call.id, "type": "function", "function": function}]}
        for piece in argument_pieces(call.arguments):
            yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": MODEL_NAME}


def _finish_reason(reply: Reply) -> str:
    return "content_filter" if reply.is_filtered else "tool_calls" if reply.calls else "stop"


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.usage.input_tokens,
        "completion_tokens": reply.usage.output_tokens,
        "total_tokens": reply.usage.input_tokens + reply.usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
