"""The values that this process keeps secret (its tokens, what tool servers get), and how much else is hidden."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import quote, quote_plus

from bot.text.patterns import Pattern, linear, literal

# What is hidden beside known values: secrets in answers, files and what is seen of tools; only the latter; nothing.
RedactMode = Literal["on", "trace", "off"]

HIDDEN = "[hidden]"
LEAST_CHARS = 6  # what is shorter is in every other text
_MODES: tuple[RedactMode, ...] = ("on", "trace", "off")
_LEAST_PLAIN_CHARS = 10  # of letters or of digits alone: a word, a number
_COMMON = frozenset(
    (
        *("application/json", "application/octet-stream", "text/event-stream", "text/plain", "development"),
        *("production", "toolbridge", "postgresql", "passphrase", "credential", "placeholder"),
    )
)
_PLAIN = re.compile(r"[A-Za-z]+|[a-z]+(?:[-_ ][a-z]+)*|\d+")
_ONE_WORD = re.compile(r"[!-~]+")
_LEAST_BASE64 = 8  # characters: a shorter piece is in other text by accident
_MAX_NESTED = 300  # bytes of a value with white space in it; what grows beyond them is held back for good


def is_keepable(value: str) -> bool:
    """Return whether the value can be hidden wherever it is, without hiding ordinary words with it."""
    if len(value) < LEAST_CHARS or value.lower() in _COMMON:
        return False
    return len(value) >= _LEAST_PLAIN_CHARS or not _PLAIN.fullmatch(value)


def forms(value: str) -> set[str]:
    """Return how the value may be written: as it is, in JSON, in a URL, and in base64 wherever it begins in there."""
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    data = value.encode("utf-8", "surrogatepass")
    encoded = {quote(data, safe=""), quote(data), quote_plus(data)}
    written |= encoded | {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in encoded}
    return written | set(_base64_pieces(data))


def _base64_pieces(data: bytes) -> Iterator[str]:
    """Yield the characters that depend on nothing but the value, for each place where it can begin in three bytes."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode()
        piece = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(piece) >= _LEAST_BASE64:
            yield piece
            yield piece.replace("+", "-").replace("/", "_")


class KnownValues:
    """The values that are known now. Each part that is open adds its own, and takes them away when it closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # logs are written on any thread
        self._kept: dict[object, tuple[frozenset[str], RedactMode]] = {}
        self._pattern: Pattern | None = None
        self._growing: Pattern | None = None
        self.mode: RedactMode = "on"  # the strictest that is asked for
        self.longest = 0  # bytes of the longest of them, however it is written

    @contextmanager
    def hiding(self, values: Iterable[str], *, mode: RedactMode) -> Generator[None]:
        """Hide these values while the context is open; short ones and ordinary words are left out."""
        key = object()
        self.keep(key, values, mode=mode)
        try:
            yield
        finally:
            self.forget(key)

    def keep(self, key: object, values: Iterable[str], *, mode: RedactMode) -> None:
        """Hide these values from now on, in place of those that were given with that key before."""
        with self._lock:
            self._kept[key] = frozenset(filter(is_keepable, values)), mode
            self._renew()

    def forget(self, key: object) -> None:
        """Hide the values that were given with that key no more."""
        with self._lock:
            self._kept.pop(key, None)
            self._renew()

    def hide(self, text: str) -> str:
        """Return the text without the values, in linear time."""
        pattern = self._pattern
        if pattern is None:
            return text
        data = text.encode("utf-8", "surrogatepass")
        if pattern.search(data) is None:
            return text
        return pattern.sub(HIDDEN.encode(), data).decode("utf-8", "surrogatepass")

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where values are in the UTF-8 text; one that may still grow at its end is there to the end."""
        pattern, growing = self._pattern, self._growing
        found = [] if pattern is None else [match.span() for match in pattern.finditer(data)]
        match = None if growing is None else growing.search(data)
        return found if match is None else [*found, match.span()]

    def _renew(self) -> None:
        written = {form for values, _ in self._kept.values() for value in values for form in forms(value)}
        longest_first = sorted(written, key=lambda form: (-len(form), form))
        several = [form for form in longest_first if not _ONE_WORD.fullmatch(form)]
        self.longest = max((len(form.encode("utf-8", "surrogatepass")) for form in written), default=0)
        self._pattern = _any_of(map(_literal, longest_first))
        self._growing = _any_of(rf"(?:{_prefixes(form)})\z" for form in several)
        modes = {mode for _, mode in self._kept.values()} or {"on"}
        self.mode = next(mode for mode in _MODES if mode in modes)


known = KnownValues()  # one for the process, as its logs are: a value of its own shows in nothing that it writes


def _literal(text: str) -> str:
    return literal(text.encode("utf-8", "surrogatepass"))


def _prefixes(text: str) -> str:
    """Return a pattern for each beginning of the text."""
    data = text.encode("utf-8", "surrogatepass")
    first, *more = [rf"\x{byte:02x}" for byte in data[:_MAX_NESTED]]
    rest = r"[\x00-\xff]*" if len(data) > _MAX_NESTED else ""
    return first + "".join(rf"(?:{byte}" for byte in more) + rest + ")?" * len(more)


def _any_of(patterns: Iterable[str]) -> Pattern | None:
    together = "|".join(patterns)
    return linear(together) if together else None
