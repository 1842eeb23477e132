"""Chat Completions: what Azure, OpenAI, Ollama, llama.cpp, vLLM and most others speak."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.domain.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from bot.models import opaque
from bot.models.chat_fold import ChatFold
from bot.models.rendering import data_url, render_question, valid_name
from bot.ports.model import ModelRequest
from bot.text.cleaning import strip_surrogates
from bot.text.marks import unmarked

if TYPE_CHECKING:  # the rehearsal model counts tokens with this module and does without the SDK
    from openai import AsyncAPIResponse, AsyncOpenAI


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every request of a dialect says beside the conversation."""

    model: str
    is_openai: bool  # OpenAI itself or Azure: they know prompt cache keys, and the newer name of the output limit
    reasoning_effort: str | None = None
    max_output_tokens: int | None = None


class ChatCompletions:
    """The dialect of `/chat/completions`."""

    def __init__(self, client: AsyncOpenAI, options: Options) -> None:
        self._client = client
        self._options = options
        self._limit_name = "max_completion_tokens" if options.is_openai else "max_tokens"

    @property
    def concessions(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameters to drop or replace: see `Dialect`.

        Azure refuses the first two for some models and API versions; gpt-5.4 and later refuse reasoning with tools.
        Endpoints know the output limit by one of two names.
        """
        concessions: dict[str, Mapping[str, Any]] = {
            "prompt_cache_key": {"prompt_cache_key": None},
            "stream_options": {"stream_options": None},
        }
        if not self._options.reasoning_effort:
            concessions["reasoning_effort"] = {"reasoning_effort": "none"}
        if limit := self._options.max_output_tokens:
            other = "max_tokens" if self._options.is_openai else "max_completion_tokens"
            concessions[self._limit_name] = {self._limit_name: None, other: limit}
        return concessions

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the request's JSON body."""
        body: dict[str, Any] = {
            "model": request.model or self._options.model,
            "messages": render_messages(request),
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            body["tools"] = [render_tool(tool) for tool in request.tools]
            if not request.may_call_tools:
                body["tool_choice"] = "none"
        if self._options.max_output_tokens:
            body[self._limit_name] = self._options.max_output_tokens
        if self._options.reasoning_effort:
            body["reasoning_effort"] = self._options.reasoning_effort
        if self._options.is_openai and request.cache_key:
            body["prompt_cache_key"] = request.cache_key
        return body

    def send(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Send the body through the SDK."""
        # The SDK sends extra_body as it is; arguments it would walk in full (20 ms for a long conversation).
        return self._client.chat.completions.with_streaming_response.create(
            model=str(body["model"]), messages=(), stream=True, extra_body=body
        )

    def fold(self) -> ChatFold:
        """Return an empty fold."""
        return ChatFold()


def render_messages(request: ModelRequest) -> list[dict[str, Any]]:
    """Return the messages in the shape of Chat Completions, the system prompt first."""
    system = [{"role": "system", "content": strip_surrogates(request.system)}] if request.system else []
    return [*system, *(_render(message) for message in request.messages)]


def _render_parts(message: UserMessage) -> Iterator[dict[str, Any]]:
    if text := render_question(message):
        yield {"type": "text", "text": text}
    for image in message.images:
        yield {"type": "image_url", "image_url": {"url": data_url(image)}}


def _render(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage(images=()):
            return {"role": "user", "content": render_question(message)}
        case UserMessage():
            return {"role": "user", "content": list(_render_parts(message))}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.call_id, "content": unmarked(message.text)}
        case AssistantMessage(tool_calls=()):
            return {"role": "assistant", "content": unmarked(message.text)}
        case AssistantMessage():
            return _render_with_calls(message)


def _render_with_calls(message: AssistantMessage) -> dict[str, Any]:
    """Return the message with its calls, and with the opaque fields that came with them."""
    kept = next((item for item in message.replay if "type" not in item), dict[str, Any]())
    of_calls: dict[str, Any] = kept.get("calls", {})
    calls = [opaque.merge(_render_call(call), of_calls.get(call.id, {})) for call in message.tool_calls]
    own = {"role": "assistant", "content": unmarked(message.text) or None, "tool_calls": calls}
    return {**kept.get("message", {}), **own}


def _render_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": valid_name(call.name), "arguments": _valid_arguments(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _valid_arguments(arguments: str) -> str:
    """Return the arguments as a JSON object: llama.cpp and vLLM parse them, and fail on anything else."""
    try:
        is_object = isinstance(json.loads(arguments or "null"), dict)
    except (ValueError, RecursionError):
        is_object = False
    if is_object:
        return strip_surrogates(arguments)
    return json.dumps({"malformed_arguments": arguments}) if arguments.strip() else "{}"


def render_tool(tool: ToolSpec) -> dict[str, Any]:
    """Return the fitted tool in the shape of Chat Completions."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
