"""The tools of all servers under names that every model accepts, and the way back to server and tool."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from mcp import types

from bot.domain.messages import ToolSpec
from bot.ports.tools import Offer
from bot.tools.config import ServerConfig

MAX_NAME_CHARS = 64  # of OpenAI's ^[a-zA-Z0-9_-]{1,64}$; MCP itself allows 128 and dots
_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_NEAR = 3


def tool_name(server: str, tool: str) -> str:
    """Return the name under which a server's tool is offered; it depends on nothing else."""
    whole = f"{server}__{tool}"
    name = _FORBIDDEN.sub("_", whole)
    if len(name) <= MAX_NAME_CHARS and whole.isascii():
        return name
    # Names in other scripts would fall together: all that is left of them are underscores.
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: MAX_NAME_CHARS - len(digest) - 1]}_{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tools that one server listed last."""

    server: ServerConfig
    tools: tuple[types.Tool, ...]


class Catalog:
    """All tools that were ever listed, including those of servers that are down."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        self._specs: dict[str, ToolSpec] = {}
        self._notes: list[str] = []
        for spec in _specs(listings):
            first = self._specs.setdefault(spec.name, spec)
            if first is not spec:
                self._notes.append(
                    f"The tool {spec.tool!r} of server {spec.server!r} is not offered: its name {spec.name} is that of "
                    f"{first.tool!r} of server {first.server!r}. Rename one server or deny one of the tools."
                )

    def find(self, name: str) -> ToolSpec | None:
        """Return the tool of that namespaced name."""
        return self._specs.get(name)

    def nearest(self, name: str) -> list[str]:
        """Return up to three names that `name` may have meant, the best first."""
        wanted = name.rpartition("__")[2][:MAX_NAME_CHARS]
        tools = dict.fromkeys(spec.tool for spec in self._specs.values())
        near = difflib.get_close_matches(wanted, tools, n=_MAX_NEAR)
        near += [tool for tool in tools if wanted and wanted in tool and tool not in near]
        names = [spec.name for tool in near for spec in self._specs.values() if spec.tool == tool]
        return names[:_MAX_NEAR]

    def offer(self, servers: Container[str], *, notes: Iterable[str] = ()) -> Offer:
        """Return the tools of these servers, however many, and sentences on what was left out."""
        specs = tuple(spec for spec in self._specs.values() if spec.server in servers)
        return Offer(tools=specs, notes=(*self._notes, *notes))


def _specs(listings: Sequence[Listing]) -> Iterable[ToolSpec]:
    """Yield all allowed tools: the servers in the order of the configuration, the tools of each by name."""
    for listing in listings:
        for tool in sorted(listing.tools, key=lambda tool: tool.name):
            if listing.server.offers(tool.name):
                yield _spec(listing.server, tool)


def _spec(server: ServerConfig, tool: types.Tool) -> ToolSpec:
    hints = tool.annotations or types.ToolAnnotations()
    is_read_only, is_idempotent = bool(hints.read_only_hint), bool(hints.idempotent_hint)
    return ToolSpec(
        name=tool_name(server.name, tool.name),
        server=server.name,
        tool=tool.name,
        description=tool.description or tool.title or "",
        parameters=tool.input_schema,
        is_repeatable=server.repeats(tool.name) or (server.trusted and (is_read_only or is_idempotent)),
        is_bundled=server.is_bundled,
        is_read_only=server.trusted and is_read_only,
        hints=_hints(tool.annotations),
    )


def _hints(hints: types.ToolAnnotations | None) -> str:
    said = {} if hints is None else hints.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(said, sort_keys=True) if said else ""
