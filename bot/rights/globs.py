"""Patterns in which only `*` has a meaning: any text, also none. Matched in linear time."""

from __future__ import annotations


def glob_matches(pattern: str, text: str) -> bool:
    """Return whether the pattern matches the whole text; case counts."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def glob_covers(wide: str, narrow: str) -> bool:
    """Return whether `wide` matches all that `narrow` matches."""
    return glob_matches(wide, narrow)  # a `*` of `narrow` is matched by a `*` of `wide` and by nothing else


class ToolPattern:
    """`server/tool`. The `*` of one side does not cross the slash."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Names of servers and tools may have slashes themselves: each may be the one between the two.
        self._ways = tuple((text[:at], text[at + 1 :]) for at, char in enumerate(text) if char == "/")

    @property
    def is_valid(self) -> bool:
        """Whether there are a server and a tool."""
        return any(server and tool for server, tool in self._ways)

    def matches(self, server: str, tool: str) -> bool:
        """Return whether the pattern names this tool of this server."""
        return any(glob_matches(way[0], server) and glob_matches(way[1], tool) for way in self._ways)

    def covers(self, other: ToolPattern) -> bool:
        """Return whether it matches all that the other one matches."""
        return all(
            any(glob_covers(mine[0], theirs[0]) and glob_covers(mine[1], theirs[1]) for mine in self._ways)
            for theirs in other._ways
        )

    def servers(self) -> tuple[str, ...]:
        """Return what may be the pattern of the server."""
        return tuple(server for server, _ in self._ways)
