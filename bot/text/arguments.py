"""The arguments of a call, as a model or a person wrote them."""

from __future__ import annotations

import json
from typing import Any, cast


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
    return cast("dict[str, Any]", parsed)
