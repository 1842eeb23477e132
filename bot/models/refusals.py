"""What an endpoint says when it refuses a request, read into one shape."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

from bot.domain.errors import ModelContentFilterError

# How endpoints whose model takes no images put it: OpenAI and Azure; vLLM; llama.cpp, LM Studio and most others;
# OpenRouter; Mistral; DeepSeek and others that accept only text content.
_NO_IMAGES = re.compile(
    r"(?:image_url|input_image) is only supported by certain models"
    r"|not a multi-?modal model|at most 0 image"
    r"|\b(?:images?|vision|multi-?modal)\b[^.]{0,40}\b(?:not|isn't|aren't) (?:supported|enabled|available|allowed)"
    r"|\b(?:not|doesn't|cannot|can't) (?:support|accept|take|handle|process)\b[^.]{0,20}"
    r"\b(?:images?|vision|multi-?modal)\b"
    r"|no endpoints found that support image|missing data required for image input"
    r"|unknown variant .?(?:image_url|input_image)|invalid value: .(?:image_url|input_image)",
    re.IGNORECASE,
)
# Some endpoints only say that the content has to be a string; without images it always is.
_IMAGE_WORDS = re.compile(
    r"image(?:_url|s)?\b|\bcontent\b.{0,60}\b(?:must|should) be a (?:valid )?string", re.IGNORECASE | re.DOTALL
)
_CONTEXT_WORDS = re.compile(r"context (?:length|size|window)|^request too large", re.IGNORECASE)

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
        return self.code.startswith(("content_filter", "content_policy"))

    @property
    def is_too_long(self) -> bool:
        """Whether the request has more tokens than the model takes."""
        if self.code in ("context_length_exceeded", "exceed_context_size_error"):
            return True
        # Local servers have no code for it; OpenAI answers 429 if one request exceeds a whole minute's tokens.
        return self.status in (0, 400, 413, 429) and bool(_CONTEXT_WORDS.search(self.message))


class StreamRefusalError(Exception):
    """The endpoint refused the request in an event of the stream, after it had answered 200."""

    def __init__(self, payload: object) -> None:
        self.refusal = read_refusal(payload)
        super().__init__(self.refusal.code or self.refusal.message)


def read_refusal(body: object, *, status: int = 0, retry_after_s: float | None = None) -> Refusal:
    """Return what the error object of a response or of a stream event says."""
    if not isinstance(body, Mapping):
        text = body if isinstance(body, str) and not body.lstrip().startswith("<") else ""  # not a proxy's HTML page
        return Refusal(status=status, message=text, retry_after_s=retry_after_s)
    fields = cast("Mapping[str, Any]", body)
    code = str(fields.get("code") or "")
    if code.isdecimal():  # Azure, vLLM and llama.cpp repeat the HTTP status in `code`
        status, code = status or int(code), ""
    message = str(fields.get("message") or fields.get("detail") or "")  # FastAPI uses `detail`
    n_ctx = fields.get("n_ctx")  # llama.cpp: https://github.com/ggml-org/llama.cpp/pull/15780
    return Refusal(
        status=status,
        code=code or str(fields.get("type") or ""),
        param=str(fields.get("param") or ""),
        message=message,
        retry_after_s=retry_after_s,
        context_tokens=n_ctx if type(n_ctx) is int and n_ctx > 0 else context_tokens(message),
    )


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
    if refusal.status in (0, 400, 404, 415, 422, 500, 501) and _NO_IMAGES.search(refusal.message):
        return "all"
    mentions_images = refusal.status in (0, 400, 415, 422) and _IMAGE_WORDS.search(refusal.message)
    # If a proxy finds a request too large, its images are the likeliest cause.
    return "these" if mentions_images or refusal.status == 413 else None


def content_filter_error() -> ModelContentFilterError:
    """Return the error for an endpoint whose filter stopped the question or the answer."""
    return ModelContentFilterError(
        "The model's content filter stopped this. Please rephrase it; if a tool's result triggered the filter, "
        "use /clear to start a new conversation."
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that the headers ask for, in seconds; None if they ask for none, or not in a valid form."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            seconds = _seconds_until(value)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _seconds_until(http_date: str) -> float:
    try:
        at = parsedate_to_datetime(http_date)
    except ValueError:
        return math.nan
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
