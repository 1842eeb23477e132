"""Fields of an answer that mean nothing to us and that the endpoint wants back with it.

DeepSeek and Kimi refuse a tool's result without the `reasoning_content` of its call, Gemini 3 without
`extra_content.google.thought_signature`, Anthropic behind LiteLLM without `thinking_blocks`:
https://api-docs.deepseek.com/guides/thinking_mode, https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

MESSAGE_FIELDS = ("reasoning_content", "reasoning_details", "thinking_blocks", "extra_content")
_CALL_FIELDS = frozenset({"index", "id", "type", "function"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_GROWING = frozenset({"text", "thinking", "reasoning", "reasoning_content", "summary", "data", "signature"})


def of_message(delta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the opaque fields of a piece of an answer."""
    return {name: delta[name] for name in MESSAGE_FIELDS if delta.get(name)}


def of_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the opaque fields of a piece of a tool call, those of its function below `function`."""
    own = {name: value for name, value in call.items() if name not in _CALL_FIELDS and value is not None}
    function = cast("Mapping[str, Any]", call.get("function") or {})
    inner = {name: value for name, value in function.items() if name not in _FUNCTION_FIELDS and value is not None}
    return own | ({"function": inner} if inner else {})


def merge(known: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with those of the next piece: texts grow, everything else is replaced."""
    merged = dict(known)
    for name, value in more.items():
        merged[name] = _merge_value(name, merged.get(name), value)
    return merged


def _merge_value(name: str, known: object, value: object) -> object:
    match known, value:
        case str(), str() if name in _GROWING:
            return known + value
        case dict(), dict():
            return merge(cast("dict[str, Any]", known), cast("dict[str, Any]", value))
        case list(), list():
            merged = list(cast("list[object]", known))
            for item in cast("list[object]", value):
                _merge_item(merged, item)
            return merged
        case _, None:
            return known
        case _:
            return value


def _merge_item(items: list[object], item: object) -> None:
    """Add an item to the list, or to the one that it continues: of the same index, or the last, not yet signed."""
    fields = _fields(item)
    for at in reversed(range(len(items))) if fields else ():
        known = _fields(items[at])
        if known and _continues(known, fields, is_last=at + 1 == len(items)):
            items[at] = merge(known, fields)
            return
    items.append(item)


def _fields(item: object) -> dict[str, Any]:
    return cast("dict[str, Any]", item) if isinstance(item, dict) else {}


def _continues(known: Mapping[str, Any], item: Mapping[str, Any], *, is_last: bool) -> bool:
    if known.get("type") != item.get("type"):
        return False
    if "index" in item:
        return known.get("index") == item["index"]
    return is_last and not known.get("signature")
