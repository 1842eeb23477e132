"""JSON that a platform sends, in which anything may be missing or of another type than documented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

Payload = Mapping[str, Any]
# Of one list: no list of a message is nearly as long, and reading 100,000 would keep others waiting.
MAX_ITEMS = 1_000
MAX_NUMBER = 2**63 - 1  # of a turn, an ask or a page: more than any store has


def number_of(value: object) -> int:
    """Return a whole number from 1 to MAX_NUMBER, also one that is written in ASCII digits; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_NUMBER)):
        value = int(value)
    return value if type(value) is int and 0 < value <= MAX_NUMBER else 0


def dict_of(value: object) -> dict[str, Any]:
    """Return the object, an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_of(value: object, *, at_most: int = MAX_ITEMS) -> Sequence[object]:
    """Return the list as far as it is read, an empty one for anything else."""
    return cast("list[object]", value)[:at_most] if isinstance(value, list) else []


def dicts_of(value: object) -> Sequence[dict[str, Any]]:
    """Return the objects in the list."""
    return [cast("dict[str, Any]", item) for item in list_of(value) if isinstance(item, dict)]
