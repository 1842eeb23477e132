"""The ways to speak to one endpoint, and how long each may take: what worked is remembered, over restarts too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import structlog
from mcp import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from bot.domain.errors import StoreError
from bot.ports.store import NoteStore
from bot.tools.config import Endpoint, ServerConfig, StdioEndpoint
from bot.tools.servers.errors import root_cause
from bot.tools.servers.faults import fault_of
from bot.tools.servers.timing import Timing

log = structlog.get_logger(__name__)

# "auto" asks which era the server is of, "handshake" begins as servers before 2026-07-28 want it, "sse" is the
# legacy transport over HTTP.
Way = Literal["auto", "handshake", "sse"]

SSE_IS_LEGACY = "it speaks the legacy transport (SSE), which will go away: ask its operator for streamable HTTP"

_HTTP_WAYS: Mapping[str, tuple[Way, ...]] = {"any": ("auto", "sse"), "http": ("auto",), "sse": ("sse",)}
_MAX_CONNECT_S = 600.0
_NOTES = "tool-server-way/"
_IGNORED_S = 8.0  # the SDK waits 10 s for a server that ignores the question after its era


def connect_s(server: ServerConfig, endpoint: Endpoint, *, timing: Timing, timeouts: int) -> float:
    """Return how long a connection may take; more after each that took too long, since a package may be loading."""
    usual = timing.connect_process_s if isinstance(endpoint, StdioEndpoint) else timing.connect_http_s
    first = server.connect_timeout_s or usual
    return max(first, min(first * 2**timeouts, _MAX_CONNECT_S))


class Ways:
    """Which way an endpoint is spoken to next. Without `notes`, that is forgotten when the process ends."""

    def __init__(self, endpoint: Endpoint, *, server: str, notes: NoteStore | None = None) -> None:
        self._is_process = isinstance(endpoint, StdioEndpoint)
        self._ways: tuple[Way, ...]
        if isinstance(endpoint, StdioEndpoint):
            self._ways = ("auto", "handshake")
        else:
            self._ways = _HTTP_WAYS[endpoint.transport]
        self.best: Way = self._ways[0]
        self._notes = notes
        self._note = f"{_NOTES}{server}/{_digest(endpoint)}"
        self._log = log.bind(server=server)

    async def recall(self) -> None:
        """Begin with the way that worked last in an earlier process."""
        if self._notes is None or len(self._ways) == 1:
            return
        try:
            known = (await self._notes.notes(self._note)).get(self._note, "")
        except StoreError as error:
            self._log.warning("tool_server_way_not_read", reason=str(error))
            return
        if known in self._ways:
            self.best = self._ways[self._ways.index(known)]

    def other(self, error: BaseException | None, *, has_ended: bool) -> Way | None:
        """Return the way to try at once after `best` failed before the server was ready; None where it cannot help."""
        if len(self._ways) == 1:
            return None
        if self.best != self._ways[0]:  # the server may be another version by now
            return self._ways[0]
        if self._is_process:
            # Servers of the Rust SDK before version 3 exit where the first message is not `initialize`:
            # https://github.com/modelcontextprotocol/go-sdk/issues/1177
            return self._ways[1] if has_ended else None
        cause = None if error is None else root_cause(error)
        is_turned_away = isinstance(cause, MCPError) and fault_of(cause) == "turned_away"
        return self._ways[1] if is_turned_away or has_ended else None

    async def remember(self, way: Way, *, protocol_version: str, took_s: float) -> None:
        """Take note of a connection that succeeded."""
        is_slow = self._is_process and way == "auto" and took_s >= _IGNORED_S
        ignores_question = is_slow and protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
        before, self.best = self.best, "handshake" if ignores_question else way
        if self._notes is None or self.best == before:
            return
        try:
            await self._notes.put_note(self._note, self.best if self.best != self._ways[0] else None)
        except StoreError as error:
            self._log.warning("tool_server_way_not_kept", reason=str(error))


def _digest(endpoint: Endpoint) -> str:
    """Return what changes with the command or the address, so that a note is for this very server."""
    is_process = isinstance(endpoint, StdioEndpoint)
    what = [endpoint.program, *endpoint.args] if is_process else [endpoint.url]
    return hashlib.sha256("\0".join(what).encode(errors="surrogatepass")).hexdigest()[:16]
