"""A fair order among those who wait for the same thing: by person, and by conversation within a person. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

MANY = 1_000  # people remembered, before those whose turn it is anyway are forgotten


@dataclass(frozen=True, slots=True)
class Share:
    """Whose share something takes: of a person, in one of their conversations."""

    person: str
    conversation: str = ""


@dataclass(slots=True)
class _Line:
    tag: float  # what was spent; the lowest is next
    waiting: int = 0
    lines: dict[str, _Line] = field(default_factory=dict[str, "_Line"])  # by conversation
    clock: float = 0.0  # of these lines


class Rota:
    """Fair queueing: each turn adds its cost to what a person, and in it a conversation, has spent; the least is next.

    Those who begin to wait have spent as much as the one whose turn it was last: they are next soon, and save nothing
    up for later. When nobody waits, all is forgotten.
    """

    def __init__(self) -> None:
        self._root = _Line(tag=0.0)

    def join(self, share: Share) -> None:
        """Count one more that waits."""
        _join(_join(self._root, share.person), share.conversation)
        self._root.waiting += 1
        if len(self._root.lines) > MANY:
            _forget(self._root)

    def leave(self, share: Share) -> None:
        """Count one that waits no longer, and was not served."""
        self._end(share)

    def serve(self, share: Share, *, cost: float = 1.0) -> None:
        """Charge the cost to the share of one that waited: it is being served."""
        person = self._root.lines[share.person]
        _spend(self._root, person, cost)
        _spend(person, person.lines[share.conversation], cost)
        self._end(share)

    def rank(self, share: Share) -> tuple[float, float]:
        """Return what those who wait are sorted by; it changes with each turn."""
        person = self._root.lines[share.person]
        return person.tag, person.lines[share.conversation].tag

    def _end(self, share: Share) -> None:
        person = self._root.lines[share.person]
        for line in (self._root, person, person.lines[share.conversation]):
            line.waiting -= 1
        if not self._root.waiting:
            self._root = _Line(tag=0.0)
        elif not person.waiting:
            person.lines.clear()
            person.clock = 0.0


def _join(parent: _Line, name: str) -> _Line:
    line = parent.lines.get(name)
    if line is None:
        line = parent.lines[name] = _Line(tag=parent.clock)
    if not line.waiting:
        line.tag = max(line.tag, parent.clock)
    line.waiting += 1
    return line


def _spend(parent: _Line, line: _Line, cost: float) -> None:
    parent.clock = max(parent.clock, line.tag)
    line.tag += cost


def _forget(parent: _Line) -> None:
    for name in [name for name, line in parent.lines.items() if not line.waiting and line.tag <= parent.clock]:
        del parent.lines[name]
