"""The pause that an endpoint asks for, wherever it says so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from bot.models.wordings import duration_s, pause_in

# LiteLLM hands its provider's headers on under another name: https://docs.litellm.ai/docs/proxy/response_headers
_PREFIXES = ("", "llm_provider-")
_SCALES = (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that the headers ask for, in seconds; None if they ask for none, or not in a valid form."""
    return next(_asked_for(headers), None)


def pause_s(headers: Mapping[str, str], body: object, message: str) -> float | None:
    """Return the pause that a refusal asks for, in seconds: in its headers, its details (Gemini), or its sentence."""
    ways = (
        retry_after_s(headers),
        _retry_delay_s(body, depth=0),
        pause_in(message),
        _until_reset_s(headers),
    )
    return next((seconds for seconds in ways if seconds is not None and _is_pause(seconds)), None)


def _asked_for(headers: Mapping[str, str]) -> Iterator[float]:
    for prefix in _PREFIXES:
        for name, scale in _SCALES:
            value = headers.get(prefix + name)
            if value is None:
                continue
            try:
                seconds = float(value) * scale
            except ValueError:
                seconds = _seconds_until(value)
            if _is_pause(seconds):
                yield seconds


def _is_pause(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0


def _seconds_until(http_date: str) -> float:
    try:
        at = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return math.nan
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    """Return the time until the limit that is used up is reset; Azure often sends nothing else."""
    for what in ("tokens", "requests"):
        for prefix in _PREFIXES:
            left = headers.get(f"{prefix}x-ratelimit-remaining-{what}", "0" if what == "tokens" else "")
            reset = headers.get(f"{prefix}x-ratelimit-reset-{what}")
            if reset is not None and left.strip() == "0":
                return duration_s(reset)
    return None


def _retry_delay_s(body: object, *, depth: int) -> float | None:
    """Return Gemini's `retryDelay`, which stands somewhere in the details."""
    inner: list[object] = []
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, Any]", body)
        if isinstance(delay := fields.get("retryDelay"), str):
            return duration_s(delay)
        inner = [fields.get("error"), fields.get("details")]
    elif isinstance(body, list):
        inner = cast("list[object]", body)[:20]
    if depth > 4:
        return None
    delays = (_retry_delay_s(one, depth=depth + 1) for one in inner)
    return next((delay for delay in delays if delay is not None), None)
