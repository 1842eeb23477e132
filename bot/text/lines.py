"""Untrusted text on one line."""

from __future__ import annotations

import re

from bot.text.split import cut

NAME_CHARS = 80  # of the name of a person, a server or a tool
_MARKUP = re.compile(r"[\\`*_~\[\]<>|#&]")


def printable(text: str) -> str:
    """Return the text with a space for each character that is not printable, so of the same length."""
    return "".join(char if char.isprintable() else " " for char in text)


def one_line(text: str, *, max_chars: int) -> str:
    """Return the text as one line of at most so many printable characters; an ellipsis marks what was cut off."""
    return cut(printable(text), max_chars)


def flat(text: str) -> str:
    """Return the text as one line of printable characters, with single spaces and none at the ends."""
    return " ".join(printable(text).split())


def literal(line: str) -> str:
    """Return the line with a backslash before each character that means something in Markdown."""
    return _MARKUP.sub(r"\\\g<0>", line)
