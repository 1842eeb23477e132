"""Which of the values that a program or a request gets are secrets: by their names, or by how they look."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

_SECRET_NAME = re.compile(
    r"pass(?:w|phrase|code|$|_)|pwd|secret|token|credential|cookie|auth|(?:api|access|private|account|secret|subscription)"
    r"[ _-]?key|^key$|_key$|-key$|apikey|connection_?string|dsn$|webhook",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(
    r"tokens|path|file|dir|url$|uri$|endpoint|host$|socket|_sock$|timeout|type$", re.IGNORECASE
)
_SCHEME = re.compile(r"^(?:basic|bearer|token|apikey|digest)\s+", re.IGNORECASE)
_RANDOM = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[A-Za-z0-9_+=.~-]{20,}")  # no path and no sentence
_RANDOM_SEGMENT = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[\w.~-]{25,}")  # some hosted servers put the key into the path


def is_secret_name(name: str) -> bool:
    """Return whether a value with this name is a secret."""
    return bool(_SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name))


def of_named(values: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets among values with names: variables of a program, headers of a request."""
    for name, value in values.items():
        if "://" in value:
            yield from of_url(value)
        elif is_secret_name(name):
            yield value
            yield _SCHEME.sub("", value)
        elif _RANDOM.fullmatch(value):
            yield value


def of_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the secrets among a program's arguments: `--token X`, `--token=X`, and what looks like one."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        name, _, value = argument.partition("=")
        if argument.startswith("-") and value:
            yield from of_named({name.lstrip("-"): value})
        elif not argument.startswith("-"):
            yield from of_named({before.lstrip("-") if before.startswith("-") else "": argument})


def of_url(url: str) -> Iterator[str]:
    """Yield the secrets in a URL: its password, named ones of its query, and what looks like one in its path."""
    try:
        parts = urlsplit(url)
        password, query = parts.password, parse_qsl(parts.query)
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    for name, value in query:
        if _SECRET_NAME.search(name) or _RANDOM.fullmatch(value):
            yield value
    yield from (segment for segment in parts.path.split("/") if _RANDOM_SEGMENT.fullmatch(segment))
