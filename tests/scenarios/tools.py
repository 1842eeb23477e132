"""The tools of a bot under test, as settings."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from mcp_server.folder import FolderWorkspace
from mcp_server.listener import PATH, security
from mcp_server.server import build_server

NOWHERE = "http://127.0.0.1:9/none"  # the discard port: nothing answers
WORKSHOP = Path(__file__).parents[1] / "fakes" / "mcp_servers" / "workshop.py"
WAREHOUSE = WORKSHOP.with_name("warehouse.py")


def without_tools(home: Path) -> Mapping[str, Any]:
    """Return the settings of a bot that starts no tool server."""
    return _mcp_config(home, {})


@asynccontextmanager
async def bundled_tools(home: Path, given: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the settings of a bot with the bundled tools, or nothing where it is given other tools.

    They are served by this process: importing them in one of their own takes longer than most tests.
    """
    if given.keys() & {"mcp_config", "mcp_server_url"}:
        yield {}
        return
    server = build_server(
        workspace=FolderWorkspace(home / "workspaces"), weather_api_url=NOWHERE, geocoding_api_url=NOWHERE
    )
    application = server.streamable_http_app(
        streamable_http_path=PATH,
        host="127.0.0.1",
        json_response=True,
        transport_security=security("127.0.0.1", ()),
    )
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        config = uvicorn.Config(application, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=0)
        guest = _Guest(config)
        serving = asyncio.create_task(guest.serve(sockets=[listener]), name="bundled-tools")
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
            yield _mcp_config(home, {"toolbridge": {"url": url, "trusted": True}})
        finally:
            guest.should_exit = True
            await serving


class _Guest(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # signals belong to the process


def with_workshop(home: Path, **environment: str) -> Mapping[str, Any]:
    """Return the settings of a bot whose only tools are those of `tests/fakes/mcp_servers/workshop.py`."""
    server = {"command": sys.executable, "args": [str(WORKSHOP)], "env": environment}
    return _mcp_config(home, {"shop": server})


def _mcp_config(home: Path, servers: Mapping[str, Any]) -> Mapping[str, Any]:
    home.mkdir(parents=True, exist_ok=True)
    file = home / f"{'-'.join(servers) or 'none'}.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return {"mcp_config": file}
