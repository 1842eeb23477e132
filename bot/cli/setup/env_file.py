"""A `.env` with some of its settings changed: comments, order and everything else stay as they are, byte by byte."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from bot.domain.errors import SettingsError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@+,=~%?&*\\-]*")
# What stands in front of a value, and the quoted values, as python-dotenv reads them.
_HEAD = re.compile(r"\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=#\s]+)[^\S\r\n]*=[^\S\r\n]*")
_QUOTED = re.compile(r"""'(?:\\'|[^'])*'|"(?:\\"|[^"])*\"""")
_COMMENTED = re.compile(r"\s*#[^\S\r\n]*(?:export[^\S\r\n]+)?([A-Za-z_][A-Za-z0-9_]*)[^\S\r\n]*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that a merge changes; None: it is not set."""

    name: str
    before: str | None
    after: str | None


def merge(text: str, wanted: Mapping[str, str | None]) -> tuple[str, Sequence[Change]]:
    """Return the file's text with these settings, and what of them is new; a setting of None is commented out.

    A setting that is there is changed where it stands. A new one goes below the comment that shows it, or to the end.

    Raises:
        SettingsError: A value cannot be written, or the file has a place after which nothing can be added.
    """
    merged, changes = text, list[Change]()
    for name, value in wanted.items():
        before = values_of(merged).get(name)
        if before == value:
            continue
        merged = _without(merged, name) if value is None else _with(merged, name, value)
        changes.append(Change(name=name, before=before, after=value))
    _check(text, merged, wanted)
    return merged, changes


def values_of(text: str) -> Mapping[str, str]:
    """Return what a file of this text sets, by names in upper case as the settings read them."""
    values = dotenv_values(stream=_stream(text))
    return {name.upper(): value for name, value in values.items() if value}


def _stream(text: str) -> io.StringIO:
    return io.StringIO(text, newline="")


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(_stream(text)))


def _with(text: str, name: str, value: str) -> str:
    bindings = _bindings(text)
    pieces = [binding.original.string for binding in bindings]
    end = "\r\n" if "\r\n" in text else "\n"
    own = [number for number, binding in enumerate(bindings) if _sets(binding, name)]
    if own:
        pieces[own[-1]] = _changed(pieces[own[-1]], _written(name, value))
        return "".join(pieces)
    line = f"{name}={_written(name, value)}{end}"
    shown = [number for number, piece in enumerate(pieces) if _shows(piece, bindings[number], name)]
    at = shown[-1] + 1 if shown else len(pieces)
    before = "".join(pieces[:at])
    gap = end if before and not before.endswith(("\n", "\r")) else ""
    return f"{before}{gap}{line}{''.join(pieces[at:])}"


def _without(text: str, name: str) -> str:
    return "".join(
        _commented(binding.original.string) if _sets(binding, name) else binding.original.string
        for binding in _bindings(text)
    )


def _sets(binding: Binding, name: str) -> bool:
    key = binding.key
    return key is not None and key.upper() == name and not binding.error and "=" in binding.original.string


def _shows(piece: str, binding: Binding, name: str) -> bool:
    found = _COMMENTED.match(piece) if binding.key is None and not binding.error else None
    return found is not None and found[1].upper() == name


def _changed(piece: str, written: str) -> str:
    """Return the line with another value; what is in front of the value and the comment behind it stay."""
    head = _HEAD.match(piece)
    assert head is not None, "it sets something"
    rest = piece[head.end() :]
    quoted = _QUOTED.match(rest)
    if quoted:
        return f"{head[0]}{written}{rest[quoted.end() :]}"
    line = re.match(r"[^\r\n]*", rest)
    old = re.sub(r"\s+#.*", "", line[0] if line else "").rstrip()
    return f"{head[0]}{written}{rest[len(old) :]}"


def _commented(piece: str) -> str:
    content = piece.lstrip()
    return piece[: len(piece) - len(content)] + re.sub(r"(?m)^(?=[^\r\n])", "# ", content)


def _written(name: str, value: str) -> str:
    """Return the value as python-dotenv reads it back; `${` would otherwise be a variable to it."""
    if not value.isprintable():
        raise SettingsError(f"{name} has a character that cannot be shown, which no file of settings can hold.")
    literal = value.replace("${", "${:-$}{")
    if literal and _PLAIN.fullmatch(literal):
        return literal
    escaped = literal.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check(old: str, new: str, wanted: Mapping[str, str | None]) -> None:
    """Raise SettingsError unless the new text sets what is wanted, and all else as the old one did."""
    if any(values_of(new).get(name) != (value or None) for name, value in wanted.items()):
        raise SettingsError(_UNSAFE)
    if _others(old, wanted) != _others(new, wanted):
        raise SettingsError(_UNSAFE)


def _others(text: str, wanted: Mapping[str, str | None]) -> Sequence[tuple[str, str | None]]:
    return [(one.key, one.value) for one in _bindings(text) if one.key is not None and one.key.upper() not in wanted]


_UNSAFE = (
    "The .env cannot be changed safely: it has a line that is not closed, or a value ends in a backslash. "
    "Look for a quotation mark that has no partner, and correct it."
)
