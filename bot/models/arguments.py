"""The arguments of a tool call, read for what they plainly mean."""

from __future__ import annotations

import json
import re
from typing import Any, cast

_FENCE = re.compile(r"\s*```[a-zA-Z]*\s*(.*?)\s*```\s*", re.DOTALL)
_MAX_WRAPS = 3  # strings around the object


def read_arguments(text: str) -> str:
    """Return the arguments as the text of one JSON object; as they are where no object is plainly meant.

    Models and gateways write no arguments as `null` or nothing, put the object into a JSON string
    (https://github.com/vllm-project/vllm/issues/54964) or a code fence, and repeat it whole.
    """
    if not text.strip():
        return "{}"
    meant = _read(text, wraps=0)
    if meant is None:
        return text
    return text if meant == _load(text) else json.dumps(meant, ensure_ascii=False)


def is_whole_object(text: str) -> bool:
    """Return whether the text is one JSON object."""
    return isinstance(_load(text), dict)


def _read(text: str, *, wraps: int) -> dict[str, Any] | None:
    fenced = _FENCE.fullmatch(text)
    text = fenced[1] if fenced else text
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


def _read_repeated(text: str) -> dict[str, Any] | None:
    """Return the object that follows itself, or an empty one; None if the text is anything else."""
    decoder, at, meant = json.JSONDecoder(), 0, cast("dict[str, Any]", {})
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or (meant and value and value != meant):
            return None
        meant = cast("dict[str, Any]", value) or meant
        at += len(text[at:]) - len(text[at:].lstrip())
    return meant


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
