"""Untrusted text on one line."""

from __future__ import annotations

from bot.text.split import cut

NAME_CHARS = 80  # of the name of a person, a server or a tool


def one_line(text: str, *, max_chars: int) -> str:
    """Return the text as one line of at most so many printable characters; an ellipsis marks what was cut off."""
    return cut("".join(char if char.isprintable() else " " for char in text), max_chars)
