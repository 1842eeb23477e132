"""What became of a request that failed, as far as the answer tells."""

from __future__ import annotations

import re
import secrets
from typing import Literal, cast

from mcp import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    ErrorData,
)

NOT_VALID = "its answer is not valid JSON-RPC"
Fault = Literal["unsent", "session", "lost", "unclear", "turned_away", "refused"]

# The key marks errors that were made here; servers cannot know it, so none can claim that a call was not sent.
_MARK = f"toolbridge-{secrets.token_hex(8)}"
_FAULTS: tuple[Fault, ...] = ("unsent", "session", "lost", "unclear", "turned_away")
# The SDK writes these itself, with a report of its parser behind them.
_SDK_CANNOT_READ = ("Failed to parse SSE message:", "Failed to parse JSON response:")
_SESSION_CODES = (CONNECTION_CLOSED, REQUEST_TIMEOUT, INVALID_REQUEST, -32002)
_SESSION_CHARS = 500  # of an error; a long page about something else may hold such words too
_SESSION_GONE = re.compile(
    r"\b(no|un(?:known|recogni[sz]ed)|invalid|missing|expired|stale|terminated|closed|lost|required)\b[\w\s\-:]{0,24}?"
    r"\bsession|\bsession\b[\w\s\-:'\"]{0,60}?(not (?:be )?(?:found|valid|initiali[sz]ed|exist)|n[o']t exist|no longer"
    r"|invalid|expired|missing|terminated|closed|unknown|gone|required|has been (?:deleted|removed))"
    r"|server not initiali[sz]ed",
    re.IGNORECASE,
)


def fault_of(error: MCPError) -> Fault:
    """Return what became of a request that failed.

    "unsent": it never reached the server. "session": the server no longer knows the session, so it ran nothing.
    "lost": the connection broke; it may have run. "unclear": the answer does not say whether it ran.
    "turned_away": something before the server's own code refused it; it did not run, and the next may fare no better.
    "refused": the server answered with an error.
    """
    if (known := _marked(error)) is not None:
        return known
    if error.code in _SESSION_CODES and tells_of_lost_session(error.message):
        return "session"
    if error.code == CONNECTION_CLOSED:
        return "lost"
    if error.code == PARSE_ERROR and error.message.startswith(_SDK_CANNOT_READ):
        return "unclear"
    return "unclear" if error.code == REQUEST_TIMEOUT else "refused"


def tells_of_lost_session(message: str) -> bool:
    """Return whether an error says, in any wording, that the server no longer knows our session."""
    # 404 with -32001 is the TypeScript SDK's; others: 400, 401, 410, 500, 503 or 200, with -32000, -32600 or -32603:
    # https://github.com/modelcontextprotocol/python-sdk/issues/1676, https://github.com/punkpeye/fastmcp/issues/121
    return _SESSION_GONE.search(message[:_SESSION_CHARS]) is not None


def made_here(message: str, *, fault: Fault, cure: str = "") -> ErrorData:
    """Return an error that `fault_of` reads as `fault`; `message` is a phrase for people, `cure` a sentence."""
    return ErrorData(code=CONNECTION_CLOSED, message=message, data={_MARK: fault, "cure": cure})


def words_of(error: MCPError) -> str:
    """Return the error's message, without the report of the SDK's parser."""
    return NOT_VALID if error.message.startswith(_SDK_CANNOT_READ) else error.message


def cure_of(error: MCPError) -> str:
    """Return the cure that was known where the error was made, "" where none was."""
    return str(_data(error).get("cure", "")) if _marked(error) is not None else ""


def _marked(error: MCPError) -> Fault | None:
    return next((fault for fault in _FAULTS if fault == _data(error).get(_MARK)), None)


def _data(error: MCPError) -> dict[str, object]:
    data: object = error.data
    return cast("dict[str, object]", data) if isinstance(data, dict) else {}
