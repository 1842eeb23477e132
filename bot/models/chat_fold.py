"""One answer of Chat Completions, put together from its chunks, in all the ways in which servers send them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, Usage
from bot.models import opaque
from bot.models.arguments import is_whole_object, read_arguments
from bot.models.refusals import StreamRefusalError, content_filter_error
from bot.models.thoughts import Said, ThoughtFilter
from bot.text.cleaning import strip_surrogates

# Besides OpenAI's own: Mistral, Gemini's native names behind gateways.
_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
# Gemini's compatible endpoint and gateways in front of it
_FILTERED = ("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii")
# DeepSeek (insufficient_system_resource), OpenRouter (error), vLLM and SGLang (abort), Gemini (a call that it could not
# read): the answer is no answer.
_FAILED = ("error", "insufficient_system_resource", "abort", "function_call_filter", "malformed_function_call")
_MAX_TOKENS = 1_000_000_000  # of one answer
_MAX_NAME_CHARS = 200
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")


@dataclass(slots=True, kw_only=True)
class _CallDraft:
    """The part of a tool call that has arrived."""

    id: str
    name: str = ""
    arguments: str = ""
    opaque: dict[str, Any] = field(default_factory=dict[str, Any])


class ChatFold:
    """One answer, put together from its chunks."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._filter = ThoughtFilter()
        self._thoughts: list[str] = []
        self._calls: list[_CallDraft] = []
        self._at_index: dict[int, _CallDraft] = {}
        self._opaque: dict[str, Any] = {}
        self._usage = Usage()
        self._model = ""
        self._finish_reason = ""

    @property
    def has_begun(self) -> bool:
        """Whether text, a thought or a tool call has arrived."""
        return bool(self._text or self._calls or self._thoughts)

    @property
    def is_finished(self) -> bool:
        """Whether a finish reason has arrived; without one the answer was cut, even if the stream ended cleanly."""
        return bool(self._finish_reason)

    def add(self, event: dict[str, Any]) -> Said:
        """Add a chunk and return its text. A chunk may have no choices: Azure sends one first."""
        if error := event.get("error"):
            raise StreamRefusalError(error)
        self._model = self._model or model_name(event.get("model"))
        if usage := event.get("usage"):
            self._usage = read_usage(usage, names=("prompt_tokens", "completion_tokens"))
        said = [self._add_choice(choice) for choice in event.get("choices") or ()]
        return said[0] if len(said) == 1 else _joined(said)

    def end(self, *, was_announced: bool) -> Said:
        """Add the end of the stream; `was_announced`: by `[DONE]`, which some servers send without a finish reason."""
        is_whole = all(is_whole_object(read_arguments(call.arguments)) for call in self._calls)
        if was_announced and not self._finish_reason and is_whole and (self._text or self._calls):
            self._finish_reason = "stop"
        return self._say(Said(text=self._filter.end()))

    def answer(self) -> ModelAnswer:
        """Return the complete answer."""
        drafts = [ToolCall(id=c.id, name=c.name, arguments=_arguments(c)) for c in self._calls]
        calls = give_unique_ids(drafts)
        message = AssistantMessage(
            text="".join(self._text), tool_calls=tuple(calls), replay=tuple(self._replay(calls)) if calls else ()
        )
        return ModelAnswer(
            message=message,
            usage=self._usage,
            is_cut=self._finish_reason in _CUT,
            thoughts="".join([*self._thoughts, self._filter.thoughts]).strip(),
            model=self._model,
        )

    def _replay(self, calls: Sequence[ToolCall]) -> Iterator[dict[str, Any]]:
        of_calls = {call.id: draft.opaque for call, draft in zip(calls, self._calls, strict=True) if draft.opaque}
        parts = {"message": self._opaque, "calls": of_calls}
        if kept := {name: part for name, part in parts.items() if part}:
            yield kept

    def _add_choice(self, choice: dict[str, Any]) -> Said:
        delta: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
        content = delta.get("content")
        if len(delta) == 1 and isinstance(content, str):  # nearly all pieces: there are thousands
            said = self._say(self._filter.add(strip_surrogates(content)))
        else:
            said = self._add_delta(delta)
        if reason := choice.get("finish_reason"):
            self._finish(str(reason), choice)
        return said

    def _add_delta(self, delta: dict[str, Any]) -> Said:
        self._opaque = opaque.merge(self._opaque, opaque.of_message(delta))
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        self._thoughts.extend(_thoughts(delta))
        parts = [strip_surrogates(part) for part in (*_texts(delta.get("content")), *_texts(delta.get("refusal")))]
        return self._say(self._filter.add("".join(parts)))

    def _say(self, said: Said) -> Said:
        if said.takes_back:
            self._text.clear()
        if said.text:
            self._text.append(said.text)
        return said

    def _finish(self, reason: str, choice: Mapping[str, Any]) -> None:
        read = reason.lower()
        if read.startswith(_FILTERED):
            raise content_filter_error(is_of_answer=True)
        if read.startswith(_FAILED):
            said = {"message": f"it ended the answer with `{reason}`", "type": read}
            raise StreamRefusalError(choice.get("error") or said)
        self._finish_reason = read

    def _add_call(self, delta: dict[str, Any]) -> None:
        function: dict[str, Any] = delta.get("function") or {}
        call_id, name = str(delta.get("id") or ""), str(function.get("name") or "")
        given = function.get("arguments")
        arguments = given if isinstance(given, str) else "" if given is None else json.dumps(given)
        draft = self._draft_of(delta.get("index"), call_id=call_id, name=name, arguments=arguments)
        draft.id = draft.id or call_id
        draft.name = draft.name or name
        draft.arguments += arguments
        draft.opaque = opaque.merge(draft.opaque, opaque.of_call(delta))

    def _draft_of(self, index: int | None, *, call_id: str, name: str, arguments: str) -> _CallDraft:
        """Return the call that a delta continues, or a new one.

        Some servers give all calls the same index, or none; some give each delta a new id. So a delta at a known index
        begins a new call only if it has a name, and either another id or, after complete arguments, other ones.
        """
        last = self._calls[-1] if self._calls else None
        draft = last if index is None else self._at_index.get(index)
        if draft is None or (name and _is_another(draft, call_id=call_id, arguments=arguments)):
            draft = _CallDraft(id=call_id)
            self._calls.append(draft)
        if index is not None:
            self._at_index[index] = draft
        return draft


def _is_another(draft: _CallDraft, *, call_id: str, arguments: str) -> bool:
    if call_id and draft.id and call_id != draft.id:
        return True
    has_both = is_whole_object(draft.arguments) and is_whole_object(arguments)
    if call_id and draft.id:
        return has_both and json.loads(draft.arguments) != json.loads(arguments)
    return is_whole_object(draft.arguments)


def _arguments(draft: _CallDraft) -> str:
    return strip_surrogates(read_arguments(draft.arguments))


def _joined(said: Sequence[Said]) -> Said:
    return Said(text="".join(one.text for one in said), takes_back=any(one.takes_back for one in said))


def _texts(content: object) -> Iterator[str]:
    """Yield the texts of a content, which is a string or a list of parts; thoughts among them are none."""
    for part in cast("list[object]", content) if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            if fields.get("type") in (None, "text", "output_text") and isinstance(text := fields.get("text"), str):
                yield text


def _thoughts(delta: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the model thinks: in a field of its own, or (Mistral) in parts of the content."""
    yield from next(([text] for name in _THOUGHT_FIELDS if isinstance(text := delta.get(name), str) and text), ())
    content = delta.get("content")
    for part in cast("list[object]", content) if isinstance(content, list) else ():
        if isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            if fields.get("type") in ("thinking", "reasoning"):
                yield from _texts(fields.get("thinking") or fields.get("text"))


def give_unique_ids(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the calls with a new id for each one that has none, or repeats the id of an earlier call."""
    seen: set[str] = set()
    unique: list[ToolCall] = []
    for call in calls:
        call_id = call.id if call.id and call.id not in seen else f"call_{uuid.uuid4().hex[:24]}"
        seen.add(call_id)
        unique.append(replace(call, id=call_id))
    return unique


def read_usage(usage: Mapping[str, Any], *, names: tuple[str, str]) -> Usage:
    """Return the token counts; `names` are the API's field names for input and output."""
    input_name, output_name = names
    details = cast("Mapping[str, Any]", usage.get(f"{input_name}_details") or {})
    given = _tokens(usage.get(input_name))
    return Usage(
        input_tokens=given,
        cached_tokens=min(_tokens(details.get("cached_tokens")), given),
        output_tokens=_tokens(usage.get(output_name)),
    )


def model_name(value: object) -> str:
    """Return the model's name as an endpoint gives it, "" for anything else."""
    return value[:_MAX_NAME_CHARS] if isinstance(value, str) else ""


def _tokens(value: object) -> int:
    """Return a number of tokens; anything else counts as 0, so that it lowers no sum."""
    return min(value, _MAX_TOKENS) if isinstance(value, int) and value > 0 else 0
