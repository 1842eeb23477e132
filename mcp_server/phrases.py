"""Phrases that the tools share: quotes, lists and counts."""

from collections.abc import Iterable

MAX_QUOTED_CHARS = 60


def quoted(text: str) -> str:
    """`text` in quotes on one line, cut to `MAX_QUOTED_CHARS`, with control characters escaped."""
    shown = text if len(text) <= MAX_QUOTED_CHARS else text[: MAX_QUOTED_CHARS - 3] + "..."
    return repr(shown)


def listed(names: Iterable[str]) -> str:
    """The names, separated by commas."""
    return ", ".join(names)


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
