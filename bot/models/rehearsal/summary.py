"""The rehearsal model's summary: by fixed rules it keeps what people stated and the files that were written. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

_STATEMENT = re.compile(
    r"\b(?:is|are|was|were|am|remember|note|decided?|agreed?|called|named|prefer|must|will|needs?|promised?)\b|'s\b",
    re.IGNORECASE,
)
_FILE = re.compile(r'"(?:filename|path|file)":\s*"([^"]+)"')
_MAX_CHARS = 200  # of one point
_MAX_POINTS = 40  # the first half of them and the last are kept


def sum_up(question: str) -> str:
    """Return the summary that a request asks for: the points of the one so far, and those of the messages since.

    `question` has the points as lines that begin with "- " and each message as a line of JSON.
    """
    points = list(dict.fromkeys(_points(question)))
    if len(points) > _MAX_POINTS:
        points = [*points[: _MAX_POINTS // 2], *points[-_MAX_POINTS // 2 :]]
    return "\n".join(points) or "- Nothing was stated so far."


def _points(question: str) -> Iterator[str]:
    for line in question.split("\n"):
        if line.startswith("- ") and line != "- Nothing was stated so far.":
            yield line
        elif line.startswith("{"):
            yield from _points_of_message(line)


def _points_of_message(line: str) -> Iterator[str]:
    try:
        message: object = json.loads(line)
    except ValueError:
        return
    if not isinstance(message, dict):
        return
    fields = cast("dict[str, Any]", message)
    said = " ".join(str(fields.get("said", "")).split())
    if said and not said.endswith("?") and _STATEMENT.search(said):
        speaker_id = f" ({fields['id']})" if fields.get("id") else ""
        yield f"- {fields.get('user') or 'The user'}{speaker_id} said: {said[:_MAX_CHARS]}"
    if "save" in str(fields.get("tool", "")):
        for name in _FILE.findall(str(fields.get("arguments", ""))):
            yield f"- File written: {name[:_MAX_CHARS]}"
