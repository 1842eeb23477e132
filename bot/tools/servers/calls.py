"""One call to a tool: how long it may take, and what its failure means for whoever reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mcp import Client, MCPError, types
from pydantic import ValidationError

from bot.ports.tools import Progress
from bot.text.cleaning import clean
from bot.tools.config import ServerConfig
from bot.tools.servers.errors import (
    CallError,
    CallLostError,
    CallRefusedError,
    CallTimedOutError,
    CallUnsentError,
    SessionLostError,
)
from bot.tools.servers.faults import fault_of

CONVERSATION_KEY = "toolbridge/conversation"  # in the _meta of each call: the conversation's opaque id
_MAX_PROGRESS_CHARS = 120
_PROGRESS_GAP_S = 0.2  # between two reports of one call: some servers send thousands a second
_NO_ELICITATION = "Elicitation not supported"  # the SDK's own answer, where no callback is set
_NEEDS_USER = (types.MISSING_REQUIRED_CLIENT_CAPABILITY, types.URL_ELICITATION_REQUIRED)
_REFUSALS = (types.METHOD_NOT_FOUND, types.INVALID_PARAMS, types.INVALID_REQUEST, types.PARSE_ERROR)
_CHECK = "may have run all the same: check that before calling it again."


async def call_tool(
    client: Client,
    tool: str,
    arguments: Mapping[str, Any],
    *,
    server: ServerConfig,
    conversation_id: str,
    report: Progress,
) -> types.CallToolResult:
    """Run the call. Each sign of progress grants it `timeout_s` again, up to `max_timeout_s` in all.

    Raises:
        CallTimedOutError: No answer came in time.
        MCPError: The call failed; `call_error` says what that means.
        CallRefusedError: The answer breaks the protocol.
    """
    started_at = asyncio.get_running_loop().time()
    has_progressed = False
    reported_at = 0.0

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        nonlocal has_progressed, reported_at
        has_progressed = True
        now = asyncio.get_running_loop().time()
        soonest = now + server.timeout_s
        with suppress(RuntimeError):  # the call has ended meanwhile
            deadline.reschedule(max(deadline.when() or 0.0, min(soonest, started_at + server.max_timeout_s)))
        if now - reported_at >= _PROGRESS_GAP_S:
            reported_at = now
            report(describe_progress(progress, total, message))

    try:
        async with asyncio.timeout(server.timeout_s) as deadline:
            return await client.call_tool(
                tool, dict(arguments), meta={CONVERSATION_KEY: conversation_id}, progress_callback=progressed
            )
    except TimeoutError:
        waited_s = asyncio.get_running_loop().time() - started_at
        raise _timed_out(server, tool, waited_s=waited_s, has_progressed=has_progressed) from None
    except (RuntimeError, ValidationError) as error:  # how the SDK refuses an answer that breaks the protocol
        raise CallRefusedError(
            f"The tool {tool!r} of server {server.name!r} ran, but its answer is not valid: it breaks the protocol."
        ) from error


def describe_progress(done: float, total: float | None, message: str | None) -> str:
    """Return how far a call is, as a short phrase for people."""
    count = f"{done:g}" if total is None or total <= 0 else f"{done:g} of {total:g}"
    said = " ".join(clean(message or "").split())
    phrase = f"{count}: {said}" if said else count
    return phrase if len(phrase) <= _MAX_PROGRESS_CHARS else f"{phrase[: _MAX_PROGRESS_CHARS - 1]}…"


def call_error(error: MCPError, *, server: str, tool: str, said: str) -> CallError:
    """Return what the model reads of a call that failed; `said` is the error's message without secrets."""
    match fault_of(error):
        case "refused" if error.code in _NEEDS_USER or said == _NO_ELICITATION:
            return CallRefusedError(
                f"The tool {tool!r} asks the user something while it runs, which is not supported yet. "
                f"It did not finish: call it with all it needs, or use another tool."
            )
        case "refused" if error.code in _REFUSALS:
            return CallRefusedError(f"The server {server!r} refused the call: {said}")
        case "refused":
            return CallRefusedError(f"The server {server!r} answered the call with an error: {said}")
        case "turned_away":
            return CallRefusedError(f"The call did not get through to the server {server!r} ({said}). It did not run.")
        case "session":
            return SessionLostError(said)
        case "unsent":
            return CallUnsentError(said)
        case "unclear":
            return CallLostError(
                f"The server {server!r} gave no answer that says what became of the call ({said}). "
                f"The tool {tool!r} {_CHECK}"
            )
        case "lost":
            return CallLostError(
                f"The connection to the server {server!r} was lost during the call ({said}). The tool {tool!r} {_CHECK}"
            )


def _timed_out(server: ServerConfig, tool: str, *, waited_s: float, has_progressed: bool) -> CallTimedOutError:
    if not has_progressed:
        said = f"gave no answer within {server.timeout_s:g} s"
    elif waited_s >= server.max_timeout_s:
        said = f"was still at work after {server.max_timeout_s:g} s (max_timeout_s)"
    else:
        said = f"reported progress, but then nothing for {server.timeout_s:g} s"
    return CallTimedOutError(f"The tool {tool!r} {said}. It {_CHECK}")
