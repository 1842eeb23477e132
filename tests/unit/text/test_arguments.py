"""The arguments of a call: what is refused before any rule or server sees it."""

from __future__ import annotations

import pytest

from bot.text.arguments import MAX_NESTING, parse_arguments


def nested(levels: int, *, by: str) -> str:
    """Return arguments of so many levels, the outermost of which is an object."""
    opening, closing = {"objects": ('{"a": ', "}"), "lists": ("[", "]")}[by]
    return '{"a": ' + opening * (levels - 1) + "1" + closing * (levels - 1) + "}"


@pytest.mark.parametrize("by", ["objects", "lists"])
def test_arguments_of_any_sensible_depth_are_taken_and_deeper_ones_are_refused_with_the_bound(by: str) -> None:
    assert "a" in parse_arguments(nested(MAX_NESTING, by=by))
    with pytest.raises(ValueError, match=f"are nested more than {MAX_NESTING} levels deep"):
        parse_arguments(nested(MAX_NESTING + 1, by=by))


def test_many_lists_beside_each_other_are_not_deep() -> None:
    assert len(parse_arguments('{"a": [' + ",".join("[]" for _ in range(10 * MAX_NESTING)) + "]}")["a"]) == 2_000
