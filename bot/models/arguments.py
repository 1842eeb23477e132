"""The arguments of a tool call, read for what they plainly mean."""

from __future__ import annotations

import json
from typing import Any, cast

_FENCE = "```"
_MAX_REPEATS = 10
_MAX_WRAPS = 3  # strings around the object


def read_arguments(text: str) -> str:
    """Return the arguments as the text of one JSON object; as they are where no object is plainly meant.

    Models and gateways write no arguments as `null` or nothing, put the object into a JSON string
    (https://github.com/vllm-project/vllm/issues/54964) or a code fence, and repeat it whole.
    """
    if not text.strip():
        return "{}"
    meant = _read(text, wraps=0)
    if meant is None or meant == _load(text):
        return text
    try:
        return json.dumps(meant, ensure_ascii=False)
    except RecursionError:
        return text


def is_whole_object(text: str) -> bool:
    """Return whether the text is one JSON object."""
    return isinstance(_load(text), dict)


def _read(text: str, *, wraps: int) -> dict[str, Any] | None:
    text = _without_fence(text.strip())
    try:
        value: object = json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        return _read_repeated(text)
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    if value is None or value == "":
        return {}
    return _read(value, wraps=wraps + 1) if isinstance(value, str) and wraps < _MAX_WRAPS else None


def _without_fence(text: str) -> str:
    if not (text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) > 2 * len(_FENCE)):
        return text
    first_line, _, rest = text.removesuffix(_FENCE).partition("\n")
    return rest.strip() if first_line.removeprefix(_FENCE).isalpha() or first_line == _FENCE else text.strip("`")


def _read_repeated(text: str) -> dict[str, Any] | None:
    """Return the object that follows itself, or an empty one; None if the text is anything else."""
    decoder, at, meant = json.JSONDecoder(), 0, cast("dict[str, Any]", {})
    for _ in range(_MAX_REPEATS):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or (meant and value and value != meant):
            return None
        meant = cast("dict[str, Any]", value) or meant
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return meant
    return None


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
