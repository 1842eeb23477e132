"""Lines of a stream of bytes, in linear time and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_ENDS_BYTES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLine:
    """Both ends of a line that was too long to be kept."""

    head: bytes
    tail: bytes


class LineSplitter:
    """Puts lines together from pieces; a line beyond `max_bytes` is dropped but for its ends."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""  # of a line that is too long

    def feed(self, piece: bytes) -> Iterator[bytes | LongLine]:
        """Yield the lines that end in this piece, without their line feeds."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._add(part)
            yield self.flush()
        self._add(rest)

    def flush(self) -> bytes | LongLine:
        """Return what there is of the last line."""
        whole = b"".join(self._parts)
        line = LongLine(head=self._head, tail=whole[-_ENDS_BYTES:]) if self._head else whole
        self._parts, self._size, self._head = [], 0, b""
        return line

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._max_bytes:
            whole = b"".join(self._parts)
            self._head = self._head or whole[:_ENDS_BYTES]
            self._parts, self._size = [whole[-_ENDS_BYTES:]], _ENDS_BYTES
