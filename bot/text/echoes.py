"""Speaker lines that a model copies into its answer although its prompt forbids that: people never see them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.text.marks import CLOSE, OPEN

_MAX_CHARS = 220  # of a speaker line: a time, an id, a name, and what is between them
_INSIDE = rf"[^{OPEN}{CLOSE}\n]"
_SPACES = r"[ \t]{0,20}"
# As `speaker_line` and quotations write them.
_ECHO = re.compile(
    rf"{OPEN}(?:[0-9: -]{{16}} UTC, )?from (?:a bot|[\w.?-]{{1,64}}): ({_INSIDE}{{1,100}}){CLOSE}({_SPACES}\n?)"
)
_UNFINISHED = re.compile(rf"{OPEN}{_INSIDE}{{0,{_MAX_CHARS}}}(?:{CLOSE}{_SPACES})?\Z")
_CUT = re.compile(rf"{OPEN}(?:[0-9: UTC,-]*(?:f|fr|fro|from|from {_INSIDE}*)?)\Z")


class Echoes:
    """One answer, piece by piece, without speaker lines. What may become one is held back until that is known."""

    def __init__(self) -> None:
        self._held = ""
        self._before = ""  # the character before that

    def add(self, piece: str) -> str:
        """Add the next piece; return what can be shown now."""
        text = self._held + piece
        last = text.rfind(OPEN)
        return self._release(text, last if last >= 0 and _UNFINISHED.match(text, last) else len(text))

    def end(self) -> str:
        """Return what was held back: the text has ended."""
        return self._release(self._held, len(self._held))

    def clear(self) -> None:
        """Forget all of it: the text is void."""
        self._held = self._before = ""

    def _release(self, text: str, end: int) -> str:
        shown = "".join(_pieces(text, end, before=self._before))
        self._held, self._before = text[end:], text[end - 1 : end] or self._before
        return shown


def without_echoes(text: str, *, is_cut: bool = False) -> str:
    """Return the answer without speaker lines; one in the middle of another line becomes the name in it.

    Where the text broke off, the beginning of a speaker line goes as well.
    """
    if OPEN not in text:
        return text
    shown = "".join(_pieces(text, len(text), before=""))
    return _CUT.sub("", shown) if is_cut else shown


def _pieces(text: str, end: int, *, before: str) -> Iterator[str]:
    at = 0
    for echo in _ECHO.finditer(text):
        start, stop = echo.span()
        if start >= end:
            break
        yield text[at:start]
        yield _said(echo, before=text[start - 1] if start else before, is_last=stop == len(text))
        at = stop
    yield text[at:end]


def _said(echo: re.Match[str], *, before: str, is_last: bool) -> str:
    name, after = echo.groups()
    has_own_line = before == "\n" and (is_last or after.endswith("\n"))
    return "" if not before or has_own_line else f"{name}{after}"
