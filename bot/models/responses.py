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
from bot.models.arguments import read_arguments
from bot.models.chat_completions import Options
from bot.models.chat_fold import give_unique_ids, model_name, read_usage
from bot.models.refusals import StreamRefusalError, content_filter_error
from bot.models.rendering import data_url, render_question, valid_name
from bot.models.thoughts import Said, ThoughtFilter
from bot.ports.model import ModelRequest
from bot.text.cleaning import strip_surrogates
from bot.text.marks import unmarked


class Responses:
    """The dialect of `/responses`."""

    def __init__(self, client: AsyncOpenAI, options: Options) -> None:
        self._client = client
        self._options = options

    @property
    def concessions(self) -> Mapping[str, Mapping[str, Any]]:
        """Models that do not reason may refuse `include`, and some endpoints refuse the cache key."""
        return {"prompt_cache_key": {"prompt_cache_key": None}, "include": {"include": None}}

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """Return the request's JSON body."""
        body: dict[str, Any] = {
            "model": request.model or self._options.model,
            "instructions": strip_surrogates(request.system),
            "input": [item for message in request.messages for item in _render(message)],
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        if request.tools:
            body["tools"] = [_render_tool(tool) for tool in request.tools]
            if not request.may_call_tools:
                body["tool_choice"] = "none"
        if self._options.max_output_tokens:
            body["max_output_tokens"] = self._options.max_output_tokens
        if self._options.reasoning_effort:
            body["reasoning"] = {"effort": self._options.reasoning_effort}
        if self._options.is_openai and request.cache_key:
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
            yield {"type": "function_call_output", "call_id": message.call_id, "output": unmarked(message.text)}
        case AssistantMessage() if items := [item for item in message.replay if "type" in item]:
            yield from map(_as_input, items)
        case AssistantMessage():
            if message.text:
                yield {"role": "assistant", "content": unmarked(message.text)}
            for call in message.tool_calls:
                yield {
                    "type": "function_call",
                    "call_id": call.id,
                    "name": valid_name(call.name),
                    "arguments": strip_surrogates(call.arguments),
                }


def _as_input(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of an answer as it may be sent: what is not stored is not known by its id, and no null is taken.

    https://github.com/vercel/ai/issues/7543, https://github.com/can1357/oh-my-pi/issues/41
    """
    return {name: value for name, value in item.items() if value is not None and name not in ("id", "status")}


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
        "parameters": tool.parameters,
        "strict": False,  # the default here is True, which refuses most schemas that were not written for it
    }


# --- the answer --------------------------------------------------------------------------------------------------


class ResponsesFold:
    """One answer, put together from its events."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._filter = ThoughtFilter()
        self._thoughts: list[str] = []
        self._items: list[dict[str, Any]] = []  # those that are done; the last event repeats them all
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._model = ""
        self._is_cut = False
        self._is_finished = False

    @property
    def has_begun(self) -> bool:
        """Whether text, a thought or a finished item has arrived."""
        return bool(self._text or self._items or self._thoughts)

    @property
    def is_finished(self) -> bool:
        """Whether the endpoint reported the response as completed, or as ended at its limit."""
        return self._is_finished

    def add(self, event: dict[str, Any]) -> Said:
        """Add an event and return its text."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                return self._add_text(event["delta"])
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._thoughts.append(strip_surrogates(event["delta"]))
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
        return Said()

    def end(self, *, was_announced: bool) -> Said:
        """Add the end of the stream; here only an event ends an answer, whatever was announced."""
        return self._say(Said(text=self._filter.end()))

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        ids = iter([call.id for call in self._calls])
        replay = [item | {"call_id": next(ids)} if _is_call(item) else item for item in self._items]
        message = AssistantMessage(
            text="".join(self._text),
            tool_calls=tuple(self._calls),
            replay=tuple(item for item in replay if _may_return(item)),
        )
        thoughts = "".join([*self._thoughts, self._filter.thoughts]).strip()
        return ModelAnswer(
            message=message, usage=self._usage, is_cut=self._is_cut, thoughts=thoughts, model=self._model
        )

    def _add_text(self, delta: str) -> Said:
        return self._say(self._filter.add(strip_surrogates(delta)))

    def _say(self, said: Said) -> Said:
        if said.takes_back:
            self._text.clear()
        if said.text:
            self._text.append(said.text)
        return said

    def _finish(self, response: dict[str, Any]) -> Said:
        details: dict[str, Any] = response.get("incomplete_details") or {}
        reason = details.get("reason")
        if reason == "content_filter":
            raise content_filter_error(is_of_answer=True)
        self._items = response.get("output") or self._items
        self._calls = give_unique_ids([_read_call(item) for item in self._items if _is_call(item)])
        self._is_cut = reason is not None or any(item.get("status") == "incomplete" for item in self._items)
        self._model = model_name(response.get("model"))
        self._usage = read_usage(response.get("usage") or {}, names=("input_tokens", "output_tokens"))
        said = Said() if self._text else self._add_text("\n\n".join(_texts(self._items)))  # gateways without deltas
        self._is_finished = True
        return said


def _is_call(item: Mapping[str, Any]) -> bool:
    return item["type"] == "function_call"


def _read_call(item: Mapping[str, Any]) -> ToolCall:
    arguments = strip_surrogates(read_arguments(item.get("arguments") or ""))
    return ToolCall(id=item.get("call_id") or "", name=item["name"], arguments=arguments)


def _may_return(item: Mapping[str, Any]) -> bool:
    # The next request fails with "not found" for reasoning that the endpoint neither stored nor encrypted.
    return item["type"] != "reasoning" or bool(item.get("encrypted_content"))


def _texts(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        if item["type"] == "message":
            parts: list[dict[str, Any]] = item.get("content") or []
            yield "".join(part.get("text") or part.get("refusal") or "" for part in parts)
