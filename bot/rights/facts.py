"""What rules look at of one call, and the digest to which an approval is bound."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.domain.messages import ToolSpec
from bot.domain.rights import Facts, Person, Tool
from bot.ports.tools import READ_RESOURCE
from bot.rights.arguments import with_defaults
from bot.text.arguments import parse_arguments


def read_arguments(text: str) -> Mapping[str, Any] | None:
    """Return the arguments as they would be sent; None where they are not one JSON object."""
    try:
        return parse_arguments(text)
    except ValueError:
        return None


def digest_of(server: str, tool: str, arguments: str) -> str:
    """Return the digest of one call; it is the same however its arguments are ordered and spaced."""
    parsed = read_arguments(arguments)
    said: object = arguments if parsed is None else parsed
    canonical = json.dumps([server, tool, said], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def tool_of(spec: ToolSpec, arguments: Mapping[str, Any] | None, *, change: str = "") -> Tool:
    """Return the tool as rules see it. Reading a resource is a tool of the server whose resource it is."""
    if spec.name == READ_RESOURCE:
        named = (arguments or {}).get("server")
        server = named if isinstance(named, str) else ""
        # The address of a resource can carry data to its server, as arguments of any tool can.
        return Tool(server=server, tool=READ_RESOURCE, is_read_only=server in spec.trusted_servers)
    return Tool(
        server=spec.server,
        tool=spec.tool,
        is_bundled=spec.is_bundled,
        is_read_only=spec.is_read_only,
        change=change,
    )


def facts_of(spec: ToolSpec, arguments: str, *, person: Person, place: str, change: str = "") -> Facts:
    """Return the call as rules see it, now, with the schema's defaults for arguments that are left out."""
    parsed = read_arguments(arguments)
    return Facts(
        person=person,
        place=place,
        tool=tool_of(spec, parsed, change=change),
        arguments=None if parsed is None else with_defaults(parsed, spec.parameters),
        at=datetime.now(UTC),
    )
