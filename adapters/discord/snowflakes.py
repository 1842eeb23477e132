"""Discord's ids, which say when a thing was made: https://discord.com/developers/docs/reference#snowflakes"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

MAX_DIGITS = 20  # of 64 bits
_EPOCH_MS = 1_420_070_400_000


def as_number(snowflake: str) -> int:
    """Return an id as a number, 0 for what is none."""
    return int(snowflake) if len(snowflake) <= MAX_DIGITS and snowflake.isascii() and snowflake.isdigit() else 0


def created_at(snowflake: str) -> float:
    """Return when the thing of that id was made, in seconds since the epoch. Raises ValueError for any other text."""
    return ((int(snowflake) >> 22) + _EPOCH_MS) / 1_000


def made_at(snowflake: str) -> datetime | None:
    """Return when the thing of that id was made; None for an id that does not say it."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(created_at(snowflake), UTC)
    return None


def first_snowflake(at: float) -> str:
    """Return the smallest id of a thing that was made at that time (seconds since the epoch)."""
    return str(max(0, int(at * 1_000) - _EPOCH_MS) << 22)
