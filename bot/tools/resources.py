"""The one tool by which the model reads what servers only link to (MCP's resources)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.domain.messages import ToolSpec
from bot.ports.tools import READ_RESOURCE
from bot.tools.servers.errors import CallError

_SHOWN_SERVER = "resources"


def read_resource_spec(servers: Sequence[str], *, trusted: Sequence[str] = ()) -> ToolSpec:
    """Return the tool that reads resources of these servers; those of the trusted ones count as read-only."""
    return ToolSpec(
        name=READ_RESOURCE,
        server=_SHOWN_SERVER,
        tool=READ_RESOURCE,
        description="Reads a resource that an answer of a tool links to, as in [resource NAME at URI].",
        parameters={
            "type": "object",
            "properties": {
                "server": {"type": "string", "enum": list(servers), "description": "The server that gave the link"},
                "uri": {"type": "string", "description": "The URI of the link, unchanged"},
            },
            "required": ["server", "uri"],
        },
        is_repeatable=True,
        trusted_servers=tuple(trusted),
    )


def parse_reading(arguments: dict[str, Any], *, servers: Sequence[str]) -> tuple[str, str]:
    """Return server and URI of a call. Raises CallError, which the model can read."""
    server, uri = arguments.get("server"), arguments.get("uri")
    if not isinstance(server, str) or server not in servers:
        raise CallError(f"There is no such server with resources. Name one of {', '.join(servers) or 'none'}.")
    if not isinstance(uri, str) or not uri.strip():
        raise CallError("Give the URI of the resource as `uri`.")
    return server, uri  # unchanged: rules have looked at this text
