"""The error codes that Slack documents for the methods with which the bot posts; `error_codes.json` names the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DATA: Any = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
METHODS: tuple[str, ...] = tuple(_DATA["methods"])
PASSING: frozenset[str] = frozenset(_DATA["passing"])  # faults and limits, which pass by themselves


def error_codes(method: str) -> list[str]:
    """Return all codes of a method, each once, in order."""
    return sorted({*_DATA["methods"][method], *_DATA["common"]})
