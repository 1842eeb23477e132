"""The Tools port, each call of which is a span while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from bot.domain.answers import Example
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.ports.tools import Offer, Progress, Resumed, ServerStatus, Tools, Wait


class EncloseCall(Protocol):
    """Encloses a call; what it yields is to be told how the call came out."""

    def __call__(
        self, call: ToolCall, *, server: str, description: str, conversation_id: str
    ) -> AbstractContextManager[Callable[[ToolResult | Wait], None]]: ...


class TracedTools:
    """Satisfies `Tools`: others, whose calls are enclosed. `ids` gives the conversation's id that servers get."""

    def __init__(self, tools: Tools, *, enclose: EncloseCall, ids: Callable[[ConversationKey], str]) -> None:
        self._tools = tools
        self._enclose = enclose
        self._ids = ids

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
        """See `Tools`."""
        spec = self._tools.newest(call.name)
        server, description = (spec.server, spec.description) if spec else ("", "")
        ids = self._ids(conversation)
        with self._enclose(call, server=server, description=description, conversation_id=ids) as saw:
            outcome = await self._tools.call(
                call,
                actor=actor,
                conversation=conversation,
                resumed=resumed,
                progress=progress,
                may_repeat=may_repeat,
            )
            saw(outcome)
        return outcome

    async def offer(self, asker: Asker | None) -> Offer:
        """See `Tools`."""
        return await self._tools.offer(asker)

    def newest(self, name: str) -> ToolSpec | None:
        """See `Tools`."""
        return self._tools.newest(name)

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """See `Tools`."""
        return await self._tools.search(query, among=among, limit=limit)

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        """See `Tools`."""
        return await self._tools.named(text, among=among, limit=limit)

    async def examples(self) -> Sequence[Example]:
        """See `Tools`."""
        return await self._tools.examples()

    def status(self) -> Sequence[ServerStatus]:
        """See `Tools`."""
        return self._tools.status()
