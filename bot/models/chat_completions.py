"""Chat Completions: what Azure, OpenAI, Ollama, llama.cpp, vLLM and most others speak."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from bot.domain.messages import (
    AssistantMessage,
    Message,
    ModelAnswer,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from bot.models.refusals import StreamRefusalError, content_filter_error
from bot.models.rendering import data_url, render_question, render_schema, valid_name
from bot.ports.model import ModelRequest
from bot.text.cleaning import strip_surrogates

if TYPE_CHECKING:  # the rehearsal model counts tokens with this module and does without the SDK
    from openai import AsyncAPIResponse, AsyncOpenAI


class ChatCompletions:
    """The dialect of `/chat/completions`."""

    def __init__(self, client: AsyncOpenAI, *, model: str, takes_cache_key: bool, reasoning_effort: str | None) -> None:
        self._client = client
        self._model = model
        self._takes_cache_key = takes_cache_key
        self._reasoning_effort = reasoning_effort

    @property
    def concessions(self) -> Mapping[str, Any]:
        """Parameters to drop or replace: see `Dialect`.

        Azure refuses the first two for some models and API versions; gpt-5.4 and later refuse reasoning with tools.
        """
        concessions: dict[str, Any] = {"prompt_cache_key": None, "stream_options": None}
        return concessions if self._reasoning_effort else concessions | {"reasoning_effort": "none"}

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the request's JSON body."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": render_messages(request),
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            body["tools"] = [render_tool(tool) for tool in request.tools]
            if not request.may_call_tools:
                body["tool_choice"] = "none"
        if self._reasoning_effort:
            body["reasoning_effort"] = self._reasoning_effort
        if self._takes_cache_key and request.cache_key:
            body["prompt_cache_key"] = request.cache_key
        return body

    def send(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Send the body through the SDK."""
        # The SDK sends extra_body as it is; arguments it would walk in full (20 ms for a long conversation).
        return self._client.chat.completions.with_streaming_response.create(
            model=self._model, messages=(), stream=True, extra_body=body
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
            return {"role": "tool", "tool_call_id": message.call_id, "content": strip_surrogates(message.text)}
        case AssistantMessage(tool_calls=()):
            return {"role": "assistant", "content": strip_surrogates(message.text)}
        case AssistantMessage():
            calls = [_render_call(call) for call in message.tool_calls]
            return {"role": "assistant", "content": strip_surrogates(message.text) or None, "tool_calls": calls}


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
    """Return the tool in the shape of Chat Completions."""
    function = {"name": tool.name, "description": tool.description, "parameters": render_schema(tool.parameters)}
    return {"type": "function", "function": function}


# --- the answer --------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _CallDraft:
    """The part of a tool call that has arrived."""

    id: str
    name: str = ""
    arguments: str = ""

    @property
    def is_complete(self) -> bool:
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True


class ChatFold:
    """One answer, put together from its chunks."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: list[_CallDraft] = []
        self._at_index: dict[int, _CallDraft] = {}
        self._usage = Usage()
        self._finish_reason = ""

    @property
    def has_begun(self) -> bool:
        """Whether text or a tool call has arrived."""
        return bool(self._text or self._calls)

    @property
    def is_finished(self) -> bool:
        """Whether a finish reason has arrived; without one the answer was cut, even if the stream ended cleanly."""
        return bool(self._finish_reason)

    def add(self, event: dict[str, Any]) -> str:
        """Add a chunk and return its text. A chunk may have no choices: Azure sends one first."""
        if error := event.get("error"):
            raise StreamRefusalError(error)
        if usage := event.get("usage"):
            self._usage = read_usage(usage, names=("prompt_tokens", "completion_tokens"))
        return "".join([self._add_choice(choice) for choice in event.get("choices") or ()])

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        calls = give_unique_ids(
            [ToolCall(id=c.id, name=c.name, arguments=strip_surrogates(c.arguments)) for c in self._calls]
        )
        message = AssistantMessage(text="".join(self._text), tool_calls=tuple(calls))
        return ModelAnswer(message=message, usage=self._usage, is_cut=self._finish_reason == "length")

    def _add_choice(self, choice: dict[str, Any]) -> str:
        delta: dict[str, Any] = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        text = "".join(
            [strip_surrogates(part) for part in (delta.get("content"), delta.get("refusal")) if isinstance(part, str)]
        )
        if text:
            self._text.append(text)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        if self._finish_reason == "content_filter":
            raise content_filter_error()
        return text

    def _add_call(self, delta: dict[str, Any]) -> None:
        function: dict[str, Any] = delta.get("function") or {}
        call_id, name = str(delta.get("id") or ""), str(function.get("name") or "")
        draft = self._draft_of(delta.get("index"), call_id=call_id, name=name)
        draft.id = draft.id or call_id
        draft.name = draft.name or name
        arguments = function.get("arguments") or ""
        draft.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _draft_of(self, index: int | None, *, call_id: str, name: str) -> _CallDraft:
        """Return the call that a delta continues, or a new one.

        Some servers give all calls the same index, or none; some give each delta a new id. So a delta at a known index
        begins a new call only if it has a name, and either another id or, without ids, follows complete arguments.
        """
        last = self._calls[-1] if self._calls else None
        draft = last if index is None else self._at_index.get(index)
        if draft is None or (name and _is_another(draft, call_id)):
            draft = _CallDraft(id=call_id)
            self._calls.append(draft)
        if index is not None:
            self._at_index[index] = draft
        return draft


def _is_another(draft: _CallDraft, call_id: str) -> bool:
    return call_id != draft.id if call_id and draft.id else draft.is_complete


def give_unique_ids(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the calls with a new id for each one that has none, or repeats the id of an earlier call."""
    seen: set[str] = set()
    unique: list[ToolCall] = []
    for call in calls:
        call_id = call.id if call.id and call.id not in seen else f"call_{uuid.uuid4().hex[:24]}"
        seen.add(call_id)
        unique.append(ToolCall(id=call_id, name=call.name, arguments=call.arguments))
    return unique


def read_usage(usage: Mapping[str, Any], *, names: tuple[str, str]) -> Usage:
    """Return the token counts; `names` are the API's field names for input and output."""
    input_name, output_name = names
    details = cast("Mapping[str, Any]", usage.get(f"{input_name}_details") or {})
    return Usage(
        input_tokens=usage.get(input_name) or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        output_tokens=usage.get(output_name) or 0,
    )
