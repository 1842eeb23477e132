"""Bytes of unknown encoding as text: what is certain, what is a guess and says so, and what is better not guessed.

All is done piece by piece: in a thread, the event loop gets its turns between two pieces.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.text.apart import PIECE

_PDF = b"%PDF-"
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_CONTROLS = 0.05  # the share up to which it is text with some colours, form feeds or backspaces
_NEVER_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ASCII = bytes(range(0x80))
_MIN_ZEROS = 0.7  # of the high bytes of UTF-16: of text that is mostly Latin, nearly all are zero
_MIN_VALID = 2  # characters of UTF-8 for each byte that is none: in other encodings they come about by accident
_MAX_ACCENTS = 0.3
_MAX_UNUSUAL = 0.1
# Four bytes in a row, a letter among them, are a word in a script that is not Latin, or a line drawn for MS-DOS.
_FOREIGN_WORD = re.compile(rb"(?=[\x80-\xff]{4})[\x80-\xbf]{0,3}[\xc0-\xff]")
_UNUSUAL = re.compile(
    "[\u0192\u02c6\u02dc\u2020\u2021\u2030\u2039\u203a\xa4\xa5\xa6\xa8\xac\xad\xaf\xb6\xb8\xb9\xf7\xd7]"
)
_MARGIN = 8
_CAPITAL_WITHIN = re.compile("(?<=[a-z])[\xc0-\xde]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A text with plain line ends and no control characters; `guess` says how it was read where that is not certain."""

    text: str
    guess: str = ""  # completes "The file was ..."


def decode_text(data: bytes) -> Decoded | None:
    """Return the text that the bytes are; None where they are none, or nobody could say which."""
    if data.startswith(_PDF):
        return None
    found = _decoded(data)
    if found is None or "\0" in found.text:
        return None
    lines = found.text.replace("\r\n", "\n").replace("\r", "\n")
    clean = "".join(_CONTROLS.sub("", piece) for piece in _pieces(lines))
    return Decoded(text=clean, guess=found.guess) if len(lines) - len(clean) <= len(lines) * _MAX_CONTROLS else None


def is_like_text(data: bytes) -> bool:
    """Return whether the bytes may be text in an encoding that is not known."""
    return not data.startswith(_PDF) and not _holds(_NEVER_IN_TEXT, data)


def _decoded(data: bytes) -> Decoded | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = _strict(data[len(mark) :], encoding)
            return None if text is None else Decoded(text=text)
    text = _strict(data, "utf-8")
    if text is not None and "\0" not in text:
        return Decoded(text=text)
    return _wide(data) or _damaged(data) or _western(data)


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return _read(data, encoding)
    except UnicodeDecodeError:
        return None


def _read(data: bytes, encoding: str, errors: str = "strict") -> str:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    text = "".join(decoder.decode(data[start : start + PIECE]) for start in range(0, len(data), PIECE))
    return text + decoder.decode(b"", final=True)


def _pieces(text: str, *, before: int = 0) -> Iterator[str]:
    """Yield the text piece by piece, each with so many characters `before` it."""
    for start in range(0, len(text), PIECE):
        yield text[max(0, start - before) : start + PIECE]


def _holds(pattern: re.Pattern[bytes], data: bytes) -> bool:
    """Return whether the pattern, which looks at no more than `_MARGIN` bytes, matches anywhere."""
    starts = range(0, len(data), PIECE)
    return any(pattern.search(data[max(0, start - _MARGIN) : start + PIECE]) for start in starts)


def _wide(data: bytes) -> Decoded | None:
    """Read UTF-16 without its mark: every other byte is zero, and no other one."""
    even, odd = data[::2], data[1::2]
    if len(data) < 4 or len(even) != len(odd):
        return None
    for encoding, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if 0 not in low and high.count(0) >= len(high) * _MIN_ZEROS:
            text = _strict(data, encoding)
            return None if text is None else Decoded(text=text, guess="read as UTF-16")
    return None


def _damaged(data: bytes) -> Decoded | None:
    """Read UTF-8 in which a few bytes are wrong, as where a log was cut within a character."""
    if _holds(_NEVER_IN_TEXT, data):
        return None
    text = _read(data, "utf-8", "replace")
    wrong = text.count("\ufffd")
    valid = sum(len(piece) - len(piece.encode("ascii", "ignore")) for piece in _pieces(text)) - wrong
    if valid < wrong * _MIN_VALID:
        return None
    return Decoded(text=text, guess="read as UTF-8; what is not UTF-8 in it became \ufffd")


def _western(data: bytes) -> Decoded | None:
    """Read Windows-1252, where single accents among plain letters make sense: nearly any bytes can be decoded so."""
    accents = len(data.translate(None, delete=_ASCII))
    if _holds(_NEVER_IN_TEXT, data) or accents > len(data) * _MAX_ACCENTS or _holds(_FOREIGN_WORD, data):
        return None
    text = _strict(data, "cp1252")
    if text is None or _count(_UNUSUAL, text) + _count(_CAPITAL_WITHIN, text, before=1) > accents * _MAX_UNUSUAL:
        return None
    return Decoded(text=text, guess="read as Windows-1252, because it is not UTF-8")


def _count(pattern: re.Pattern[str], text: str, *, before: int = 0) -> int:
    """Return how often the pattern of one character, and of what is `before` it, matches."""
    found = (len(pattern.findall(piece)) for piece in _pieces(text, before=before))
    return sum(found)
