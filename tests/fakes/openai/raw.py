"""An endpoint that answers byte for byte, for what only some endpoints do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One HTTP answer; the body ends when the connection closes, so that leaving early is a cut."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    pieces: tuple[bytes, ...] = ()
    stays_open: bool = False
    is_cut: bool = False  # says that more bytes follow, and closes


@dataclass
class Endpoint:
    """A loopback server that answers each request with its next answer, and the last one for ever.

    Where `choose` is set, it returns the answer to a request's body instead.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list[Answer])
    choose: Callable[[dict[str, Any]], Answer] | None = None
    paths: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.paths.append(head[0].split()[1])
        self.headers.append(headers)
        self.bodies.append(json.loads(body or b"{}"))
        if self.choose is not None:
            answer = self.choose(self.bodies[-1])
        else:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        lines = [f"HTTP/1.1 {answer.status} X", "connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += ["content-length: 999999"] if answer.is_cut else []
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for piece in answer.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if answer.stays_open:
            await reader.read()
        writer.close()


@asynccontextmanager
async def serve_answers(*answers: Answer) -> AsyncGenerator[Endpoint]:
    """Serve on a free port of 127.0.0.1; the answers can be changed at any time."""
    endpoint = Endpoint(answers=list(answers))
    server = await asyncio.start_server(endpoint.handle, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield endpoint
    finally:
        server.close()
