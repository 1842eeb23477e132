"""Removes secrets from text that people and logs see: known values, published formats, values named as secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import re2

from bot.text import secret_names as names
from bot.text import secret_shapes as shapes
from bot.text.known_values import HIDDEN, known

__all__ = ["HIDDEN", "hide_known", "redact", "redact_always", "redact_cut", "redact_prose", "shown_until"]

_HIDDEN = HIDDEN.encode()
_NESTED = 3  # a value that is no secret may have one in it, and so on
_MAX_MEMORY = 64 << 20  # bytes, of which a pattern uses what its texts need; with too little it gets slow
_SHORT_CHARS = 11  # no token is that short: a word at which a text was cut off


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
    """Return an answer or a file without secrets, in linear time; with REDACT=trace and off, without known values only.

    Of values named as secrets only those are hidden that do not read like words, code or a stand-in.
    """
    text = hide_known(text)
    return _without_secrets(text, is_prose=True) if known.mode == "on" else text


def redact_cut(text: str) -> str:
    """Return the same for a text that broke off: at its end is no part of a secret that was not finished."""
    data = text.encode("utf-8", "surrogatepass")
    end = shown_until(data)
    rest = data[end:].decode("utf-8", "surrogatepass")
    shown = redact_prose(data[:end].decode("utf-8", "surrogatepass"))
    return shown + (rest if len(rest) <= _SHORT_CHARS and rest.isalpha() else HIDDEN if rest else "")


def hide_known(text: str) -> str:
    """Return the text without the values that this process keeps secret, however they are encoded."""
    return known.hide(text)


def shown_until(data: bytes) -> int:
    """Return how much of a UTF-8 text that goes on can be redacted and shown: no secret can begin in it and go on.

    The last word is left out, and so is all from the beginning of a secret that may have more than one word.
    """
    end = _last_word(data, len(data))
    spans = known.spans(data)
    has_key = shapes.KEY_SIGN in data
    if known.mode == "on" and (has_key or _pattern("anything").search(data)):
        growing = _pattern("growing").search(data)
        spans += [match.span() for match in _pattern("all").finditer(data)]
        spans += [match.span() for match in _pattern("key").finditer(data)] if has_key else []
        spans += [(growing.start(), len(data))] if growing else []
    for start, stop in sorted(spans, reverse=True):
        if start < end and (stop > end or stop == len(data)):
            end = _last_word(data, start)
    return end


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
_GROWING = rf"(?:(?-i:{shapes.GROWING})|{names.GROWING})\z"


# Compiled when they are first needed, which takes some milliseconds each; a key for each, since the texts are long.
_PATTERNS: Mapping[str, str] = {
    "all": _ALL,
    "growing": _GROWING,
    "anything": f"{_GROWING}|{_ALL}",
    "whole": _WHOLE,
    "jwt": _JWT,
    "key": rf"(?-i:{shapes.KEY})",
    "word": r"[!-~]+\z",
    **{kind: f"({name})({value})" for kind, (name, value) in _VALUES.items()},
}


@cache
def _pattern(key: str) -> Any:
    options: Any = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes: ASCII is itself in UTF-8, all else is "not ASCII"
    options.case_sensitive = False
    options.max_mem = _MAX_MEMORY
    return re2.compile(_PATTERNS[key].encode(), options)


# --- hiding ----------------------------------------------------------------------------------------------------


def _without_secrets(text: str, *, is_prose: bool) -> str:
    data = given = text.encode("utf-8", "surrogatepass")
    if shapes.KEY_SIGN in data:  # first: a block of several lines may be the value of a name
        data = _pattern("key").sub(_hidden_key, data)
    if data == given and _pattern("all").search(data) is None:
        return text
    return b"".join(_pieces(data, is_prose=is_prose, depth=0)).decode("utf-8", "surrogatepass")


def _pieces(data: bytes, *, is_prose: bool, depth: int) -> Iterator[bytes]:
    at = 0
    for match in _pattern("all").finditer(data):
        start, end = match.span()
        yield data[at:start]
        yield _shown(data[start:end], is_prose=is_prose, depth=depth)
        at = end
    yield data[at:]


def _shown(found: bytes, *, is_prose: bool, depth: int) -> bytes:
    if _pattern("whole").fullmatch(found):
        return _HIDDEN
    if _pattern("jwt").fullmatch(found):
        return _HIDDEN if found.count(b".") >= 2 else found
    kind, name, value = _parts(found)
    if _is_secret(kind, name, value, is_prose=is_prose):
        return name + _hidden_value(value)
    if depth == _NESTED:
        return name + _HIDDEN
    return name + b"".join(_pieces(value, is_prose=is_prose, depth=depth + 1))


def _hidden_key(match: Any) -> bytes:
    """Return what is shown of a block; a first line that is only talked about has no key behind it."""
    found: bytes = match.group(0)
    return _HIDDEN if _LINE_OF_KEY.search(found) else found


def _parts(found: bytes) -> tuple[str, bytes, bytes]:
    """Return which kind of named value it is, its name and its value."""
    for kind in _VALUES:
        if match := _pattern(kind).fullmatch(found):
            return kind, match.group(1), match.group(2)
    raise AssertionError("unreachable: it is one of these kinds")


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
