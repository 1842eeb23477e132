"""The port to all tool servers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.domain.answers import Example
from bot.domain.messages import ToolCall, ToolResult, ToolSpec

ServerState = Literal["idle", "starting", "ready", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One tool server (one replica of it) as an operator sees it."""

    server: str
    replica: str  # command or URL without its secrets; tells replicas of one server apart
    state: ServerState
    tool_count: int = 0
    detail: str = ""  # why it is down and when it is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools that are offered to the model, in a stable order, and sentences on what had to be left out."""

    tools: tuple[ToolSpec, ...]
    notes: tuple[str, ...] = ()

    def find(self, name: str) -> ToolSpec | None:
        """Return the offered tool of that namespaced name."""
        return next((tool for tool in self.tools if tool.name == name), None)


class Tools(Protocol):
    """All tool servers together."""

    async def offer(self) -> Offer:
        """Return what can be called now; waits a bounded time for servers that are starting, none for those down."""
        ...

    async def call(self, call: ToolCall, *, conversation: str) -> ToolResult:
        """Run one call; any failure but cancellation is a result that the model can read.

        `conversation` is the opaque id that servers get to keep conversations apart.
        """
        ...

    async def examples(self) -> Sequence[Example]:
        """Return the prompts of all reachable servers that need no arguments."""
        ...

    def status(self) -> Sequence[ServerStatus]:
        """Return the state of every server, in the order of the configuration."""
        ...
