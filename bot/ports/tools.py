"""The port to all tool servers together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.domain.answers import Example
from bot.domain.asks import FormAsk, LinkAsk
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.domain.turns import CallDecided, CallWaiting

READ_RESOURCE = "read_resource"  # reads what results link to; no server's tool has this name: theirs begin with its own
Progress = Callable[[str], None]
ServerState = Literal["idle", "starting", "ready", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One tool server (one replica of it) as an operator sees it."""

    server: str
    replica: str  # command or URL without its secrets; tells replicas of one server apart
    state: ServerState
    tool_count: int = 0
    detail: str = ""  # why it is down and when it is tried again; what to know of it while it is ready
    cure: str = ""  # a sentence: what an operator can do about it
    error_output: tuple[str, ...] = ()  # the last lines of its standard error, for operators


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInstructions:
    """What a server says on how to use its tools: information of others, to be marked as theirs; bounded."""

    server: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools that are offered to the model, in a stable order, and sentences on what had to be left out."""

    tools: tuple[ToolSpec, ...]
    notes: tuple[str, ...] = ()
    instructions: tuple[ServerInstructions, ...] = ()  # of the servers whose tools are offered, in a stable order

    def find(self, name: str) -> ToolSpec | None:
        """Return the offered tool of that namespaced name."""
        return next((tool for tool in self.tools if tool.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The call cannot go on before something is decided; it was not sent, or the server keeps its place."""

    reason: str  # a sentence for the chat: what is waited for, and who can decide it
    expires_in_s: float
    ask: FormAsk | LinkAsk | None = None  # what the server wants to know from the asker
    state: str = ""  # given back with the decision: what the server needs to go on; opaque to all others
    is_local: bool = False  # whether the server, or the call that is running, is this process's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A call that waited, and what was decided."""

    wait: CallWaiting
    decision: CallDecided


class ToolDirectory(Protocol):
    """Which tools there are."""

    async def offer(self, asker: Asker | None) -> Offer:
        """Return what the asker may call now where they ask; with None, an operator asks, who sees all.

        Waits a bounded time for servers that are starting, none for those that are down.
        """
        ...

    async def examples(self) -> Sequence[Example]:
        """Return the prompts of all reachable servers that need no arguments."""
        ...

    def status(self) -> Sequence[ServerStatus]:
        """Return the state of every server, in the order of the configuration."""
        ...


class Tools(ToolDirectory, Protocol):
    """All tool servers together."""

    async def call(
        self,
        call: ToolCall,
        *,
        actor: Actor,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
        progress: Progress | None = None,
        may_repeat: bool = True,
    ) -> ToolResult | Wait:
        """Run one call in the actor's name; any failure but cancellation is a result that the model can read.

        Servers get the conversation's opaque id, to keep conversations apart. A call that waited for what its server
        asked goes on with `resumed`, and may wait again. `progress` gets a phrase each time the server says how far the
        call is. Without `may_repeat` it is sent once, whatever its tool is.
        """
        ...

    def newest(self, name: str) -> ToolSpec | None:
        """Return the tool of that namespaced name as its server listed it last; asks and waits for no server."""
        ...

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """Return up to `limit` of the tools that share a word with the query, the best first.

        Words of names count most, then those of servers, descriptions and arguments. A tool that the query names
        exactly comes before all that it does not.
        """
        ...

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """Return up to `limit` of the tools that the text names, and of servers that it names what fits best."""
        ...
