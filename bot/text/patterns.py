"""Patterns over UTF-8 that take linear time whatever the text is: Google's RE2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

_MAX_MEMORY = 64 << 20  # bytes, of which a pattern uses what its texts need; with too little it gets slow


class Found(Protocol):
    """Where a pattern matches."""

    def span(self) -> tuple[int, int]: ...
    def start(self) -> int: ...
    def group(self, number: int) -> bytes: ...


class Pattern(Protocol):
    """A compiled pattern; what it does is as in Python's `re`."""

    def search(self, text: bytes, pos: int = 0) -> Found | None: ...
    def fullmatch(self, text: bytes, pos: int = 0) -> Found | None: ...
    def finditer(self, text: bytes) -> Iterator[Found]: ...
    def sub(self, new: bytes | Callable[[Found], bytes], text: bytes) -> bytes: ...


def linear(pattern: str, *, ignores_case: bool = False) -> Pattern:
    """Return the pattern, compiled; a character is a byte, of which those that are not ASCII belong to no class."""
    library = _library()
    options = library.Options()
    options.encoding = library.Options.Encoding.LATIN1
    options.case_sensitive = not ignores_case
    options.max_mem = _MAX_MEMORY
    return cast("Pattern", library.compile(pattern.encode("latin-1"), options))


def literal(data: bytes) -> str:
    """Return a pattern for exactly these bytes."""
    return cast("bytes", _library().escape(data)).decode("latin-1")


def _library() -> Any:
    import re2  # pyright: ignore[reportMissingTypeStubs]  (late: the first prompt does not wait for it)

    return re2
