"""Notices that a server sends by the thousand: of each kind, only so many a second are worth the work."""

from __future__ import annotations

import json
import time
from collections.abc import Hashable
from typing import Any, cast

from cachetools import LRUCache

GAP_S = 0.05  # between two notices of one call
_NOTICES = ("notifications/progress", "notifications/message")
_NAMES = tuple(f'"{method}"'.encode() for method in _NOTICES)
_MAX_BYTES = 8_000  # what is larger costs its sender enough
_MAX_CALLS = 1_000  # remembered at once


class NoticeGate:
    """Admits the notices of one connection: of each call, those on progress and the log at most one every `GAP_S`."""

    def __init__(self) -> None:
        self._last: LRUCache[Hashable, float] = LRUCache(_MAX_CALLS)  # when one was let through, by kind and call

    def admits(self, raw: bytes) -> bool:
        """Return whether the message is to be read; all but such notices are."""
        if len(raw) > _MAX_BYTES or not any(name in raw for name in _NAMES):
            return True
        kind, now = _kind(raw), time.monotonic()
        if kind is None:
            return True
        if now - self._last.get(kind, -GAP_S) < GAP_S:
            return False
        self._last[kind] = now
        return True


def _kind(raw: bytes) -> Hashable | None:
    try:
        document: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    message = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if "id" in message or message.get("method") not in _NOTICES:
        return None
    parameters: object = message.get("params")
    token = cast("dict[str, Any]", parameters).get("progressToken") if isinstance(parameters, dict) else None
    return f"{message['method']} {token}"
