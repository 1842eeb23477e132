"""JSON as editors write it: with comments and trailing commas."""

from __future__ import annotations

import re

# In this order: a comment mark inside a string is none.
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\\n]|\\.)*")|,(?=\s*[}\]])')
_NO_LINE_END = re.compile(r"[^\n]")


def plain_json(text: str) -> str:
    """Return the text without comments and trailing commas; what remains keeps its line and column."""
    return _TRAILING_COMMA.sub(lambda match: match.group(1) or " ", without_comments(text))


def without_comments(text: str) -> str:
    """Return the text with spaces in the place of comments."""
    return _TOKEN.sub(lambda token: _blank(token.group()), text)


def _blank(token: str) -> str:
    return token if token.startswith('"') else _NO_LINE_END.sub(" ", token)
