"""An MCP server over HTTP with one tool, which takes as long as it is told."""

from __future__ import annotations

import asyncio

from mcp.server import MCPServer

from mcp_server.listener import serve_http

server = MCPServer("slow", log_level="WARNING")


@server.tool()
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"waited {seconds:g} s"


if __name__ == "__main__":
    serve_http(server, host="127.0.0.1", port=0, allowed_hosts=())
