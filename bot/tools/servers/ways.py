"""The ways to speak to one endpoint, and how long each may take: what worked is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mcp import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from bot.tools.config import Endpoint, ServerConfig, StdioEndpoint
from bot.tools.servers.errors import root_cause
from bot.tools.servers.faults import fault_of
from bot.tools.servers.timing import Timing

# "auto" asks which era the server is of, "handshake" begins as servers before 2026-07-28 want it, "sse" is the
# legacy transport over HTTP.
Way = Literal["auto", "handshake", "sse"]

SSE_IS_LEGACY = "it speaks the legacy transport (SSE), which will go away: ask its operator for streamable HTTP"

_HTTP_WAYS: Mapping[str, tuple[Way, ...]] = {"any": ("auto", "sse"), "http": ("auto",), "sse": ("sse",)}
_MAX_CONNECT_S = 600.0
_IGNORED_S = 8.0  # the SDK waits 10 s for a server that ignores the question after its era


def connect_s(server: ServerConfig, endpoint: Endpoint, *, timing: Timing, timeouts: int) -> float:
    """Return how long a connection may take; more after each that took too long, since a package may be loading."""
    usual = timing.connect_process_s if isinstance(endpoint, StdioEndpoint) else timing.connect_http_s
    first = server.connect_timeout_s or usual
    return max(first, min(first * 2**timeouts, _MAX_CONNECT_S))


class Ways:
    """Which way an endpoint is spoken to next."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._is_process = isinstance(endpoint, StdioEndpoint)
        self._ways: tuple[Way, ...]
        if isinstance(endpoint, StdioEndpoint):
            self._ways = ("auto", "handshake")
        else:
            self._ways = _HTTP_WAYS[endpoint.transport]
        self.best: Way = self._ways[0]

    def other(self, error: BaseException | None, *, has_ended: bool) -> Way | None:
        """Return the way to try at once after `best` failed before the server was ready; None where it cannot help."""
        if len(self._ways) == 1:
            return None
        if self._is_process:
            # Servers of the Rust SDK before version 3 exit where the first message is not `initialize`:
            # https://github.com/modelcontextprotocol/go-sdk/issues/1177
            return self._other() if has_ended else None
        cause = None if error is None else root_cause(error)
        is_turned_away = isinstance(cause, MCPError) and fault_of(cause) == "turned_away"
        return self._other() if is_turned_away or has_ended else None

    def remember(self, way: Way, *, protocol_version: str, took_s: float) -> None:
        """Take note of a connection that succeeded."""
        is_slow = self._is_process and way == "auto" and took_s >= _IGNORED_S
        ignores_question = is_slow and protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
        self.best = "handshake" if ignores_question else way

    def _other(self) -> Way:
        return next(way for way in self._ways if way != self.best)
