"""Server-sent events, as far as model endpoints use them: bytes in, the data of each event out."""

from __future__ import annotations

from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Turns a response body, cut anywhere, into the `data` of its events.

    Names, ids and retry times of events are left out: these endpoints say everything in the data. An event that is
    not ended by an empty line is not given out, as the standard asks.

    Raises:
        ValueError: An event is not UTF-8, or is longer than `max_bytes`.
    """

    def __init__(self, *, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []  # pieces of a line whose end has not arrived
        self._data: list[bytes] = []  # data lines of an event whose end has not arrived
        self._held_bytes = 0
        self._ends_with_cr = False
        self._is_first_line = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that this chunk completes."""
        if self._ends_with_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a line end that was cut in two
            self._ends_with_cr = False
        if not chunk:
            return
        self._ends_with_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):
            if not piece.endswith((b"\n", b"\r")):
                self._line.append(piece)
                self._hold(len(piece))
                continue
            line = b"".join((*self._line, piece)).rstrip(b"\r\n")
            self._held_bytes -= sum(map(len, self._line))
            self._line.clear()
            if line:
                self._take(line)
            elif self._data:
                yield self._end_event()

    def _take(self, line: bytes) -> None:
        if self._is_first_line:
            line = line.removeprefix(_BOM)
            self._is_first_line = False
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._hold(len(line))

    def _end_event(self) -> str:
        data = b"\n".join(self._data)
        self._data.clear()
        self._held_bytes = 0
        return data.decode()

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        if self._held_bytes > self._max_bytes:
            raise ValueError(f"an event is longer than {self._max_bytes} bytes")
