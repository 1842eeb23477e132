"""What goes wrong while a model is asked: as an error that says what happened and what to do, and may be repeated."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

import anyio
import httpx2
import openai

from bot.domain.errors import (
    ModelAccessError,
    ModelContentFilterError,
    ModelContextError,
    ModelError,
    ModelQuotaError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)

_MAX_QUOTE_CHARS = 200
_SECRETS = re.compile(
    r"\b(?:sk|pk|key)-[\w*.-]{6,}|\bBearer\s+\S+|\beyJ[\w-]+\.[\w.-]+|\b[A-Za-z0-9]{32,}\b", re.IGNORECASE
)
# What endpoints say whose model takes no images: OpenAI and Azure; vLLM; llama.cpp, LM Studio and most others;
# OpenRouter; Mistral; DeepSeek and others that know no content but text.
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
# Some say only that a content has to be a string; without images all of them are.
_IMAGE_WORDS = re.compile(
    r"image(?:_url|s)?\b|\bcontent\b.{0,60}\b(?:must|should) be a (?:valid )?string", re.IGNORECASE | re.DOTALL
)
_CONTEXT_WORDS = re.compile(r"context (?:length|size|window)|^request too large", re.IGNORECASE)


class BrokenStreamError(Exception):
    """The stream ended, or stopped making sense, before the answer was whole."""


class RefusedError(Exception):
    """The endpoint refused the request in an event of the stream, after it had answered 200."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code or refusal.message)
        self.refusal = refusal


# What a try may raise, besides our own errors. The stream is read without the SDK, so httpx2's own errors come too.
FAULTS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    ssl.SSLError,
    anyio.EndOfStream,
    TimeoutError,
    BrokenStreamError,
    RefusedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What messages call the model, and which settings they name when the endpoint refuses."""

    model: str
    access_settings: str
    model_settings: str
    secret: str = field(default="", repr=False)  # never to be quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What an endpoint says when it refuses; empty where it does not say."""

    status: int = 0  # 0: in the stream
    code: str = ""
    param: str = ""
    message: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed try: the error it is in the end, and how long to wait before the next try."""

    error: ModelError
    reason: str = ""  # a phrase for the chat; empty: asking again does not help
    wait_s: float = 0.0


def refusal_of(error: Exception) -> Refusal | None:
    """Return what the endpoint said, where it said anything."""
    if isinstance(error, RefusedError):
        return error.refusal
    if isinstance(error, openai.APIStatusError):
        return _read_refusal(error.body, status=error.status_code, retry_after_s=retry_after_s(error.response.headers))
    return None


def refusal_in(payload: object) -> Refusal:
    """Return what the error object of a stream event says."""
    return _read_refusal(payload, status=0, retry_after_s=None)


def fault_of(error: Exception, labels: Labels, *, backoff_s: float) -> Fault:
    """Return what a failed try means; `backoff_s` is waited where the endpoint does not name a time itself."""
    refusal = refusal_of(error)
    if refusal is not None:
        return _refused(refusal, labels, backoff_s=backoff_s)
    if isinstance(error, BrokenStreamError | TimeoutError):
        what = str(error) or "nothing arrived for too long"
        unavailable = ModelUnavailableError(f"The model's answer broke off ({what}). Please ask again.")
        return Fault(error=unavailable, reason="the model's answer broke off", wait_s=backoff_s)
    detail = _quote(str(error.__cause__ or error), labels)
    unavailable = ModelUnavailableError(
        f"The model {labels.model} cannot be reached{detail}. Ask again in a moment; if it stays so, the operator "
        f"checks the network and {labels.access_settings}."
    )
    return Fault(error=unavailable, reason="the model cannot be reached", wait_s=backoff_s)


def image_refusal(refusal: Refusal) -> Literal["all", "these"] | None:
    """Tell whether a request with images was refused because of them: of "all" there could be, or of "these".

    The codes of the latter: https://developers.openai.com/api/reference/resources/responses (`invalid_image_format`,
    `image_too_large`, ...).
    """
    if refusal.code.startswith(("content_filter", "content_policy")) or _is_too_long(refusal):
        return None
    if "image" in refusal.code:
        return "these"
    # llama.cpp answers 500 (https://github.com/ggml-org/llama.cpp/issues/13566), OpenRouter 404
    if refusal.status in (0, 400, 404, 415, 422, 500, 501) and _NO_IMAGES.search(refusal.message):
        return "all"
    is_about_images = refusal.status in (0, 400, 415, 422) and _IMAGE_WORDS.search(refusal.message)
    # A request is too large for a proxy because of its images before anything else.
    return "these" if is_about_images or refusal.status == 413 else None


def content_filter_error() -> ModelContentFilterError:
    """Return the error for an endpoint whose filter stopped the question or the answer."""
    return ModelContentFilterError(
        "The model's content filter stopped this. Please say it in other words; if a tool's result set it off, "
        "/clear starts afresh."
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that the headers ask for, in seconds; None where they name none that makes sense."""
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


def _read_refusal(body: object, *, status: int, retry_after_s: float | None) -> Refusal:
    if not isinstance(body, Mapping):
        text = body if isinstance(body, str) and not body.lstrip().startswith("<") else ""  # no proxy's HTML page
        return Refusal(status=status, message=text, retry_after_s=retry_after_s)
    fields = cast("Mapping[str, Any]", body)
    code = str(fields.get("code") or "")
    if code.isdecimal():  # Azure, vLLM and llama.cpp put the status there
        status, code = status or int(code), ""
    return Refusal(
        status=status,
        code=code or str(fields.get("type") or ""),
        param=str(fields.get("param") or ""),
        message=str(fields.get("message") or fields.get("detail") or ""),  # FastAPI says detail
        retry_after_s=retry_after_s,
    )


def _refused(refusal: Refusal, labels: Labels, *, backoff_s: float) -> Fault:
    final = _final_error(refusal, labels)
    if final is not None:
        return Fault(error=final)
    wait_s = backoff_s if refusal.retry_after_s is None else refusal.retry_after_s
    if refusal.status == 429 or refusal.code.startswith("rate_limit"):
        return Fault(error=ModelRateLimitError(retry_after_s=wait_s), reason="the model is busy", wait_s=wait_s)
    number = f" ({refusal.status})" if refusal.status else ""
    error = ModelUnavailableError(
        f"The model's server failed{number}{_quote(refusal.message, labels)}. Please ask again in a moment."
    )
    return Fault(error=error, reason=f"the model's server failed{number}", wait_s=wait_s)


def _final_error(refusal: Refusal, labels: Labels) -> ModelError | None:
    """Return the error of a refusal that asking again does not change. Codes come first: they say more than numbers."""
    status, code = refusal.status, refusal.code
    if code == "insufficient_quota" or status == 402:
        return ModelQuotaError(
            f"The account behind the model {labels.model} has no quota left. The operator adds credit or raises the "
            f"limit with the provider; until then the model cannot answer."
        )
    if _is_too_long(refusal):
        return ModelContextError(
            f"The conversation is longer than the model {labels.model} takes. Use /clear to start afresh, or ask for "
            f"less at once; the operator may set MODEL_CONTEXT_TOKENS to the model's real size."
        )
    if code.startswith(("content_filter", "content_policy")):
        return content_filter_error()
    if status in (401, 403):
        return ModelAccessError(
            f"The model endpoint does not let the bot in ({status}). The operator checks {labels.access_settings}."
        )
    if status == 404:
        return ModelAccessError(
            f"The endpoint does not know the model or deployment {labels.model} (404). "
            f"The operator checks {labels.model_settings}."
        )
    if status in (408, 409, 429) or status >= 500 or not (status or code.startswith("invalid")):
        return None
    said = _quote(refusal.message or code, labels)
    return ModelRequestError(
        f"The model endpoint does not accept the request ({status or code}){said}. "
        f"Asking again does not help: the operator checks {labels.model_settings}, or /clear starts afresh."
    )


def _is_too_long(refusal: Refusal) -> bool:
    if refusal.code in ("context_length_exceeded", "exceed_context_size_error"):
        return True
    # Local servers have no code for it; OpenAI answers 429 when one request is larger than a whole minute's tokens.
    return refusal.status in (0, 400, 413, 429) and bool(_CONTEXT_WORDS.search(refusal.message))


def _quote(text: str, labels: Labels) -> str:
    """Return `: text` as one short line without secrets, or nothing."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if labels.secret:
        line = line.replace(labels.secret, "[removed]")
    line = _SECRETS.sub("[removed]", line)
    if len(line) > _MAX_QUOTE_CHARS:
        line = line[:_MAX_QUOTE_CHARS] + "…"
    return f": {line.rstrip('.')}" if line else ""
