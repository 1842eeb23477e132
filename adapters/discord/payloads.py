"""Discord's JSON: the gateway's own, in which anything may be missing or of another type than documented."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

from adapters.shared.payloads import Payload


def text_at(payload: Payload, name: str) -> str:
    """Return the text or the id of that name; "" where there is none."""
    return text_of(payload.get(name))


def text_of(value: object) -> str:
    """Return a text, or an id that a library turned into a number, as text; "" for anything else."""
    with suppress(ValueError):  # Python writes out no number of more than 4,300 digits
        return value if isinstance(value, str) else str(value) if type(value) is int else ""
    return ""


def time_of(timestamp: object) -> datetime | None:
    """Return the time, in UTC; None for anything that is not a timestamp."""
    with suppress(ValueError, TypeError, OverflowError):  # years 1 and 9999 leave the calendar in other zones
        at = datetime.fromisoformat(cast("str", timestamp))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return None
