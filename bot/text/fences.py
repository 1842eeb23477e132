"""Fenced code blocks line by line, as people and models write them: a fence may be indented or quoted at any depth."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"([ \t]*(?:>[ \t]*)*)((`{3,})(?=[^`]*$)|~{3,}(?=[^~]*$))(.*)")
_LIST_MARK = re.compile(r"([ \t]*(?:>[ \t]*)*)((?:(?:[-*+]|\d{1,9}[.)])[ \t]+)+)(?=```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The fence that opens a code block."""

    marker: str
    prefix: str  # of the block's other lines: white space, quote marks
    info: str  # what follows the marker: a language, perhaps with more words
    list_mark: str = ""  # the fence's own line begins with it, where the block begins a list item

    @property
    def is_quoted(self) -> bool:
        """Whether the block is within a quotation, and ends with it."""
        return ">" in self.prefix

    def ends_with(self, line: str) -> bool:
        """Return whether the line closes the block."""
        stripped = line.strip()
        if self.is_quoted:
            stripped = stripped.lstrip("> \t")
        return len(stripped) >= len(self.marker) and not stripped.strip(self.marker[0])

    def ends_before(self, line: str) -> bool:
        """Return whether the block ended without a closing fence, because its quotation did."""
        return self.is_quoted and not line.lstrip().startswith(">")


def opened_fence(line: str) -> Fence | None:
    """Return the fence that the line opens; None if it opens none."""
    listed = _LIST_MARK.match(line)
    if listed:
        line = f"{listed[1]}{' ' * len(listed[2])}{line[listed.end() :]}"
    found = _FENCE.match(line)
    if found is None:
        return None
    return Fence(marker=found[2], prefix=found[1], info=found[4].strip(), list_mark=listed[0] if listed else "")
