"""Pinned tools: what a tool is said to be at first sight; what its server says later is a change to be accepted."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from bot.domain.messages import ToolSpec
from bot.ports.rights_store import Pin, RightsStore
from bot.ports.tools import READ_RESOURCE

DIFF_CHARS = 2_500
FRESH_S = 1.0  # how long what was read counts: other processes accept tools too
_Key = tuple[str, str]


class Pins:
    """Compares tools with what was accepted of them; the bundled server's are exempt."""

    def __init__(self, store: RightsStore, *, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._pins: dict[_Key, Pin] = {}
        self._read_at = float("-inf")
        self._seen: dict[_Key, ToolSpec] = {}  # the catalog gives the same object again as long as nothing changes
        self._definitions: dict[_Key, str] = {}  # of what is seen

    async def see(self, tools: Sequence[ToolSpec]) -> None:
        """Pin tools at first sight, and keep what the others have changed to. Raises StoreError."""
        new = [spec for spec in tools if _is_pinned(spec) and not self._is_seen(spec)]
        if not new:
            return
        definitions = {_key(spec): definition_of(spec) for spec in new}
        await self._read()
        if unwritten := [self._pin(key, said) for key, said in definitions.items() if not self._has(key, said)]:
            await self._store.put_pins(unwritten)
            await self._read()
        self._definitions.update(definitions)
        self._seen.update((_key(spec), spec) for spec in new)

    async def change_of(self, spec: ToolSpec) -> str:
        """Return how the tool differs from what was accepted, as Markdown; empty where it does not. Raises StoreError.

        What an operator accepts meanwhile, in whichever process, counts at once; what is not accepted any more, as
        another definition took its place, counts as a change after `FRESH_S`.
        """
        if not _is_pinned(spec):
            return ""
        await self.see([spec])
        key, now = _key(spec), self._definitions[_key(spec)]
        if self._accepted(key) != now or self._now() - self._read_at >= FRESH_S:
            await self._read()
        accepted = self._accepted(key)
        return "" if accepted == now else describe_change(accepted, now)

    def _is_seen(self, spec: ToolSpec) -> bool:
        seen = self._seen.get(_key(spec))
        return seen is spec or seen == spec

    async def _read(self) -> None:
        self._read_at = self._now()
        self._pins = {(pin.server, pin.tool): pin for pin in await self._store.pins()}

    def _accepted(self, key: _Key) -> str:
        pin = self._pins.get(key)
        return pin.accepted if pin else ""

    def _has(self, key: _Key, definition: str) -> bool:
        """Return whether the store knows that the tool is so."""
        pin = self._pins.get(key)
        return pin is not None and (pin.changed or pin.accepted) == definition

    def _pin(self, key: _Key, definition: str) -> Pin:
        server, tool = key
        return Pin(server=server, tool=tool, accepted=definition)


def definition_of(spec: ToolSpec) -> str:
    """Return all that its server says of a tool, as canonical JSON."""
    said = {
        "name": spec.tool,
        "description": spec.description,
        "parameters": spec.parameters,
        "hints": _parsed(spec.hints) or spec.hints,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def describe_change(accepted: str, now: str, *, max_chars: int | None = DIFF_CHARS) -> str:
    """Return the difference of two definitions, as one Markdown code block that nothing in them can end."""
    lines = difflib.unified_diff(_lines(accepted), _lines(now), lineterm="", n=1)
    shown = "\n".join(_visible(line) for line in lines if not line.startswith(("---", "+++", "@@")))
    shown = shown.replace("```", "'''")
    if max_chars is not None and len(shown) > max_chars:
        shown = f"{shown[:max_chars]}\n… `toolbridge tools --changes` shows all of it"
    return f"```diff\n{shown}\n```"


def _visible(line: str) -> str:
    """Return the line with all characters visible: some would steer a terminal, or change the order of the others."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)


def _lines(definition: str) -> Sequence[str]:
    parsed = _parsed(definition)
    if parsed is None:
        return definition.splitlines()
    description = str(parsed.pop("description", ""))
    others = json.dumps(parsed, indent=1, sort_keys=True, ensure_ascii=False)
    return [*(f"description: {line}" for line in description.splitlines()), *others.splitlines()[1:-1]]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        parsed: object = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return dict(cast("Mapping[str, Any]", parsed)) if isinstance(parsed, dict) else None


def _key(spec: ToolSpec) -> _Key:
    return spec.server, spec.tool


def _is_pinned(spec: ToolSpec) -> bool:
    return not spec.is_bundled and spec.name != READ_RESOURCE
