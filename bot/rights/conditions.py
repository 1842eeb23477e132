"""The conditions of a rule on the arguments of a call.

Types are strict: a boolean is no number, and "5" is not 5. JSON has one type of numbers, so 1 and 1.0 are equal. A
value of another type than the condition names (also null) cannot be compared: then the condition holds where the rule
asks or denies, and does not where it allows. An argument that is left out, and for which the schema has no default, is
no value: only `exists = false` holds.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from bot.rights.arguments import Pointer

# Whether a value is as it should be; None: it cannot be compared.
Test = Callable[[Any], bool | None]


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold of what a pointer finds: of `*`, that one of the values passes all tests."""

    pointer: Pointer
    tests: tuple[Test, ...] = ()
    exists: bool | None = None
    text: str = field(default="", compare=False)  # in words, for people

    def holds(self, arguments: Mapping[str, Any] | None, *, in_doubt: bool) -> bool:
        """Return whether the condition holds, and `in_doubt` where that cannot be said."""
        if arguments is None:
            return in_doubt
        found = self.pointer.find(arguments)
        if self.exists is False:
            return not found.values and (in_doubt or not found.is_blocked)
        results = [self.passes(value) for value in found.values]
        return True in results or (in_doubt and (found.is_blocked or None in results))

    def passes(self, value: Any) -> bool | None:
        """Return whether one value is as it should be; None where it cannot be compared."""
        results = [test(value) for test in self.tests]
        return False if False in results else None if None in results else True


def equals(expected: Any, *, ignore_case: bool = False) -> Test:
    """Return the test on one value."""
    return one_of([expected], ignore_case=ignore_case)


def one_of(expected: list[Any], *, ignore_case: bool = False) -> Test:
    """Return the test on any of the values."""
    kinds = frozenset(map(kind, expected))
    texts = frozenset(_folded(item, ignore_case) for item in expected if isinstance(item, str))
    others = [item for item in expected if not isinstance(item, str)]

    def test(value: Any) -> bool | None:
        if isinstance(value, str):
            return _folded(value, ignore_case) in texts if texts else None
        return any(same(value, item) for item in others) if kind(value) in kinds else None

    return test


def glob(pattern: str, *, ignore_case: bool = False) -> Test:
    """Return the test on a pattern with `*`, `?` and `[...]`, of the whole text."""
    compiled = re.compile(fnmatch.translate(_folded(pattern, ignore_case)))

    def test(value: Any) -> bool | None:
        return compiled.match(_folded(value, ignore_case)) is not None if isinstance(value, str) else None

    return test


def at_least(bound: float) -> Test:
    """Return the test on a lower bound."""
    return lambda value: value >= bound if kind(value) == "number" else None


def at_most(bound: float) -> Test:
    """Return the test on an upper bound."""
    return lambda value: value <= bound if kind(value) == "number" else None


def kind(value: object) -> str:
    """Return the JSON type of a value; "none" for null and for what JSON does not have, as NaN."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "number"
        case float():
            return "number" if math.isfinite(value) else "none"
        case str():
            return "text"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "none"


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal, with strict types all the way down."""
    if kind(one) != kind(other) or kind(one) == "none":
        return False
    if isinstance(one, list):
        mine, theirs = cast("list[Any]", one), cast("list[Any]", other)
        return len(mine) == len(theirs) and all(same(*pair) for pair in zip(mine, theirs, strict=True))
    if isinstance(one, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    return one == other


def not_json(value: object) -> Iterator[object]:
    """Yield what of a TOML value no JSON argument can be: dates, times, infinities."""
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from not_json(item)
    elif isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            yield from not_json(item)
    elif kind(value) == "none":
        yield value


def _folded(text: str, ignore_case: bool) -> str:
    return text.casefold() if ignore_case else text
