"""Slack's JSON, in which anything may be missing or of another type than documented."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from adapters.shared.payloads import Payload


def text_at(payload: Payload, name: str) -> str:
    """Return the text of that name; "" where there is none."""
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def first_text(payload: Payload, *names: str) -> str:
    """Return the first text of those names that is not empty; "" where there is none."""
    return next((text for name in names if (text := text_at(payload, name))), "")


def number_text(value: object) -> str:
    """Return a number as people write it; "" for anything else, and for one of thousands of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    with suppress(ValueError):
        return str(value)
    return ""


def time_of(ts: object) -> datetime | None:
    """Return the time of a message's timestamp, or of seconds since the epoch; None for anything else."""
    if isinstance(ts, str | int | float) and not isinstance(ts, bool):
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(float(ts), UTC)
    return None
