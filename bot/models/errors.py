"""What can go wrong while a model answers: each fault as an error for the user, and whether to try again."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field

import anyio
import httpx2
import openai

from bot.domain.errors import (
    ModelAccessError,
    ModelContextError,
    ModelError,
    ModelQuotaError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)
from bot.models.refusals import (
    Refusal,
    StreamRefusalError,
    content_filter_error,
    read_refusal,
    retry_after_s,
)

_MAX_QUOTE_CHARS = 200
_SECRETS = re.compile(
    r"\b(?:sk|pk|key)-[\w*.-]{6,}|\bBearer\s+\S+|\beyJ[\w-]+\.[\w.-]+|\b[A-Za-z0-9]{32,}\b", re.IGNORECASE
)


class BrokenStreamError(Exception):
    """The stream ended, or could no longer be understood, before the answer was complete."""


# What an attempt may raise, besides our own errors. httpx2 reads the stream without the SDK, so its errors come too.
FAULTS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    ssl.SSLError,
    anyio.EndOfStream,
    TimeoutError,
    BrokenStreamError,
    StreamRefusalError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """How messages name the model, and the settings to check when the endpoint refuses."""

    model: str
    access_settings: str
    model_settings: str
    secret: str = field(default="", repr=False)  # never quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed attempt: the error to raise if it is the last one, and how long to wait before the next."""

    error: ModelError
    reason: str = ""  # a phrase for the chat; empty: trying again does not help
    wait_s: float = 0.0


def refusal_of(error: Exception) -> Refusal | None:
    """Return the endpoint's refusal; None if the error is not one."""
    if isinstance(error, StreamRefusalError):
        return error.refusal
    if isinstance(error, openai.APIStatusError):
        pause_s = retry_after_s(error.response.headers)
        return read_refusal(error.body, status=error.status_code, retry_after_s=pause_s)
    return None


def fault_of(error: Exception, labels: Labels, *, backoff_s: float) -> Fault:
    """Return what a failed attempt means; `backoff_s` is the wait if the endpoint does not ask for one itself."""
    refusal = refusal_of(error)
    if refusal is not None:
        return _refused(refusal, labels, backoff_s=backoff_s)
    if isinstance(error, BrokenStreamError | TimeoutError):
        what = str(error) or "nothing arrived for too long"
        unavailable = ModelUnavailableError(f"The model's answer broke off ({what}). Please ask again.")
        return Fault(error=unavailable, reason="the model's answer broke off", wait_s=backoff_s)
    detail = _quote(str(error.__cause__ or error), labels)
    unavailable = ModelUnavailableError(
        f"The model {labels.model} cannot be reached{detail}. Ask again in a moment; if this continues, the operator "
        f"should check the network and {labels.access_settings}."
    )
    return Fault(error=unavailable, reason="the model cannot be reached", wait_s=backoff_s)


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
    """Return the error if trying again cannot help. Codes are checked first: they are more precise than statuses."""
    status, code = refusal.status, refusal.code
    if code == "insufficient_quota" or status == 402:
        return ModelQuotaError(
            f"The account behind the model {labels.model} has no quota left. The model cannot answer until the "
            f"operator adds credit or raises the limit with the provider."
        )
    if refusal.is_too_long:
        return ModelContextError(
            f"The conversation is longer than the model {labels.model} accepts. Use /clear to start a new one, or ask "
            f"for less at once; the operator can set MODEL_CONTEXT_TOKENS to the model's real context size.",
            limit_tokens=refusal.context_tokens,
        )
    if refusal.is_filtered:
        return content_filter_error()
    if status in (401, 403):
        return ModelAccessError(
            f"The model endpoint refused the bot's credentials ({status}). "
            f"The operator should check {labels.access_settings}."
        )
    if status == 404:
        return ModelAccessError(
            f"The endpoint does not know the model or deployment {labels.model} (404). "
            f"The operator should check {labels.model_settings}."
        )
    if status in (408, 409, 429) or status >= 500 or not (status or code.startswith("invalid")):
        return None
    quoted = _quote(refusal.message or code, labels)
    return ModelRequestError(
        f"The model endpoint rejected the request ({status or code}){quoted}. "
        f"Asking again will not help: the operator should check {labels.model_settings}; /clear starts a new "
        f"conversation."
    )


def _quote(text: str, labels: Labels) -> str:
    """Return `: text` as one short line without secrets, or nothing."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if labels.secret:
        line = line.replace(labels.secret, "[removed]")
    line = _SECRETS.sub("[removed]", line)
    if len(line) > _MAX_QUOTE_CHARS:
        line = line[:_MAX_QUOTE_CHARS] + "…"
    return f": {line.rstrip('.')}" if line else ""
