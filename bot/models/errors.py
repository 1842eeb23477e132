"""What can go wrong while a model answers: each fault as an error for the user, and whether to try again."""

from __future__ import annotations

import re
import ssl
from collections.abc import Set
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
from bot.models import wordings
from bot.models.refusals import Refusal, StreamRefusalError, content_filter_error, read_refusal
from bot.text.lines import flat
from bot.text.redaction import HIDDEN, redact

_MAX_QUOTE_CHARS = 200
_MIN_SECRET_CHARS = 8  # shorter keys are placeholders (`ollama`, `k`), and parts of ordinary words
_SECRETS = re.compile(
    r"\b(?:sk|pk|key)-[\w*.-]{6,}|\bBearer\s+\S+|\beyJ[\w-]+\.[\w.-]+|\b[A-Za-z0-9]{32,}\b", re.IGNORECASE
)
_API_VERSION = re.compile(r"api[ -]version", re.IGNORECASE)
_OUTPUT_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})


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
    address_setting: str
    version_setting: str = ""  # of the API; empty where the address has none
    secrets: tuple[str, ...] = field(default=(), repr=False)  # never quoted
    extra_parameters: Set[str] = frozenset()  # those of MODEL_EXTRA_BODY
    has_effort: bool = False  # whether MODEL_REASONING_EFFORT is set
    has_output_limit: bool = False  # whether MODEL_MAX_OUTPUT_TOKENS is set


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed attempt: the error to raise if it is the last one, and how long to wait before the next."""

    error: ModelError
    reason: str = ""  # a sentence for the chat; empty: trying again does not help
    wait_s: float = 0.0
    is_pause_named: bool = False  # by the endpoint


def refusal_of(error: Exception) -> Refusal | None:
    """Return the endpoint's refusal; None if the error is not one."""
    if isinstance(error, StreamRefusalError):
        return error.refusal
    if isinstance(error, openai.APIStatusError):
        return read_refusal(error.body, status=error.status_code, headers=error.response.headers)
    return None


def fault_of(error: Exception, labels: Labels, *, backoff_s: float) -> Fault:
    """Return what a failed attempt means; `backoff_s` is the wait if the endpoint does not ask for one itself."""
    refusal = refusal_of(error)
    if refusal is not None:
        return _refused(refusal, labels, backoff_s=backoff_s)
    if isinstance(error, BrokenStreamError | TimeoutError):
        what = str(error) or "nothing arrived for too long"
        unavailable = ModelUnavailableError(f"The model's answer broke off ({what}). Please ask again.")
        return Fault(error=unavailable, reason="The model's answer broke off.", wait_s=backoff_s)
    detail = quote(str(error.__cause__ or error), labels)
    unavailable = ModelUnavailableError(
        f"The model {labels.model} cannot be reached{detail}. Ask again in a moment; if this continues, the operator "
        f"should check the network and {labels.access_settings}."
    )
    return Fault(error=unavailable, reason="The model cannot be reached.", wait_s=backoff_s)


def _refused(refusal: Refusal, labels: Labels, *, backoff_s: float) -> Fault:
    final = _final_error(refusal, labels)
    if final is not None:
        return Fault(error=final)
    wait_s = backoff_s if refusal.retry_after_s is None else refusal.retry_after_s
    if refusal.is_busy:
        return Fault(
            error=ModelRateLimitError(retry_after_s=wait_s),
            reason="The model is busy.",
            wait_s=wait_s,
            is_pause_named=refusal.retry_after_s is not None,
        )
    number = f" ({refusal.status})" if refusal.status else ""
    error = ModelUnavailableError(
        f"The model's server failed{number}{quote(refusal.message, labels)}. Please ask again in a moment."
    )
    return Fault(error=error, reason=f"The model's server failed{number}.", wait_s=wait_s)


def _final_error(refusal: Refusal, labels: Labels) -> ModelError | None:
    """Return the error if trying again cannot help. What is precise is checked first: codes, words, then statuses."""
    status, code = refusal.status, refusal.code
    quoted = quote(refusal.message or code, labels)
    if refusal.is_out_of_quota:
        return ModelQuotaError(
            f"The account behind the model {labels.model} has no quota left{quoted}. The model cannot answer until the "
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
    if refusal.is_busy:
        return None
    if (wrong_setting := _error_of_setting(refusal, labels, quoted)) is not None:
        return wrong_setting
    if status in (408, 409, 425) or status >= 500 or not (status or code.startswith("invalid")):
        return None
    return ModelRequestError(
        f"The model endpoint rejected the request ({status or code}){quoted}. "
        f"Asking again will not help: the operator should check {labels.model_settings}; /clear starts a new "
        f"conversation."
    )


def _error_of_setting(refusal: Refusal, labels: Labels, quoted: str) -> ModelError | None:
    """Return the error that names the setting at fault; None where none can be told."""
    said, status = f"{refusal.code} {refusal.message}", refusal.status
    if status in (400, 404, 405, 501) and wordings.RESPONSES_ONLY.search(said):
        return _misconfigured(refusal, quoted, "set MODEL_API=responses: this model is not in Chat Completions")
    if status in (400, 404, 405, 501) and wordings.CHAT_ONLY.search(said):
        return _misconfigured(refusal, quoted, "set MODEL_API=chat: the Responses API is not offered here")
    if status in (401, 403, 407):
        return ModelAccessError(
            f"The model endpoint refused the bot's credentials ({status}){quoted}. "
            f"The operator should check {labels.access_settings}."
        )
    if status in (400, 404) and labels.version_setting and _API_VERSION.search(said):
        return _misconfigured(refusal, quoted, f"correct {labels.version_setting}")
    if status in (400, 404, 422) and wordings.UNKNOWN_MODEL.search(said):
        return ModelAccessError(
            f"The endpoint does not know the model or deployment {labels.model} ({status}){quoted}. "
            f"The operator should check {labels.model_settings}."
        )
    if status in (404, 405):
        return ModelAccessError(
            f"There is no model endpoint at this address ({status}){quoted}. The operator should check the path in "
            f"{labels.address_setting}, which most often ends in /v1, and MODEL_API."
        )
    cure = _cure_of_parameter(refusal, labels)
    return _misconfigured(refusal, quoted, cure) if cure else None


def _cure_of_parameter(refusal: Refusal, labels: Labels) -> str:
    if refusal.status not in (400, 422):
        return ""
    if refusal.knows_no_tools:
        return f"choose a model that supports tool calling, or enable it in the server of {labels.model}"
    for name in sorted(labels.extra_parameters):
        if names_parameter(refusal, name):
            return f"correct `{name}` in MODEL_EXTRA_BODY"
    if labels.has_output_limit and any(names_parameter(refusal, name) for name in _OUTPUT_LIMITS):
        return "correct MODEL_MAX_OUTPUT_TOKENS"
    if labels.has_effort and any(names_parameter(refusal, name) for name in ("reasoning_effort", "reasoning")):
        return "correct MODEL_REASONING_EFFORT, or set MODEL_API=responses for reasoning with tools"
    return ""


def _misconfigured(refusal: Refusal, quoted: str, cure: str) -> ModelRequestError:
    return ModelRequestError(
        f"The model endpoint rejected the request ({refusal.status or refusal.code}){quoted}. "
        f"Asking again will not help: the operator should {cure}."
    )


def names_parameter(refusal: Refusal, parameter: str) -> bool:
    """Return whether the refusal is about this parameter of the request."""
    if refusal.param:
        return refusal.param.replace("[", ".").partition(".")[0] == parameter
    pattern = (
        rf"\b(?:argument|parameter|extra|property|field|unsupported|unknown|unrecognized)\b.*\b{re.escape(parameter)}\b"
    )
    return re.search(pattern, refusal.message, re.IGNORECASE) is not None


def quote(text: str, labels: Labels) -> str:
    """Return `: text` as one short line without secrets, or nothing."""
    line = flat(text)
    for secret in labels.secrets:
        if len(secret) >= _MIN_SECRET_CHARS:
            line = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, line)
    line = _SECRETS.sub(HIDDEN, redact(line))
    if len(line) > _MAX_QUOTE_CHARS:
        line = line[:_MAX_QUOTE_CHARS] + "…"
    return f": {line.rstrip('.')}" if line else ""
