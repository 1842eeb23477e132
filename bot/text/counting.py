"""Numbers with their nouns."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural (with an s) where it is not one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
