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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bot.rights.arguments import Pointer

# Whether a value is as it should be; None: it cannot be compared.
Test = Callable[[Any], bool | None]


_LEFT_OUT = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold of what a pointer finds: of `*`, that one of the values passes the test."""

    pointer: Pointer
    test: Test
    exists: bool | None = None
    text: str = field(default="", compare=False)  # in words, for people

    def holds(self, arguments: Mapping[str, Any] | None, in_doubt: bool) -> bool:
        """Return whether the condition holds, and `in_doubt` where that cannot be said."""
        if arguments is None:
            return in_doubt
        if self.pointer.name is None:
            return self._holds_below(arguments, in_doubt=in_doubt)
        value = arguments.get(self.pointer.name, _LEFT_OUT)
        if value is _LEFT_OUT:
            return self.exists is False
        result = self.test(value)
        return in_doubt if result is None else result

    def _holds_below(self, arguments: Mapping[str, Any], *, in_doubt: bool) -> bool:
        found = self.pointer.find(arguments)
        if self.exists is False:
            return not found.values and (in_doubt or not found.is_blocked)
        results = [self.test(value) for value in found.values]
        return True in results or (in_doubt and (found.is_blocked or None in results))


def all_of(tests: Sequence[Test]) -> Test:
    """Return the test that a value passes which passes all of them."""
    if len(tests) == 1:
        return tests[0]

    def test(value: Any) -> bool | None:
        results = [each(value) for each in tests]
        return False if False in results else None if None in results else True

    return test


def absent(_value: Any) -> bool:
    """Say of any value that it should not be there."""
    return False


def equals(expected: Any, *, ignore_case: bool = False) -> Test:
    """Return the test on one value."""
    return one_of([expected], ignore_case=ignore_case)


def one_of(expected: list[Any], *, ignore_case: bool = False) -> Test:
    """Return the test on any of the values."""
    texts = frozenset(_folded(item, ignore_case) for item in expected if isinstance(item, str))
    others = [item for item in expected if not isinstance(item, str)]
    kinds = frozenset(map(kind, others))

    def test_other(value: Any) -> bool | None:
        return any(same(value, item) for item in others) if kind(value) in kinds else None

    def test(value: Any) -> bool | None:
        if texts and isinstance(value, str):
            return (value.casefold() if ignore_case else value) in texts
        return test_other(value)

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
