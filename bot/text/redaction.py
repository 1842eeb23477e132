"""Removes secrets from text that people and logs see: known values, published formats, values named as secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice

from bot.text import secret_names as names
from bot.text import secret_shapes as shapes
from bot.text.known_values import HIDDEN, known
from bot.text.patterns import Pattern, linear

HIDDEN_NOTE = "A secret was hidden from this answer."
__all__ = [
    "HIDDEN",
    "HIDDEN_NOTE",
    "hide_known",
    "redact",
    "redact_always",
    "redact_cut",
    "redact_prose",
    "shown_until",
]

_HIDDEN = HIDDEN.encode()
_NESTED = 3  # a value that is no secret may have one in it, and so on
_MAX_HEADS = 100  # beginnings of secrets in the part of a text that is held back
_LAST_WORD = re.compile(r"[\w.~+/=-]+\Z", re.ASCII)
_LONGEST_CUT_CHARS = 500
_SHORT_CHARS = 11  # no token is that short: a word at which a text was cut off
# Within so many bytes it is decided whether something is a secret. The longest way: `://NAME:PASSWORD@`.
_DECIDED_BYTES = 400
_WORD_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


def redact(text: str) -> str:
    """Return what people see of calls and results: without known values, tokens, and values named as secrets.

    It is for data, where a value that is hidden for nothing does no harm. Takes linear time. With REDACT=off only known
    values are hidden.
    """
    return hide_known(text) if known.mode == "off" else redact_always(text)


def redact_always(text: str) -> str:
    """Return what `redact` returns with any other setting than "off": for logs."""
    return _without_secrets(hide_known(text), is_prose=False)


def redact_prose(text: str) -> str:
    """Return an answer or a file without secrets, in linear time; unless REDACT=on, only known values are hidden.

    Of values named as secrets only those are hidden that do not read like words, code or a stand-in.
    """
    text = hide_known(text)
    return _without_secrets(text, is_prose=True) if known.mode == "on" else text


def redact_cut(text: str) -> str:
    """Return what `redact_prose` returns of a text that broke off; a last word that may be half a token goes, too."""
    shown = redact_prose(text)
    last = _LAST_WORD.search(text[-_LONGEST_CUT_CHARS:])
    if last is None or len(last[0]) <= _SHORT_CHARS or last[0].isalpha() or not shown.endswith(last[0]):
        return shown
    return shown.removesuffix(last[0]) + HIDDEN


def hide_known(text: str) -> str:
    """Return the text without the values that this process keeps secret, however they are encoded."""
    return known.hide(text)


def shown_until(data: bytes) -> int:
    """Return how many bytes of an unfinished UTF-8 text can be shown: no secret begins in them and goes on after them.

    The last word is left out, of a long one its end; and so is all from the beginning of a secret that may have more
    than one word.
    """
    end = _last_word(data, len(data))
    spans = known.spans(data)
    if known.mode == "on" and _pattern("anything").search(data):
        spans += _spans(data)
        spans += [(start, len(data)) for start in _growing(data)]
    end = _within_word(data, end, spans)
    for start, stop in sorted(spans, reverse=True):
        if start < end and (stop > end or stop == len(data)):
            end = _last_word(data, start)
    return end


def _within_word(data: bytes, start: int, spans: Sequence[tuple[int, int]]) -> int:
    """Return where the last word, which begins at `start`, can be parted; `start` where it cannot.

    That is behind punctuation within no secret: what comes later is then read as it is in the whole text.
    """
    end = _behind_punctuation(data, start, len(data) - max(_DECIDED_BYTES, known.longest))
    for begin, stop in sorted(spans, reverse=True):
        if begin < end and (stop > end or stop == len(data)):
            end = _behind_punctuation(data, start, begin)
    return end


def _behind_punctuation(data: bytes, start: int, end: int) -> int:
    while end > start and data[end - 1] in _WORD_BYTES:
        end -= 1
    return max(start, end)


def _growing(data: bytes) -> Iterator[int]:
    """Yield where the first thing begins that reaches the end of the text and may still grow."""
    heads = list(islice(_heads(data), _MAX_HEADS + 1))
    growing = _pattern("growing")
    for start in heads[:_MAX_HEADS]:
        if growing.fullmatch(data, start):
            yield start
            return
    yield from heads[_MAX_HEADS:]  # made to be slow: all behind it is held back


def _heads(data: bytes) -> Iterator[int]:
    """Yield where secrets may begin, also within another such beginning: `--password`, `redis_password`."""
    heads, at = _pattern("heads"), 0
    while match := heads.search(data, at):
        yield match.start()
        at = match.start() + 1


def _last_word(data: bytes, end: int) -> int:
    """Return where the word begins that ends there; `end` where there is white space or another script before it."""
    match = _pattern("word").search(data[:end] if end < len(data) else data)
    return match.start() if match else end


# --- the patterns ----------------------------------------------------------------------------------------------

_WHOLE = rf"(?-i:{shapes.WHOLE})"
_JWT = rf"(?-i:{shapes.JWT})"
# What stays readable, and the value behind it; in the order in which they are tried where a match begins.
_VALUES: Mapping[str, tuple[str, str]] = {
    "place": (rf"(?-i:{shapes.PLACES})", shapes.PLACE_VALUE),
    "url": names.URL,
    "bearer": names.BEARER,
    "cookie": names.COOKIE,
    "element": names.ELEMENT,
    "named": names.NAMED,
    "hinted": names.HINTED,
}
_ALL = "|".join((_WHOLE, _JWT, *(f"(?:{name})(?:{value})" for name, value in _VALUES.values())))
_HEADS = f"{names.HEADS}|(?-i:{shapes.HEAD})"
_GROWING = f"(?-i:{shapes.GROWING})|{names.GROWING}"


# Compiled when they are first needed, which takes some milliseconds each; a key for each, since the texts are long.
_PATTERNS: Mapping[str, str] = {
    "all": _ALL,
    "growing": _GROWING,
    "heads": _HEADS,
    "anything": f"{_HEADS}|{_ALL}",
    "jwt": _JWT,
    "key": rf"(?-i:{shapes.KEY})",
    "word": r"[!-~]+\z",
    **{kind: f"({name})({value})" for kind, (name, value) in _VALUES.items()},
}


@cache
def _pattern(key: str) -> Pattern:
    return linear(_PATTERNS[key], ignores_case=True)


# --- hiding ----------------------------------------------------------------------------------------------------


def _without_secrets(text: str, *, is_prose: bool) -> str:
    data = text.encode("utf-8", "surrogatepass")
    shown: list[bytes] = []
    for start, end, is_key in _segments(data):
        part = data[start:end]
        shown.extend([_hidden_key(part)] if is_key else _pieces(part, is_prose=is_prose, depth=0))
    return text if len(shown) == 1 and shown[0] == data else b"".join(shown).decode("utf-8", "surrogatepass")


def _segments(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield the blocks of private keys, and what is between them: such a block may be the value of a name."""
    at = 0
    for match in _pattern("key").finditer(data) if shapes.KEY_SIGN in data else ():
        start, end = match.span()
        yield at, start, False
        yield start, end, True
        at = end
    yield at, len(data), False


def _spans(data: bytes) -> Iterator[tuple[int, int]]:
    for start, end, is_key in _segments(data):
        if is_key:
            yield start, end
        else:
            for match in _pattern("all").finditer(data[start:end]):
                begin, stop = match.span()
                yield start + begin, start + stop


def _pieces(data: bytes, *, is_prose: bool, depth: int) -> Iterator[bytes]:
    at = 0
    for match in _pattern("all").finditer(data):
        start, end = match.span()
        yield data[at:start]
        yield _shown(data[start:end], is_prose=is_prose, depth=depth)
        at = end
    yield data[at:]


def _shown(found: bytes, *, is_prose: bool, depth: int) -> bytes:
    parts = _parts(found)
    if parts is None:
        return _HIDDEN if found.count(b".") >= 2 or not _pattern("jwt").fullmatch(found) else found
    kind, name, value = parts
    if _is_secret(kind, name, value, is_prose=is_prose):
        return name + _hidden_value(value)
    if depth == _NESTED:
        return name + _HIDDEN
    return name + b"".join(_pieces(value, is_prose=is_prose, depth=depth + 1))


def _hidden_key(block: bytes) -> bytes:
    """Return what is shown of a block; a first line that is only talked about has no key behind it."""
    return _HIDDEN if _LINE_OF_KEY.search(block) else block


def _parts(found: bytes) -> tuple[str, bytes, bytes] | None:
    """Return which kind of named value it is, its name and its value; None for a token, which is a secret by itself."""
    for kind in _KINDS.get(found[:1], _LETTER_KINDS):
        if match := _pattern(kind).fullmatch(found):
            return kind, match.group(1), match.group(2)
    return None


# Nearly all are named values; of the others, each begins in its own way.
_LETTER_KINDS = ("named", "hinted", "place", "bearer")
_KINDS: Mapping[bytes, tuple[str, ...]] = {
    b":": ("url",),
    b"<": ("element",),
    b"-": ("hinted",),
    **dict.fromkeys((b"b", b"B"), ("bearer",)),
    **dict.fromkeys((b"c", b"C", b"s", b"S"), ("cookie", *_LETTER_KINDS)),
}


def _is_secret(kind: str, name: bytes, value: bytes, *, is_prose: bool) -> bool:
    match kind:
        case "url":
            return not (is_prose and names.is_placeholder(value[:-1]))
        case "bearer":
            return any(char in b"0123456789=" for char in value) and (len(value) >= 16 or not is_prose)
        case "element":
            return not is_prose or names.is_likely(name, b'"' + value.strip() + b'"')
        case "named":
            return not names.is_count(name, value) and (not is_prose or names.is_likely(name, value))
        case "hinted":
            return names.is_likely(name, value)
        case _:
            return True


_LINE_OF_KEY = re.compile(rb"KEY(?: BLOCK)?-----.*?[A-Za-z0-9+/=]{6}", re.DOTALL)
_OPENING = (b'\\\\\\"', b'\\\\"', b'\\"', b'"', b"'", b"`")
_CLOSING = b"`\"')*@"  # of a URL, the sign behind the password


def _hidden_value(value: bytes) -> bytes:
    """Return what is shown of a value: its quotes stay, and what closes something that was opened before it."""
    quote = next((quote for quote in _OPENING if value.startswith(quote)), b"")
    if quote:
        return quote + _HIDDEN + quote
    return _HIDDEN + value[len(value.rstrip(_CLOSING)) :]
