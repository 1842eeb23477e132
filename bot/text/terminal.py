"""Text as a terminal may get it: nothing in it steers the terminal, and nothing changes the order of what is read."""

from __future__ import annotations

import re

# Whole escape sequences (CSI, strings such as OSC, two-character ones), so that no rest of them is left over. A string
# ends before the beginning of another one: otherwise each of many beginnings would be looked at up to the end.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*+(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*+[0-~]"
)
# C0 except tab and newline, DEL and C1; marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm:
# https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SPARED_BY_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return the text without anything that a terminal would obey: of the controls, only newline and tab remain."""
    return _STEERING.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def flat(text: str) -> str:
    """Return the text on one line, without anything that a terminal would obey."""
    return " ".join(visible(text).split())


def visible_json(text: str) -> str:
    """Return JSON that means the same, with what a terminal would obey as escapes of JSON."""
    return _SPARED_BY_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
