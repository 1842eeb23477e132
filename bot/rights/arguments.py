"""The arguments of a call as rules see them: what a JSON pointer finds, and the schema's defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_MAX_DEPTH = 20
_MAX_POINTER_CHARS = 500


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a pointer. `is_blocked`: the way to it leads through something that has no such members."""

    values: list[Any] = field(default_factory=list[Any])
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Pointer:
    """A JSON pointer (RFC 6901) in which the segment `*` means any element of an array, and any member of an object."""

    text: str
    segments: tuple[str, ...]
    name: str | None = None  # of the argument that it points at, where it is a whole one

    @classmethod
    def parse(cls, text: str) -> Pointer:
        """Return the pointer. Raises ValueError with a phrase on what is wrong."""
        if not text.startswith("/"):
            raise ValueError("it does not begin with a slash")
        if len(text) > _MAX_POINTER_CHARS:
            raise ValueError(f"it has more than {_MAX_POINTER_CHARS} characters")
        if re.search(r"~(?![01])", text):
            raise ValueError("a tilde is written ~0, a slash inside a name ~1")
        segments = tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
        return cls(text, segments, segments[0] if len(segments) == 1 and segments != ("*",) else None)

    def find(self, arguments: Mapping[str, Any]) -> Found:
        """Return all that the pointer finds. What is left out on the way is nothing, and blocks nothing."""
        values: list[Any] = [arguments]
        is_blocked = False
        for segment in self.segments:
            is_blocked |= any(not _has_members(value, segment) for value in values)
            values = [member for value in values for member in _members(value, segment)]
        return Found(values, is_blocked)


def _has_members(value: object, segment: str) -> bool:
    if isinstance(value, list):
        return segment == "*" or _INDEX.fullmatch(segment) is not None
    return isinstance(value, Mapping)


def _members(value: object, segment: str) -> Iterator[Any]:
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        if segment == "*":
            yield from members.values()
        elif segment in members:
            yield members[segment]
    elif isinstance(value, list):
        elements = cast("list[Any]", value)
        if segment == "*":
            yield from elements
        elif _INDEX.fullmatch(segment) and int(segment) < len(elements):
            yield elements[int(segment)]


def with_defaults(arguments: Mapping[str, Any], schema: object) -> Mapping[str, Any] | None:
    """Return the arguments with the schema's `default` for each that is left out, also inside of objects and arrays.

    A default of null adds nothing. What is not understood of the schema, which is the server's, adds nothing.
    Returns None, which rules take for arguments that cannot be compared, where that would be too much work.
    """
    try:
        return _Defaults(schema).fill(arguments, schema, depth=0)
    except _TooMuchError:
        return None


class _TooMuchError(Exception):
    """The arguments or the schema are larger than any that is meant well."""


class _Defaults:
    """Fills in the defaults of one schema; its references are looked up in the whole of it."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _MAX_STEPS

    def fill(self, arguments: Mapping[str, Any], schema: object, *, depth: int) -> Mapping[str, Any]:
        filled = dict(arguments)
        for name, below in self._properties(schema):
            self._step(depth)
            if name in filled:
                filled[name] = self._value(filled[name], below, depth=depth + 1)
            elif (default := self._default(below)) is not None:  # what the default itself leaves out has defaults too
                filled[name] = self._value(default, below, depth=depth + 1)
        return filled

    def _step(self, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _TooMuchError

    def _value(self, value: Any, schema: object, *, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self.fill(cast("Mapping[str, Any]", value), schema, depth=depth)
        if isinstance(value, list):
            return self._elements(cast("list[Any]", value), schema, depth=depth)
        return value

    def _elements(self, elements: list[Any], schema: object, *, depth: int) -> list[Any]:
        items = next((part["items"] for part in self._parts(schema) if "items" in part), None)
        if items is None:
            return elements
        self._step(depth)
        return [self._value(element, items, depth=depth + 1) for element in elements]

    def _properties(self, schema: object) -> Iterator[tuple[str, object]]:
        for part in self._parts(schema):
            properties = part.get("properties")
            if isinstance(properties, Mapping):
                yield from cast("Mapping[str, object]", properties).items()

    def _default(self, schema: object) -> object:
        return next((part["default"] for part in self._parts(schema) if part.get("default") is not None), None)

    def _parts(self, schema: object, *, hops: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yield the schema, those that it refers to, and those of which all (or one or any) apply."""
        if not isinstance(schema, Mapping) or hops > _MAX_HOPS:
            return
        self._step(0)
        part = cast("Mapping[str, Any]", schema)
        yield part
        if isinstance(reference := part.get("$ref"), str):
            yield from self._parts(self._referred(reference), hops=hops + 1)
        for key in ("allOf", "anyOf", "oneOf"):
            if isinstance(branches := part.get(key), list):
                for branch in cast("list[object]", branches)[:_MAX_BRANCHES]:
                    yield from self._parts(branch, hops=hops + 1)

    def _referred(self, reference: str) -> object:
        if reference != "#" and not reference.startswith("#/"):
            return None
        found: object = self._root
        for segment in reference[2:].split("/") if reference != "#" else ():
            name = segment.replace("~1", "/").replace("~0", "~")
            found = cast("Mapping[str, object]", found).get(name) if isinstance(found, Mapping) else None
        return found


_MAX_HOPS = 4  # from a schema over references and branches to the one that has the properties
_MAX_BRANCHES = 20
_MAX_STEPS = 100_000  # some 50 ms
