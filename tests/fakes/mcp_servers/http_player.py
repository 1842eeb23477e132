"""A tool server over HTTP, without any SDK, whose answers are given byte for byte.

It is of the handshake era and has sessions, as the specification of 2025-06-18 wants it:
https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#session-management
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

TOOLS = {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]}
GREETING: Mapping[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "player", "version": "1"},
}


@dataclass(slots=True, kw_only=True)
class HttpPlayer:
    """Answers by method; a value of `answers` is a whole HTTP answer, in which `@ID@` is the request's id."""

    answers: dict[str, bytes] = field(default_factory=dict[str, bytes])
    once: bool = False  # an answer is given once; after that all is as it should be
    port: int = 0
    asked: list[str] = field(default_factory=list[str])  # the methods, in order
    sessions: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[HttpPlayer]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, request = await _read(reader)
            writer.write(self._reply(head, request))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    def _reply(self, head: bytes, request: Mapping[str, Any]) -> bytes:
        if not head.startswith(b"POST"):
            return answer(405, b"")
        method = request["method"]
        self.asked.append(method)
        if method in self.answers:
            raw = self.answers.pop(method) if self.once else self.answers[method]
            return raw.replace(b"@ID@", json.dumps(request.get("id")).encode())
        session = f"session-{self.sessions}".encode()
        match method:
            case "initialize":
                self.sessions += 1
                return result(request, GREETING, headers=f"Mcp-Session-Id: session-{self.sessions}\r\n")
            case "server/discover":
                return answer(400, b"Bad Request: no valid session ID", content_type="text/plain")
            case _ if b"mcp-session-id: " + session not in head.lower():
                return answer(404, b"")
            case "tools/list":
                return result(request, TOOLS)
            case "tools/call":
                return result(request, {"content": [{"type": "text", "text": "acted"}]})
            case _:
                return answer(202, b"")


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, Mapping[str, Any]]:
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    body = await reader.readexactly(int(sizes[0])) if sizes else b""
    return head, json.loads(body) if body else {}


def result(request: Mapping[str, Any], value: Any, *, headers: str = "") -> bytes:
    """Return a whole answer with this result."""
    return answer(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode(), headers=headers)


def answer(status: int, body: bytes, *, content_type: str = "application/json", headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    typed = f"Content-Type: {content_type}\r\n" if body else ""
    size = f"Content-Length: {len(body.replace(b'@ID@', b'1'))}\r\n" if b"@ID@" not in body else ""
    return f"HTTP/1.1 {status} Status\r\n{typed}{headers}{size}Connection: close\r\n\r\n".encode() + body
