"""What an endpoint says when it refuses a request, read into one shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from bot.domain.errors import ModelContentFilterError
from bot.models import wordings
from bot.models.pauses import pause_s

_MAX_DEPTH = 4
_MAX_MESSAGE_CHARS = 5_000
_REQUEST_FAULTS = (0, 400, 413, 422, 429, 500)  # statuses under which gateways say what is wrong with a request
_BIGGEST_CODE = 10**9
_NOT_A_CODE = frozenset({"none", "null", "error"})

_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d{3,9})\b"
# How endpoints name the size of the context: OpenAI, Azure, vLLM and OpenRouter ("maximum context length is N"), xAI
# ("maximum prompt length is N"), llama.cpp ("available context size (N tokens)"), llama-cpp-python ("context window of
# N"); Mistral ("model with N maximum context length"); Anthropic ("A tokens > N maximum"); Gemini ("maximum number of
# tokens allowed (N)"); TGI ("must be <= N"). OpenAI also refuses one request with more tokens than a
# whole minute may have ("Limit N").
_CONTEXT_SIZES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:context|prompt|input|model) (?:length|size|window)(?: limit)?(?: is| of|:)?(?: only)? ?\(?{_NUMBER}",
        rf"{_NUMBER}(?: tokens?)? maximum\b",
        rf"maximum number of (?:input )?tokens(?: allowed)?(?: is|:)? ?\(?{_NUMBER}",
        rf"tokens?\b.{{0,40}}\bmust be <=? ?{_NUMBER}",
        rf"tokens per min\b.{{0,20}}\blimit:? ?{_NUMBER}",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An endpoint's reasons for a refusal; a field is empty where the endpoint does not give it."""

    status: int = 0  # 0: it came in the stream
    code: str = ""
    param: str = ""
    message: str = ""
    retry_after_s: float | None = None
    context_tokens: int | None = None  # how many the model takes, where a request had more

    @property
    def is_filtered(self) -> bool:
        """Whether the content filter refused the request."""
        if self.code.startswith(("content_filter", "content_policy", "data_inspection", "ResponsibleAI")):
            return True
        return self.status in _REQUEST_FAULTS and not self.is_busy and bool(wordings.FILTERED.search(self.message))

    @property
    def is_too_long(self) -> bool:
        """Whether the request has more tokens than the model takes."""
        if self.code in ("context_length_exceeded", "exceed_context_size_error"):
            return True
        # Local servers have no code for it; OpenAI answers 429 if one request exceeds a whole minute's tokens.
        return self.status in _REQUEST_FAULTS and bool(wordings.TOO_LONG.search(self.message))

    @property
    def is_out_of_quota(self) -> bool:
        """Whether the account cannot pay; Gemini words its limits per minute alike, but asks for a pause."""
        if self.code == "insufficient_quota" or self.status == 402:
            return True
        is_named = wordings.NO_QUOTA.search(f"{self.code} {self.message}") is not None
        return is_named and self.retry_after_s is None and self.status in (0, 400, 403, 429)

    @property
    def is_busy(self) -> bool:
        """Whether the endpoint limits how often, or how much, it is asked."""
        if self.status == 429 or self.code.startswith("rate_limit"):
            return True
        return self.status in (0, 400, 500, 503, 529) and bool(wordings.BUSY.search(f"{self.code} {self.message}"))

    @property
    def knows_no_tools(self) -> bool:
        """Whether the model, or its server as it was started, takes no tools at all."""
        return self.status in (0, 400, 404, 422, 500, 501) and bool(wordings.NO_TOOLS.search(self.message))

    @property
    def is_about_replay(self) -> bool:
        """Whether what an earlier answer left to be sent back is refused."""
        if self.code == "invalid_encrypted_content":
            return True
        named = f"{self.param} {self.message}"
        return self.status in (0, 400, 404, 422) and bool(wordings.REPLAY.search(named))


class StreamRefusalError(Exception):
    """The endpoint refused the request in an event of the stream, after it had answered 200."""

    def __init__(self, payload: object) -> None:
        self.refusal = read_refusal(payload)
        super().__init__(self.refusal.code or self.refusal.message)


class _Said(NamedTuple):
    status: int = 0
    code: str = ""
    param: str = ""
    message: str = ""


def read_refusal(body: object, *, status: int = 0, headers: Mapping[str, str] | None = None) -> Refusal:
    """Return what the error object of a response or of a stream event says, whatever its shape."""
    said = _read(body, depth=0)
    message = said.message[:_MAX_MESSAGE_CHARS]
    return Refusal(
        status=status or said.status,
        code="" if said.code.lower() in _NOT_A_CODE else said.code,
        param=said.param,
        message=message,
        retry_after_s=pause_s(headers or {}, body, message),
        context_tokens=_llama_context(body) or context_tokens(message),
    )


def _read(body: object, *, depth: int) -> _Said:
    """Return what an error says itself, and where it says nothing, what the errors within it say."""
    if isinstance(body, str):
        return _Said(message="" if body.lstrip().startswith("<") else body)  # not a proxy's HTML page
    if depth > _MAX_DEPTH:
        return _Said()
    if isinstance(body, list):  # Gemini wraps its error in a list, FastAPI has one for each fault
        items = [_read(one, depth=depth + 1) for one in cast("list[object]", body)[:5]]
        first = _first_of(items)
        return first._replace(message="; ".join(item.message for item in items if item.message))
    if not isinstance(body, Mapping):
        return _Said()
    fields = cast("Mapping[str, Any]", body)
    codes = [str(fields[name]) for name in ("code", "__type", "type", "status") if _is_plain(fields.get(name))]
    own = _Said(
        # Azure, vLLM, llama.cpp and LiteLLM repeat the HTTP status in `code`
        status=next((int(code) for code in codes if code.isdecimal() and len(code) == 3), 0),
        code=next((code for code in codes if code and not code.isdecimal()), ""),
        param=_first_text(fields, "param") or _place(fields.get("loc")),
        message=_first_text(fields, "message", "Message", "msg", "title"),
    )
    return _first_of([own, *(_read(fields.get(name), depth=depth + 1) for name in ("error", "detail", "errors"))])


def _first_of(said: Sequence[_Said]) -> _Said:
    """Return for each field the first value that is one."""
    return _Said(
        status=next((one.status for one in said if one.status), 0),
        code=next((one.code for one in said if one.code), ""),
        param=next((one.param for one in said if one.param), ""),
        message=next((one.message for one in said if one.message), ""),
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < _BIGGEST_CODE)


def _first_text(fields: Mapping[str, Any], *names: str) -> str:
    texts = (fields.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _place(loc: object) -> str:
    """Return FastAPI's place of a fault, as `tools.3.function`; it begins with `body`."""
    steps = [str(step) for step in cast("list[object]", loc) if _is_plain(step)] if isinstance(loc, list) else []
    return ".".join(steps[1:] if steps[:1] == ["body"] else steps)


def _llama_context(body: object) -> int | None:
    """Return the size of the context that llama.cpp names: https://github.com/ggml-org/llama.cpp/pull/15780"""
    if not isinstance(body, Mapping):
        return None
    fields = cast("Mapping[str, object]", body)
    size = fields.get("n_ctx")
    return size if type(size) is int and size > 0 else _llama_context(fields.get("error"))


def context_tokens(message: str) -> int | None:
    """Return how many tokens the model takes, where a refusal for too many names the number."""
    for pattern in _CONTEXT_SIZES:
        if found := pattern.search(message):
            return int(found[1].replace(",", ""))
    return None


def image_refusal(refusal: Refusal) -> Literal["all", "these"] | None:
    """Return whether the endpoint refused "all" images, or only "these"; None if images were not the reason.

    The codes for the latter: https://developers.openai.com/api/reference/resources/responses (`invalid_image_format`,
    `image_too_large`, ...).
    """
    if refusal.is_filtered or refusal.is_too_long:
        return None
    if "image" in refusal.code:
        return "these"
    # llama.cpp answers 500 (https://github.com/ggml-org/llama.cpp/issues/13566), OpenRouter 404
    if refusal.status in (0, 400, 404, 415, 422, 500, 501) and wordings.NO_IMAGES.search(refusal.message):
        return "all"
    mentions_images = refusal.status in (0, 400, 415, 422) and wordings.IMAGE_WORDS.search(refusal.message)
    # If a proxy finds a request too large, its images are the likeliest cause.
    return "these" if mentions_images or refusal.status == 413 else None


def content_filter_error(*, is_of_answer: bool = False) -> ModelContentFilterError:
    """Return the error for an endpoint whose filter stopped the question, or the answer to it."""
    return ModelContentFilterError(
        "The model's content filter stopped this answer. Please ask in another way."
        if is_of_answer
        else "The model's content filter refused this. Please rephrase it: what was refused stays readable here, and "
        "is not given to the model again.",
        is_of_answer=is_of_answer,
    )
