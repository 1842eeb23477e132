"""Moments in the core's own sentences, which platforms show in the reader's own time zone where they can.

A moment is a Markdown link whose text says it by the operator's clocks: `[2026-11-30 00:00 UTC](time:SECONDS)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, tzinfo

SCHEME = "time:"
_MOMENT = re.compile(r"\[([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} [A-Za-z0-9_+/-]{1,64})\]\(time:([0-9]{1,12})\)")


def moment(at: float, zone: tzinfo) -> str:
    """Return the moment as Markdown."""
    return f"[{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M} {zone}](time:{int(at)})"


def with_moments(text: str, show: Callable[[int, str], str]) -> str:
    """Return the text with each moment as `show` gives it, of its seconds since the epoch and its words."""
    return _MOMENT.sub(lambda found: show(int(found[2]), found[1]), text)


def plain_moments(text: str) -> str:
    """Return the text with the moments by the operator's clocks."""
    return with_moments(text, lambda _, words: words)
