"""Results that break the protocol in one place, mended in that place: one odd tool or block is lost, not all of them.

What the specification leaves no doubt about is put right; what cannot be read is left out and reported by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from mcp.types import ContentBlock, Tool
from mcp_types import methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION
from pydantic import TypeAdapter, ValidationError

Report = Callable[[str, str], None]  # the name of a tool that is left out, and why
Object = dict[str, Any]

UNNAMED = "(no name)"
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_TOOL_FIELDS = ("name", "title", "description", "inputSchema", "annotations", "_meta")
_CACHE = {"ttlMs": 0, "cacheScope": "private"}  # the newer era wants both in each list
_MAX_TYPE_CHARS = 60
_MAX_NAME_CHARS = 128  # of what is only reported; MCP allows a tool as many
MAX_LISTED = 500  # tools, prompts, resources of one page
MAX_BLOCKS = 500  # of one result; each is validated three times
MAX_SCHEMA_PARTS = 5_000  # of one tool's arguments: every request to the model carries them
MAX_DESCRIPTION_CHARS = 20_000  # models are offered a thousand or two
MAX_GREETING_CHARS = 20_000
_LISTS = ("prompts", "resources", "resourceTemplates")
_block = TypeAdapter[ContentBlock](ContentBlock)


def mend_result(method: str, result: Object, *, report: Report) -> Object:
    """Return the result of that method as the protocol wants it."""
    result.setdefault("resultType", "complete")  # without it the SDK refuses an answer of the newer era
    if not isinstance(result.get("_meta", {}), dict):
        del result["_meta"]
    match method:
        case "initialize" | "server/discover":
            return _mend_greeting(result, method=method)
        case "tools/list":
            return _mend_tools(result, report=report)
        case "prompts/list" | "resources/list" | "resources/templates/list":
            return {**_CACHE, **result, **{key: _first(result[key]) for key in _LISTS if key in result}}
        case "resources/read":
            return {**_CACHE, **result, **_bounded_contents(result)}
        case "tools/call" if result["resultType"] == "complete":
            return _mend_call(result)
        case _:
            return result


# --- what a server says of itself ------------------------------------------------------------------------------


def _mend_greeting(result: Object, *, method: str) -> Object:
    mended = {**(_CACHE if method == "server/discover" else {}), **result}
    offered = result.get("capabilities")
    # A server that names nothing may still have tools; an empty object says that it has none.
    known = cast("Object", offered) if isinstance(offered, dict) else dict[str, Any](tools={})
    mended["capabilities"] = {
        name: value if isinstance(value, dict) else {}
        for name, value in known.items()
        if value is not None and value is not False
    }
    said_of_use: object = mended.pop("instructions", None)
    if isinstance(said_of_use, str):
        mended["instructions"] = said_of_use[:MAX_GREETING_CHARS]
    if method == "initialize":
        info: object = result.get("serverInfo")
        said = cast("Object", info) if isinstance(info, dict) else {}
        mended["serverInfo"] = {"name": str(said.get("name") or ""), "version": str(said.get("version") or "")}
    return mended


# --- tools -----------------------------------------------------------------------------------------------------


def _mend_tools(result: Object, *, report: Report) -> Object:
    listed: object = result.get("tools")
    if not isinstance(result.get("nextCursor"), str):
        result.pop("nextCursor", None)
    found = cast("list[object]", listed) if isinstance(listed, list) else []
    for number, tool in enumerate(found[MAX_LISTED:], start=MAX_LISTED + 1):
        name: object = cast("Object", tool).get("name") if isinstance(tool, dict) else None
        report(str(name or number)[:_MAX_NAME_CHARS], f"it comes after the {MAX_LISTED:,} that are read of one page")
    tools = [_mend_tool(tool, report=report) for tool in found[:MAX_LISTED]]
    return {**_CACHE, **result, "tools": [tool for tool in tools if tool is not None]}


def _mend_tool(tool: object, *, report: Report) -> Object | None:
    said = cast("Object", tool) if isinstance(tool, dict) else {}
    name = said.get("name")
    if not isinstance(name, str) or not name.strip():
        report(UNNAMED, "it has no name")
        return None
    # Fields that nothing here reads are left out: they could only do harm. That holds for `outputSchema` too:
    # the SDK drops an answer that does not fit it, though the tool has run and the model could read the answer.
    mended: Object = {key: said[key] for key in _TOOL_FIELDS if said.get(key) is not None}
    schema = _mend_schema(said.get("inputSchema"))
    if schema is None:
        report(name, "its arguments are not described as an object")
        return None
    if _has_more_parts(schema, than=MAX_SCHEMA_PARTS):
        report(name, f"its arguments are described in more than {MAX_SCHEMA_PARTS:,} parts")
        return None
    mended["inputSchema"] = schema
    mended["annotations"] = _mend_hints(said.get("annotations"))
    for key in ("title", "description"):
        if isinstance(text := mended.pop(key, None), str):
            mended[key] = text[:MAX_DESCRIPTION_CHARS]
    if not isinstance(mended.get("_meta", {}), dict):
        del mended["_meta"]
    return mended if _fits(mended, name=name, report=report) else None


def _mend_schema(schema: object) -> Object | None:
    if schema is None or schema is True or schema == []:  # PHP writes an empty object as an empty list
        return {"type": "object", "properties": {}}
    if not isinstance(schema, dict):
        return None
    mended = cast("Object", schema)
    kind = mended.get("type", "object")
    if kind is None or (isinstance(kind, list) and "object" in kind):
        kind = "object"
    if kind != "object":
        return None
    properties, required = mended.get("properties", {}), mended.get("required", [])
    known = cast("Object", properties) if isinstance(properties, dict) else {}
    names = cast("list[object]", required) if isinstance(required, list) else []
    mended = {**mended, "type": "object", "properties": {key: _mend_property(value) for key, value in known.items()}}
    if "required" in mended:
        mended["required"] = [name for name in names if isinstance(name, str)]
    return mended


def _has_more_parts(value: object, *, than: int) -> bool:
    left, count = [value], 0
    while left and count <= than:
        part = left.pop()
        if isinstance(part, dict):
            left.extend(cast("Object", part).values())
        elif isinstance(part, list):
            left.extend(cast("list[object]", part))
        count += 1
    return count > than


def _first(listed: object) -> object:
    return cast("list[object]", listed)[:MAX_LISTED] if isinstance(listed, list) else listed


def _mend_property(schema: object) -> object:
    return {} if schema is None or schema is True or schema == [] else schema


def _mend_hints(hints: object) -> Object:
    said = cast("Object", hints) if isinstance(hints, dict) else {}
    return {key: said[key] for key in _HINTS if isinstance(said.get(key), bool)}


def _fits(tool: Object, *, name: str, report: Report) -> bool:
    """Return whether the SDK will take the tool, in either era; otherwise report the part that it would not take."""
    try:
        Tool.model_validate(tool, by_name=False)
        # The older era is the stricter one.
        methods.validate_server_result("tools/list", LATEST_HANDSHAKE_VERSION, {"tools": [tool]})
    except ValidationError as error:
        parts = [str(part) for part in error.errors(include_url=False)[0]["loc"] if part not in ("tools", 0)]
        where = [part for part in parts if part.isidentifier()]  # others are pydantic's own
        report(name, f"its {'.'.join(where) or 'description'} is not valid")
        return False
    return True


# --- the result of a call --------------------------------------------------------------------------------------


def _mend_call(result: Object) -> Object:
    said: object = result.get("content")
    blocks = cast("list[object]", said) if isinstance(said, list) else [] if said is None else [said]
    legacy: object = result.get("toolResult")  # of 2024-10-07
    if said is None and legacy is not None:
        blocks = [_as_json(legacy)]
    mended = {**result, "content": [_mend_block(block) for block in blocks[:MAX_BLOCKS]]}
    if len(blocks) > MAX_BLOCKS:
        mended["content"].append(_text(_left_out(len(blocks))))
    mended["isError"] = result.get("isError") in (True, "true", 1)
    structured: object = result.get("structuredContent")
    if structured is None:
        mended.pop("structuredContent", None)
    elif not isinstance(structured, dict):  # the older era allows objects only
        del mended["structuredContent"]
        if not mended["content"]:
            mended["content"] = [_text(_as_json(structured))]
    return mended


def _bounded_contents(result: Object) -> Object:
    contents: object = result.get("contents")
    if not isinstance(contents, list) or len(parts := cast("list[object]", contents)) <= MAX_BLOCKS:
        return {}
    note = {"uri": "toolbridge:left-out", "text": _left_out(len(parts))}
    return {"contents": [*parts[:MAX_BLOCKS], note]}


def _left_out(count: int) -> str:
    return f"[cut: the first {MAX_BLOCKS:,} of {count:,} parts of this answer; {count - MAX_BLOCKS:,} are left out]"


def _mend_block(block: object) -> Object:
    if not isinstance(block, dict):
        return _text(block if isinstance(block, str) else _as_json(block))
    said = cast("Object", block)
    mended = {key: value for key, value in said.items() if key not in ("annotations", "_meta", "icons")}
    match said.get("type"):
        case "text":
            text: object = said.get("text")
            return _text(text if isinstance(text, str) else "" if text is None else _as_json(text))
        case "image" | "audio":
            if not isinstance(said.get("mimeType"), str):
                mended["mimeType"] = "application/octet-stream"
        case "resource_link":
            mended = _mend_link(mended)
        case None if isinstance(said.get("text"), str):
            return _text(cast("str", said["text"]))
        case _:
            pass
    return mended if _is_block(mended) else _text(f"[{_kind(said)}: a part of the answer that cannot be read]")


def _mend_link(link: Object) -> Object:
    mended: Object = {key: value for key, value in link.items() if isinstance(value, str) and key != "size"}
    if isinstance(size := link.get("size"), int) and not isinstance(size, bool):
        mended["size"] = size
    mended.setdefault("name", link.get("uri"))
    return mended


def _is_block(block: Object) -> bool:
    try:
        _block.validate_python(block, by_name=False)
        methods.validate_server_result("tools/call", LATEST_HANDSHAKE_VERSION, {"content": [block]})
    except ValidationError:
        return False
    return True


def _kind(block: Object) -> str:
    return str(block.get("type") or "a block without a type")[:_MAX_TYPE_CHARS]


def _text(text: str) -> Object:
    return {"type": "text", "text": text}


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
