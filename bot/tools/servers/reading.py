"""What a server writes, read for what it plainly means; what cannot be read costs its own request and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from mcp.types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    RequestId,
    jsonrpc_message_adapter,
)

from bot.text.cleaning import strip_surrogates
from bot.tools.servers.faults import NOT_VALID, made_here

Waiting = Mapping[RequestId, str]  # the requests without an answer yet, with their methods
LISTEN = "subscriptions/listen"  # is never answered while all is well

_ENDS_BYTES = 300  # of a line or body, in which the id is looked for
_MAX_MENDED_BYTES = 2 * 1024 * 1024  # of a message that is not valid: reading that takes several times as long
_MAX_DIGITS = 300  # of a number; Python refuses to read more than 4,300
_ID_FIRST = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18}|"[^"\\]{1,64}")\s*[,}]')
_ID_LAST = re.compile(rb'[,{]\s*"id"\s*:\s*(\d{1,18}|"[^"\\]{1,64}")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


def read_messages(raw: bytes, *, waiting: Waiting) -> list[JSONRPCMessage]:
    """Return the messages in one line or one body; lines that hold none are dropped.

    Half characters become U+FFFD. An answer that cannot be read becomes an error to the request that waits for it.
    """
    try:
        return [jsonrpc_message_adapter.validate_json(raw, by_name=False)]
    except ValueError:
        pass
    try:
        document = _parse(raw if len(raw) <= _MAX_MENDED_BYTES else b"")
    except (ValueError, RecursionError):
        return unreadable(raw[:_ENDS_BYTES], raw[-_ENDS_BYTES:], waiting=waiting, why=NOT_VALID)
    parts = cast("list[object]", document) if isinstance(document, list) else [document]  # a batch, until 2025-03-26
    return [message for part in parts if (message := _read_part(part, waiting=waiting)) is not None]


def is_message(raw: bytes) -> bool:
    """Return whether it is one message that keeps to the protocol in all."""
    try:
        jsonrpc_message_adapter.validate_json(raw, by_name=False)
    except ValueError:
        return False
    return True


def unreadable(head: bytes, tail: bytes, *, waiting: Waiting, why: str) -> list[JSONRPCMessage]:
    """Return an error to the request that an unreadable answer belongs to; nothing where that cannot be known.

    `head` and `tail` are the two ends of the answer: implementations write the id first or last.
    """
    found = _ID_FIRST.search(head) or _ID_LAST.search(tail)
    request = _waiting_id(json.loads(found.group(1)), waiting) if found else None
    if request is None and head.lstrip().startswith(b"{") and b'"method"' not in head and _looks_like_reply(head):
        request = only_waiting(waiting)
    return [] if request is None else [error_to(request, why)]


def only_waiting(waiting: Waiting) -> RequestId | None:
    """Return the request that an answer without an id must belong to; None where there are several."""
    called = [each for each, method in waiting.items() if method != LISTEN]
    return called[0] if len(called) == 1 else None


def error_to(request: RequestId, why: str) -> JSONRPCError:
    """Return the error that replaces an answer that came and could not be read."""
    return JSONRPCError(jsonrpc="2.0", id=request, error=made_here(why, fault="unclear"))


def _looks_like_reply(head: bytes) -> bool:
    return any(word in head for word in (b'"jsonrpc"', b'"result"', b'"error"'))


def _parse(raw: bytes) -> object:
    text = raw.decode("utf-8", "replace")
    document: object = json.loads(text, strict=False, parse_int=_integer, parse_constant=lambda _: None)
    # Written and read once more: half characters are easy to find in the text, and hard in a tree.
    return json.loads(strip_surrogates(json.dumps(document, ensure_ascii=False)))


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _read_part(part: object, *, waiting: Waiting) -> JSONRPCMessage | None:
    if not isinstance(part, dict):
        return None
    message = _mended(cast("dict[str, Any]", part))
    try:
        return jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValueError:
        request = _waiting_id(message.get("id"), waiting) if {"jsonrpc", "result", "error"} & part.keys() else None
        return None if request is None or "method" in message else error_to(request, NOT_VALID)


def _mended(message: dict[str, Any]) -> dict[str, Any]:
    mended: dict[str, Any] = {**message, "jsonrpc": "2.0"}
    request: object = mended.get("id")
    if isinstance(request, float) and request.is_integer():
        mended["id"] = int(request)
    if "result" in mended and mended.get("error", ...) is None:
        del mended["error"]
    if "error" in mended and "method" not in mended:
        mended.pop("result", None)
        mended["error"] = _error(mended["error"])
    if "method" in mended and not isinstance(mended.get("params", {}), dict):
        del mended["params"]  # null, and the empty list that PHP makes of an empty object
    return mended


def _error(error: object) -> dict[str, Any]:
    said: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    code, message = said.get("code"), said.get("message")
    data = ErrorData(
        code=code if isinstance(code, int) and not isinstance(code, bool) else INTERNAL_ERROR,
        message=message if isinstance(message, str) else "" if message is None else json.dumps(message),
        data=said.get("data"),
    )
    return data.model_dump(exclude_none=True)


def _waiting_id(said: object, waiting: Waiting) -> RequestId | None:
    return next((request for request in waiting if not isinstance(said, bool) and str(request) == str(said)), None)
