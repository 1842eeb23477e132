"""The lines that were typed in the terminal, as prompt_toolkit's FileHistory keeps them, each with its conversation.

An entry is a comment with the local time (and here the conversation), then its lines, each behind a plus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

_HEADER = re.compile(r"# (?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)(?: (?P<conversation>\S+))?")


def entry_text(line: str, *, at: datetime, conversation: str) -> str:
    """Return what is appended for a line that was typed; `conversation` is `str(ConversationKey)`."""
    lines = "".join(f"+{each}\n" for each in line.split("\n"))
    return f"\n# {at} {conversation}\n{lines}"


def without_conversation(text: str, conversation: str) -> str:
    """Return the entries of other conversations. One that does not say where it was typed goes too."""
    return "".join(entry for entry, _, where in _entries(text) if where and where != conversation)


def without_older(text: str, before: float) -> str:
    """Return the entries that were typed since that time, in seconds since the epoch; one without a time goes too."""
    return "".join(entry for entry, at, _ in _entries(text) if at is not None and at >= before)


def _entries(text: str) -> Iterator[tuple[str, float | None, str]]:
    """Yield each entry with its time and its conversation."""
    header, typed = "", list[str]()
    for line in [*text.split("\n"), "#"]:  # only line feeds end a line
        if line.startswith("+"):
            typed.append(line)
            continue
        if typed:
            yield _entry(header, typed)
            header, typed = "", []
        header = line or header


def _entry(header: str, typed: Sequence[str]) -> tuple[str, float | None, str]:
    text = "".join(f"{line}\n" for line in (f"\n{header}", *typed))
    found = _HEADER.fullmatch(header)
    if found is None:
        return text, None, ""
    try:
        at = datetime.fromisoformat(found["at"]).timestamp()  # local, as it was written
    except (ValueError, OverflowError, OSError):
        at = None
    return text, at, found["conversation"] or ""
