"""Removes the characters from text that nothing can store or show."""

from __future__ import annotations

import re

# C0 except tab and newline, DEL and C1, and lone surrogates, which no encoding can store
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_MAX_NAME_CHARS = 80  # of a file


def clean(text: str) -> str:
    """Return the text without control characters (line ends become newlines) and outer white space."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", lines).strip()


def strip_surrogates(text: str) -> str:
    """Return the text with lone surrogates replaced, which no encoding can store; JSON can contain them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_name(name: str) -> str:
    """Return a file's name as one short line that is safe inside backticks and brackets."""
    line = " ".join("".join(char if char.isprintable() and char not in "`[]⟦⟧" else " " for char in name).split())
    if len(line) > _MAX_NAME_CHARS:
        line = f"{line[: _MAX_NAME_CHARS - 16]}…{line[-15:]}"  # the end shows the kind of file
    return line or "unnamed"
