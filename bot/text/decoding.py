"""Bytes of unknown encoding as text: what is certain, what is a guess and says so, and what is better not guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    clean = _CONTROLS.sub("", lines)
    return Decoded(text=clean, guess=found.guess) if len(lines) - len(clean) <= len(lines) * _MAX_CONTROLS else None


def is_like_text(data: bytes) -> bool:
    """Return whether the bytes may be text in an encoding that is not known."""
    return not data.startswith(_PDF) and not _NEVER_IN_TEXT.search(data)


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
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


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
    if _NEVER_IN_TEXT.search(data):
        return None
    text = data.decode(errors="replace")
    valid = sum(not char.isascii() and char != "\ufffd" for char in text)
    wrong = text.count("\ufffd")
    if valid < wrong * _MIN_VALID:
        return None
    return Decoded(text=text, guess="read as UTF-8; what is not UTF-8 in it became \ufffd")


def _western(data: bytes) -> Decoded | None:
    """Read Windows-1252, where single accents among plain letters make sense: nearly any bytes can be decoded so."""
    accents = len(data.translate(None, delete=_ASCII))
    if _NEVER_IN_TEXT.search(data) or accents > len(data) * _MAX_ACCENTS or _FOREIGN_WORD.search(data):
        return None
    text = _strict(data, "cp1252")
    if text is None or len(_UNUSUAL.findall(text)) + len(_CAPITAL_WITHIN.findall(text)) > accents * _MAX_UNUSUAL:
        return None
    return Decoded(text=text, guess="read as Windows-1252, because it is not UTF-8")
