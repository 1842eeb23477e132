"""A rule in TOML that would allow a call: for an operator to read, correct and copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bot.domain.rights import Facts, Person, Ruling
from bot.rights.conditions import kind
from bot.text.lines import printable
from bot.text.redaction import redact

_MAX_CHARS = 200  # of a text that is worth a condition
_MAX_CONDITIONS = 10


def rule_for(facts: Facts, *, before: Ruling) -> str:
    """Return the rule; it goes before the one that decides now. Secrets among the arguments are left out."""
    tool = f"{facts.tool.server}/{facts.tool.tool}"
    lines = [
        f"# Put it before {_comment(before.rule)}." if not before.rule.startswith("default:") else "# Put it last.",
        "[[rule]]",
        f"name = {toml_text(f'allow {tool}'[:100])}",
        f"tools = [{toml_text(tool)}]",
        f"people = [{toml_text(_person(facts.person, facts.place))}]",
        f"places = [{toml_text(facts.place)}]",
    ]
    if conditions := ", ".join(_conditions(facts.arguments or {})):
        lines.append(f"arguments = {{ {conditions} }}")
    return "\n".join([*lines, 'then = "allow"', ""])


def _person(person: Person, place: str) -> str:
    """Return the notation of the person on the platform of the place."""
    here = [name for name in person.names if name.startswith(place.partition(":")[0])]
    return min(here or person.names or {"*"}, key=lambda name: (len(name), name))


def _conditions(arguments: Mapping[str, Any]) -> Iterator[str]:
    left = _MAX_CONDITIONS
    for name, value in arguments.items():
        if left and kind(value) in ("text", "number", "boolean") and name != "*" and not _is_unfit(name, value):
            left -= 1
            pointer = "/" + name.replace("~", "~0").replace("/", "~1")
            yield f"{toml_text(pointer)} = {{ equals = {toml_value(value)} }}"


def _is_unfit(name: str, value: object) -> bool:
    text = f"{name}={value}" if isinstance(value, str) else ""
    big = isinstance(value, int) and abs(value) >= 1 << 63  # TOML promises 64 bits
    return len(text) > _MAX_CHARS or redact(text) != text or bool(_SURROGATE.search(text + name)) or big


_SURROGATE = re.compile("[\ud800-\udfff]")


def toml_value(value: str | float | bool) -> str:
    """Return a text, a number or a boolean as TOML."""
    return toml_text(value) if isinstance(value, str) else json.dumps(value)


def toml_text(text: str) -> str:
    """Return the text as a basic string of TOML, which is JSON's but for one character; it ends no code block."""
    written = json.dumps(_SURROGATE.sub("?", text), ensure_ascii=False)
    return written.replace("\x7f", "\\u007f").replace("```", "\\u0060" * 3)


def _comment(text: str) -> str:
    return printable(text)
