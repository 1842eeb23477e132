"""The Responses API, for reasoning models with tools. The endpoint stores nothing; it returns reasoning encrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from openai import AsyncAPIResponse, AsyncOpenAI

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
from bot.models.chat_completions import give_unique_ids, read_usage
from bot.models.refusals import StreamRefusalError, content_filter_error
from bot.models.rendering import data_url, render_question, render_schema, valid_name
from bot.ports.model import ModelRequest
from bot.text.cleaning import strip_surrogates


class Responses:
    """The dialect of `/responses`."""

    def __init__(self, client: AsyncOpenAI, *, model: str, takes_cache_key: bool, reasoning_effort: str | None) -> None:
        self._client = client
        self._model = model
        self._takes_cache_key = takes_cache_key
        self._reasoning_effort = reasoning_effort

    @property
    def concessions(self) -> Mapping[str, Any]:
        """Models that do not reason may refuse `include`, and some endpoints refuse the cache key."""
        return {"prompt_cache_key": None, "include": None}

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the request's JSON body."""
        body: dict[str, Any] = {
            "model": self._model,
            "instructions": strip_surrogates(request.system),
            "input": [item for message in request.messages for item in _render(message)],
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        if request.tools:
            body["tools"] = [_render_tool(tool) for tool in request.tools]
            if not request.may_call_tools:
                body["tool_choice"] = "none"
        if self._reasoning_effort:
            body["reasoning"] = {"effort": self._reasoning_effort}
        if self._takes_cache_key and request.cache_key:
            body["prompt_cache_key"] = request.cache_key
        return body

    def send(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        """Send the body through the SDK."""
        # The SDK sends extra_body as it is; arguments it would walk in full (30 ms for a long conversation).
        return self._client.responses.with_streaming_response.create(stream=True, extra_body=body)

    def fold(self) -> ResponsesFold:
        """Return an empty fold."""
        return ResponsesFold()


def _render(message: Message) -> Iterator[dict[str, Any]]:
    match message:
        case UserMessage(images=()):
            yield {"role": "user", "content": render_question(message)}
        case UserMessage():
            yield {"role": "user", "content": list(_render_parts(message))}
        case ToolMessage():
            yield {"type": "function_call_output", "call_id": message.call_id, "output": strip_surrogates(message.text)}
        case AssistantMessage(replay=()):
            if message.text:
                yield {"role": "assistant", "content": strip_surrogates(message.text)}
            for call in message.tool_calls:
                yield {
                    "type": "function_call",
                    "call_id": call.id,
                    "name": valid_name(call.name),
                    "arguments": strip_surrogates(call.arguments),
                }
        case AssistantMessage():
            yield from message.replay


def _render_parts(message: UserMessage) -> Iterator[dict[str, Any]]:
    if text := render_question(message):
        yield {"type": "input_text", "text": text}
    for image in message.images:
        yield {"type": "input_image", "image_url": data_url(image), "detail": "auto"}


def _render_tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": render_schema(tool.parameters),
        "strict": False,  # the default here is True, which refuses most schemas that were not written for it
    }


# --- the answer --------------------------------------------------------------------------------------------------


class ResponsesFold:
    """One answer, put together from its events."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._items: list[dict[str, Any]] = []  # those that are done; the last event repeats them all
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._is_cut = False
        self._is_finished = False

    @property
    def has_begun(self) -> bool:
        """Whether text or a finished item has arrived."""
        return bool(self._text or self._items)

    @property
    def is_finished(self) -> bool:
        """Whether the endpoint reported the response as completed, or as ended at its limit."""
        return self._is_finished

    def add(self, event: dict[str, Any]) -> str:
        """Add an event and return its text."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                return self._add_text(event["delta"])
            case "response.output_item.added" if event["item"]["type"] == "message" and self._text:
                return self._add_text("\n\n")
            case "response.output_item.done":
                self._items.append(event["item"])
            case "response.completed" | "response.incomplete":
                return self._finish(event["response"])
            case "response.failed":
                raise StreamRefusalError(event["response"].get("error"))
            case "error":
                raise StreamRefusalError(event.get("error") or event)
            case None if error := event.get("error"):
                raise StreamRefusalError(error)
            case _:
                pass
        return ""

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        ids = iter([call.id for call in self._calls])
        replay = [item | {"call_id": next(ids)} if _is_call(item) else item for item in self._items]
        message = AssistantMessage(
            text="".join(self._text),
            tool_calls=tuple(self._calls),
            replay=tuple(item for item in replay if _may_return(item)),
        )
        return ModelAnswer(message=message, usage=self._usage, is_cut=self._is_cut)

    def _add_text(self, delta: str) -> str:
        text = strip_surrogates(delta)
        if text:
            self._text.append(text)
        return text

    def _finish(self, response: dict[str, Any]) -> str:
        details: dict[str, Any] = response.get("incomplete_details") or {}
        reason = details.get("reason")
        if reason == "content_filter":
            raise content_filter_error()
        self._is_cut = reason == "max_output_tokens"
        self._items = response.get("output") or self._items
        self._calls = give_unique_ids([_read_call(item) for item in self._items if _is_call(item)])
        self._usage = read_usage(response.get("usage") or {}, names=("input_tokens", "output_tokens"))
        text = "" if self._text else self._add_text("\n\n".join(_texts(self._items)))  # some gateways send no deltas
        self._is_finished = True
        return text


def _is_call(item: Mapping[str, Any]) -> bool:
    return item["type"] == "function_call"


def _read_call(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        id=item.get("call_id") or "", name=item["name"], arguments=strip_surrogates(item.get("arguments") or "")
    )


def _may_return(item: Mapping[str, Any]) -> bool:
    # The next request fails with "not found" for reasoning that the endpoint neither stored nor encrypted.
    return item["type"] != "reasoning" or bool(item.get("encrypted_content"))


def _texts(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        if item["type"] == "message":
            parts: list[dict[str, Any]] = item.get("content") or []
            yield "".join(part.get("text") or part.get("refusal") or "" for part in parts)
