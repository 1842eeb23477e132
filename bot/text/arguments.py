"""The arguments of a call, as a model or a person wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

# Python's own bound is near 1,000 in some versions and above 9,000 in others, too much for rules and servers.
MAX_NESTING = 200


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the arguments; an empty text means none.

    Raises:
        ValueError: It is not one JSON object, or it holds what JSON cannot carry; the phrase follows "the arguments".
    """
    try:
        parsed: object = json.loads(text) if text.strip() else {}
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()  # NaN, infinity, half characters
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise ValueError(f"are not valid JSON ({said})") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"are a JSON {type(parsed).__name__}")  # noqa: TRY004  (the caller corrects a text)
    arguments = cast("dict[str, Any]", parsed)
    if text.count("{") + text.count("[") > MAX_NESTING and _is_deeper(arguments, MAX_NESTING):
        raise ValueError(f"are nested more than {MAX_NESTING} levels deep")
    return arguments


def _is_deeper(value: object, levels: int) -> bool:
    """Return whether lists and objects are in one another more than so many levels deep."""
    row: list[object] = [value]
    for _ in range(levels):
        row = [inner for outer in row for inner in _within(outer)]
    return any(isinstance(outer, dict | list) for outer in row)


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()
