"""One call to a tool: how long it may take, and what its failure means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

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
    LinksNeededError,
    SessionLostError,
)
from bot.tools.servers.faults import fault_of
from bot.tools.servers.live import Answers, LiveCall

RESOURCE = "resources/read"  # instead of a tool's name: the argument `uri` is to be read
FORMER_KEY = "toolbridge/conversation-before"  # the id that it had before ids were made with a key
CONVERSATION_KEY = "toolbridge/conversation"  # in the _meta of each call: the conversation's opaque id
_MAX_PROGRESS_CHARS = 120
_PROGRESS_GAP_S = 0.2  # between two reports of one call: some servers send thousands a second
_REFUSALS = (types.METHOD_NOT_FOUND, types.INVALID_PARAMS, types.INVALID_REQUEST, types.PARSE_ERROR)
_CHECK = "may have run all the same: check that before calling it again."


Outcome = types.CallToolResult | types.InputRequiredResult


async def call_tool(
    client: Client, tool: str, arguments: Mapping[str, Any], *, server: ServerConfig, live: LiveCall, report: Progress
) -> Outcome:
    """Run the call. Each sign of progress grants it `timeout_s` again, up to `max_timeout_s` in all.

    No time passes while its server waits for a person's answer.

    Raises:
        CallTimedOutError: No answer came in time.
        MCPError: The call failed; `call_error` says what that means.
        CallRefusedError: The answer breaks the protocol.
    """
    patience = _Patience(server, report)
    live.clock = patience
    try:
        async with patience.timeout:
            if tool == RESOURCE:
                return await _read_resource(client, arguments["uri"], live.answers)
            return await _call(client, tool, arguments, live=live, patience=patience)
    except TimeoutError:
        raise CallTimedOutError(f"The tool {tool!r} {patience.describe_end()}. It {_CHECK}") from None
    except (RuntimeError, ValidationError) as error:  # how the SDK refuses an answer that breaks the protocol
        raise CallRefusedError(
            f"The tool {tool!r} of server {server.name!r} ran, but its answer is not valid: it breaks the protocol."
        ) from error


async def _call(
    client: Client, tool: str, arguments: Mapping[str, Any], *, live: LiveCall, patience: _Patience
) -> Outcome:
    # Not `Client.call_tool`, which asks on the spot and remembers nothing. It does one thing more: a call whose headers
    # do not fit the tool's schema of now is refused before it runs; `Replica.call` sends that again.
    return await client.session.call_tool(
        tool,
        dict(arguments),
        progress_callback=patience.progressed,
        input_responses=live.answers.responses,
        request_state=live.answers.request_state,
        meta=_meta(live),
        allow_input_required=True,
    )


def _meta(live: LiveCall) -> types.RequestParamsMeta:
    """Return what a call says of its conversation, with the id by which a server may have kept something of it."""
    meta: dict[str, Any] = {CONVERSATION_KEY: live.conversation_id}
    if live.former_id not in ("", live.conversation_id):
        meta[FORMER_KEY] = live.former_id
    return cast("types.RequestParamsMeta", meta)


class _Patience:
    """The time of one call, which its progress extends, and which does not pass while a person is asked."""

    def __init__(self, server: ServerConfig, report: Progress) -> None:
        self.timeout = asyncio.timeout(server.timeout_s)
        self._server = server
        self._report = report
        self._began_at = asyncio.get_running_loop().time()
        self._has_progressed = False
        self._reported_at = 0.0
        self._stopped_at: float | None = None

    def stop(self) -> None:
        """Let no time pass."""
        if self._stopped_at is None:
            self._stopped_at = asyncio.get_running_loop().time()
            self._end_at(None)

    def go_on(self) -> None:
        """Grant the whole time again; what has passed since `stop` does not count."""
        if self._stopped_at is not None:
            now = asyncio.get_running_loop().time()
            self._began_at += now - self._stopped_at
            self._stopped_at = None
            self._end_at(now + self._server.timeout_s)

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """Grant the whole time again, up to the bound, and report how far the call is."""
        self._has_progressed = True
        now = asyncio.get_running_loop().time()
        ends_at = min(now + self._server.timeout_s, self._began_at + self._server.max_timeout_s)
        if self._stopped_at is None:
            self._end_at(max(self.timeout.when() or 0.0, ends_at))
        if now - self._reported_at >= _PROGRESS_GAP_S:
            self._reported_at = now
            self._report(describe_progress(progress, total, message))

    def _end_at(self, when: float | None) -> None:
        with suppress(RuntimeError):  # the call has ended meanwhile
            self.timeout.reschedule(when)

    def describe_end(self) -> str:
        """Return what the tool did when the time was over, as a phrase."""
        if not self._has_progressed:
            return f"gave no answer within {self._server.timeout_s:g} s"
        if asyncio.get_running_loop().time() - self._began_at >= self._server.max_timeout_s:
            return f"was still at work after {self._server.max_timeout_s:g} s (max_timeout_s)"
        return f"reported progress, but then nothing for {self._server.timeout_s:g} s"


async def _read_resource(client: Client, uri: str, answers: Answers) -> Outcome:
    read = await client.session.read_resource(
        uri,
        input_responses=answers.responses,
        request_state=answers.request_state,
        allow_input_required=True,
    )
    if isinstance(read, types.InputRequiredResult):
        return read
    return types.CallToolResult(content=[types.EmbeddedResource(resource=part) for part in read.contents])


def describe_progress(done: float, total: float | None, message: str | None) -> str:
    """Return how far a call is, as a short phrase for people."""
    count = f"{done:g}" if total is None or total <= 0 else f"{done:g} of {total:g}"
    said = " ".join(clean((message or "")[: 2 * _MAX_PROGRESS_CHARS]).split())
    phrase = f"{count}: {said}" if said else count
    return phrase if len(phrase) <= _MAX_PROGRESS_CHARS else f"{phrase[: _MAX_PROGRESS_CHARS - 1]}…"


def call_error(error: MCPError, *, server: str, tool: str, said: str) -> CallError:
    """Return what the model reads of a call that failed; `said` is the error's message without secrets."""
    match fault_of(error):
        case "refused" if error.code == types.URL_ELICITATION_REQUIRED and (links := _links(error)):
            return LinksNeededError(f"The tool {tool!r} wants a page to be opened first: {said}", links)
        case "refused" if error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY:
            return CallRefusedError(
                f"The tool {tool!r} needs something of its client that is not supported ({said}). "
                f"It did not finish: use another tool."
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


def _links(error: MCPError) -> list[types.ElicitRequestURLParams]:
    try:
        return types.ElicitationRequiredErrorData.model_validate(error.data).elicitations
    except ValidationError:
        return []
