"""An mcp.json with more servers in it: what is there stays as it is, with its comments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from bot.domain.errors import SettingsError
from bot.tools.jsonc import without_comments
from bot.tools.mcp_json import ROOTS

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\]:,]')


def add_servers(text: str, entries: Mapping[str, object]) -> str:
    """Return the file's text with the entries behind those that are there; the text was read as an mcp.json before.

    Raises:
        SettingsError: There is no place for them in the text.
    """
    if not text.strip():
        return json.dumps({"mcpServers": entries}, indent=2, ensure_ascii=False) + "\n"
    plain = without_comments(text)
    start, end = _servers(plain)
    last = start + 1 + len(plain[start + 1 : end].rstrip())
    comma = "," if plain[start + 1 : end].strip() and plain[last - 1] != "," else ""
    margin = _margin(plain, end)
    unit = "\t" if "\t" in margin else "  "
    lines = ",\n".join(_entry(name, entry, margin=f"{margin}{unit}", unit=unit) for name, entry in entries.items())
    kept = text[last:end].rstrip()
    return f"{text[:last]}{comma}{kept}\n{lines}\n{margin}{text[end:]}"


def _entry(name: str, entry: object, *, margin: str, unit: str) -> str:
    written = json.dumps(entry, indent=unit, ensure_ascii=False).replace("\n", f"\n{margin}")
    return f"{margin}{json.dumps(name, ensure_ascii=False)}: {written}"


def _margin(plain: str, end: int) -> str:
    """Return what is in front of the closing brace, where it has a line of its own."""
    before = plain[:end].rpartition("\n")[2]
    return before if "\n" in plain[:end] and not before.strip() else "  "


def _servers(plain: str) -> tuple[int, int]:
    """Return where the object with the servers begins and ends."""
    stack: list[tuple[str, int]] = []
    said, key = "", ""
    for token in _TOKEN.finditer(plain):
        match token[0]:
            case "{" | "[":
                stack.append((key, token.start()))
                key = ""
            case "}" | "]" if stack:
                name, start = stack.pop()
                if token[0] == "}" and _holds_servers([*(each for each, _ in stack[1:]), name]):
                    return start, token.start()
            case ":":
                key = said
            case ",":
                key = ""
            case _:
                said = token[0][1:-1]
    raise SettingsError("mcp.json has no place for more servers: write them as it has the others.")


def _holds_servers(path: Sequence[str]) -> bool:
    return path[-1] in ROOTS and (len(path) == 1 or path[:-1] == ["mcp"])
