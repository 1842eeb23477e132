"""How the rehearsal model comes to a tool that it was not given, or that a user only describes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.domain.messages import ToolSpec
from bot.text.words import words

FINDER = "find_tools"
_FOUND = re.compile(r"^- ([a-zA-Z0-9_-]{1,64}): ", re.MULTILINE)
_SMALL = frozenset(
    {"a", "an", "and", "for", "from", "in", "is", "my", "of", "on", "or", "our", "the", "this", "to", "with"}
)


def choose(description: str, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """Return the tool that has all words of the description; of several, the one that has most of them in its name.

    Where no others can be found, the tool that has most of the words is good enough.
    """
    wanted = _stems(description)
    least = len(wanted) if any(tool.name == FINDER for tool in tools) else 1
    best: tuple[tuple[int, int, int], ToolSpec] | None = None
    for tool in tools:
        name = _stems(tool.name)
        shared = len(wanted & (name | _stems(tool.description)))
        rank = (shared, len(wanted & name), -len(name))
        if tool.name != FINDER and shared >= max(1, least) and (best is None or rank > best[0]):
            best = rank, tool
    return best[1] if best else None


def _stems(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in words(text) if word not in _SMALL)


def first_found(result: str, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """Return the first tool that a search has brought up."""
    offered = {tool.name: tool for tool in tools}
    return next((offered[name] for name in _FOUND.findall(result) if name in offered), None)
