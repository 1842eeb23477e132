"""An MCP server on the real SDK: results of every kind, prompts, a list of tools that grows; stdio or HTTP.

`--era handshake` answers HTTP clients as servers before 2026-07-28 do, `--era sse` by the transport of 2024-11-05.
Calls of `act` and `look` are appended to the file that CALLS_FILE names; `act` waits until the file RELEASE_FILE
exists, if that is set.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SOUND = b"RIFF\x24\0\0\0WAVEfmt "  # how a WAV file begins
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
CALLS_FILE = Path(os.environ.get("CALLS_FILE", os.devnull))
RELEASE_FILE = os.environ.get("RELEASE_FILE")
server = MCPServer("workshop", log_level="WARNING")


class Name(BaseModel):
    name: str


class Weather(BaseModel):
    city: str
    celsius: float


def ask_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


def _note(name: str) -> None:
    with CALLS_FILE.open("a", encoding="utf-8") as file:
        file.write(f"{name} {os.getpid()}\n")
    while RELEASE_FILE and not Path(RELEASE_FILE).exists():
        time.sleep(0.02)


@server.tool(description="Acts.")
def act() -> str:
    _note("act")
    return "acted"


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def look() -> str:
    _note("look")
    return f"looked {os.getpid()}"


@server.tool()
def greet(name: Annotated[Name, Resolve(ask_name)]) -> str:
    return f"Hello {name.name}"


@server.tool()
def refuse() -> str:
    raise ToolError("the reason to read")


@server.tool()
def big(chars: int) -> str:
    return "x" * chars


@server.tool(name="with.dots", structured_output=True)
def weather(city: str) -> Weather:
    return Weather(city=city, celsius=21.5)


@server.tool()
def conversation(ctx: Context[Any]) -> str:
    meta: Any = ctx.request_context.meta or {}
    return str(meta.get("toolbridge/conversation"))


@server.tool()
async def learn(tool: str, ctx: Context[Any]) -> str:
    server.add_tool(lambda: tool, name=tool)
    await ctx.notify_tools_changed()  # for clients of the newer era
    await ctx.session.send_tool_list_changed()  # for those of the older one
    return f"learnt {tool}"


@server.tool()
async def march(steps: int, ctx: Context[Any]) -> str:
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await anyio.sleep(0.25)
    return "arrived"


@server.tool(structured_output=False)
def everything() -> CallToolResult:
    picture = base64.b64encode(PIXEL).decode()
    return CallToolResult(
        content=[
            TextContent(text="first"),
            ImageContent(data=picture, mime_type="image/png"),
            AudioContent(data="!!! not base64", mime_type="audio/wav"),
            EmbeddedResource(resource=TextResourceContents(uri="memo://note", text="a note")),
            EmbeddedResource(resource=BlobResourceContents(uri="file:///data.bin", blob=picture)),
            ResourceLink(name="manual", uri="https://example.com/manual"),
        ]
    )


@server.tool(structured_output=False)
def record() -> CallToolResult:
    return CallToolResult(content=[AudioContent(data=base64.b64encode(SOUND).decode(), mime_type="audio/wav")])


@server.prompt(title="Look around")
def look_around() -> str:
    return "Please look around"


@server.prompt()
def look_for(thing: str) -> str:
    return f"Please look for {thing}"


class Handshake:
    """Knows no method of the newer era."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if json.loads(body).get("method") == "server/discover":
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"Bad Request: no valid session ID"})
            return
        parts: list[Message] = [{"type": "http.request", "body": body}]

        async def replay() -> Message:
            return parts.pop() if parts else await receive()

        await self._app(scope, replay, send)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--era", choices=["modern", "handshake", "sse"], default="modern")
    options = parser.parse_args()
    if options.port is None:
        server.run("stdio")
        return
    app: ASGIApp = server.streamable_http_app(host="127.0.0.1")
    if options.era == "sse":
        app = server.sse_app(host="127.0.0.1")
    if options.era == "handshake":
        app = Handshake(app)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
