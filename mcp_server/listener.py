"""Streamable HTTP on one address, for as long as the process lives."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from mcp_server.bearer import BearerGate

PATH: Final = "/mcp"

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_MAX_BODY_BYTES = 8 * 1024 * 1024  # a file of 1 MiB in which JSON escapes every byte as six
_SHUTDOWN_S = 3  # for requests in progress once the process is asked to stop


def serve_http(server: MCPServer[Any], *, host: str, port: int, allowed_hosts: Iterable[str], token: str = "") -> None:
    """Serve until SIGINT or SIGTERM; it writes `listening on http://HOST:PORT/mcp` to stderr once it does.

    Port 0 takes a free one. Only requests whose Host header names this machine's loopback
    addresses, `host` itself or one of `allowed_hosts` are answered, whatever `host` is; with a `token`, only those
    that bring it.

    Raises:
        SystemExit: 0 after a signal; 3 when the address cannot be bound, with the reason in the log.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        host=host,
        json_response=True,  # no tool sends anything before its result: a stream would only cost time
        transport_security=security(host, allowed_hosts),
        max_request_body_size=_MAX_BODY_BYTES,
    )
    config = uvicorn.Config(
        BearerGate(app, token) if token else app,
        host=host,
        port=port,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _leave)
    asyncio.run(_AnnouncingServer(config).serve())


def security(host: str, allowed_hosts: Iterable[str]) -> TransportSecuritySettings:
    """The Host and Origin check, against web pages that rebind their name to this address."""
    bound = [] if host in _ANY_ADDRESS else [_in_url(host)]
    names = dict.fromkeys(name.lower() for name in (*_LOCAL_HOSTS, *bound, *allowed_hosts))
    hosts = [pattern for name in names for pattern in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{pattern}" for pattern in hosts for scheme in ("http", "https")],
    )


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the address: tests and supervisors wait for this line."""
        await super().startup(sockets)
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        print(f"listening on http://{_in_url(host)}:{port}{PATH}", file=sys.stderr, flush=True)  # noqa: T201


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)  # uvicorn catches the signal, stops in order, and then raises it again: for this


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
