"""On which line of a TOML file something is; `tomllib` does not say. The text is one that `tomllib` could read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, cast

from bot.rights.findings import Path

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$")
_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_MULTILINE = ('"""', "'''")


class Lines:
    """The lines of one file. What cannot be found is on the line of the table that holds it."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")  # TOML knows no other ends of lines
        self._starts: dict[Path, int] = {}
        for path, line in self._scan():
            for end in range(1, len(path) + 1):  # a table is where the first of its keys is
                self._starts.setdefault(path[:end], line)

    def line_of(self, path: Path, text: str = "") -> int:
        """Return the line of what is at the path, from 1; with `text`, the first line from there on that has it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self._starts), None)
        if known is None:
            return 1
        start = self._starts[known]
        return next((at for at in self._block(start) if text in self._lines[at - 1]), start) if text else start

    def _block(self, start: int) -> Iterator[int]:
        """Yield the lines of a table or value: up to the next one that is known."""
        end = min((line for line in self._starts.values() if line > start), default=len(self._lines) + 1)
        yield from range(start, end)

    def _scan(self) -> Iterator[tuple[Path, int]]:
        table: Path = ()
        counts: dict[Path, int] = {}
        closing = ""
        for number, line in enumerate(self._lines, start=1):
            if closing:
                closing = "" if closing in line else closing
                continue
            if (header := _HEADER.match(line)) and (keys := _keys(f"[{header[2]}]")):
                table = _resolve(keys, counts, is_array=header[1] == "[[")
                yield table, number
            elif (key := _KEY.match(line)) and (keys := _keys(f"{key[1]} = 0")):
                yield (*table, *keys), number
            closing = next((mark for mark in _MULTILINE if line.count(mark) % 2), "")


def _resolve(keys: Path, counts: dict[Path, int], *, is_array: bool) -> Path:
    """Return the path of a table, with the indexes of the arrays of tables on its way."""
    path: Path = ()
    for key in keys[:-1]:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path])
    path = (*path, keys[-1])
    if is_array:
        counts[path] = counts.get(path, -1) + 1
    return (*path, counts[path]) if path in counts else path


def _keys(text: str) -> Path:
    """Return the keys of a table's header or of a key with dots; nothing where the line only looks like one."""
    try:
        found: Any = tomllib.loads(text)
    except ValueError:
        return ()
    keys: list[str] = []
    while isinstance(found, dict) and found:
        key, found = next(iter(cast("dict[str, Any]", found).items()))
        keys.append(key)
    return tuple(keys)
