"""What people read of a conversation, without the way in which it is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Call(NamedTuple):
    """A tool call as a trace shows it."""

    sign: str
    server: str
    tool: str


def ended_calls(trace: str) -> Sequence[Call]:
    """Return the ended calls that a trace shows, in its order: their sign, and the names of server and tool."""
    lines = [line.replace("\\", "") for line in trace.splitlines()]
    return [
        Call(sign=sign[0], server="toolbridge" if "toolbridge" in line else "", tool=tool[0])
        for line in lines
        if (sign := re.search("[✓✗]", line)) and (tool := re.search("calculate|save_text_file", line))
    ]


def words(text: str) -> Sequence[str]:
    """Return the words that people read: no markup, no times, and not whose questions they were.

    A picture of a table or a heading differs from place to place; what it says does not.
    """
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", text)
    text = re.sub(r"\*\*(you|Ada)\*\*", "", text)
    text = re.sub(r"^```\w+$", "```", text, flags=re.MULTILINE)
    return re.findall(r"\w+(?:\.\w+)*", text.replace("\\", ""))
