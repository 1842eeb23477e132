"""What a platform never sends: its own payloads, with anything in the place of anything."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, cast

from hypothesis import strategies as st

from tests.payloads.reading import samples

Path = tuple[str | int, ...]

_INNER = ("elements", "text", "components", "blocks", "message", "fields")
DIGITS = 5_000  # of a number; Python reads and writes no more than 4,300 without being asked to


def nested(depth: int) -> Any:
    """Return lists and objects within each other."""
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {_INNER[level % len(_INNER)]: value}
    return value


# Of each kind of value one that code may trip over; built once, shared by all mutations.
VALUES: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    10**DIGITS,
    1e308,
    float("inf"),
    float("nan"),
    "",
    " ",
    "x",
    "many",
    "\x00",
    "\ud800",
    "\u202e",
    "9" * DIGITS,
    "-" + "9" * DIGITS,
    "1e999",
    "nan",
    "٣" * 20,  # decimal digits that are not ASCII
    "²",  # a digit to str.isdigit, none to int
    "<@U1>" * 500,
    "<" * 2_000,
    "[" * 2_000,
    "`" * 2_000,
    '{"page": "x", "turn": "' + "9" * DIGITS + '", "thread": [], "text": null}',
    "[" * 500 + "]" * 500,
    "tb:" * 50,
    ":",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    [],
    {},
    [None, 1, "x", [], {}],
    {"type": None, "text": [], "id": {}, "value": 1, "elements": "x", "name": 2},
    nested(200),
)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Yield the way to each value in a payload, the payload itself first."""
    yield at
    match value:
        case dict():
            for name, inner in cast("dict[str, Any]", value).items():
                yield from paths(inner, (*at, name))
        case list():
            for index, inner in enumerate(cast("list[Any]", value)):
                yield from paths(inner, (*at, index))
        case _:
            pass


def changed(payload: Any, changes: Sequence[tuple[Path, Any]]) -> Any:
    """Return the payload with other values at those places; a place that is gone by then is left out."""
    result = copy.deepcopy(payload)
    for path, value in changes:
        if not path:
            continue  # a delivery is an object: the libraries let nothing else through
        inner = result
        try:
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = copy.deepcopy(value)  # later changes may reach into it
        except (KeyError, IndexError, TypeError):
            continue
    return result


@st.composite
def payloads(draw: st.DrawFn, platform: str) -> Any:
    """Return one of the platform's payloads with some of its values changed."""
    base, ways = draw(st.sampled_from(_bases(platform)))
    changes = draw(st.lists(st.tuples(st.sampled_from(ways), st.sampled_from(VALUES)), min_size=1, max_size=4))
    return changed(base, changes)


_known: dict[str, list[tuple[Any, list[Path]]]] = {}


def _bases(platform: str) -> list[tuple[Any, list[Path]]]:
    if platform not in _known:
        found: list[Any] = []
        for sample in samples(platform):
            payload: Any = sample.payload
            found += cast("list[Any]", payload) if isinstance(payload, list) else [payload]
        _known[platform] = [(each, list(paths(each))) for each in found]
    return _known[platform]
