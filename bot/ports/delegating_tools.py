"""The Tools port by way of another: the base of those that change one part of it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.answers import Example
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.ports.tools import Offer, Progress, Resumed, ServerStatus, Tools, Wait


class DelegatingTools:
    """Satisfies `Tools`: passes everything on, as it is."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def offer(self, asker: Asker | None) -> Offer:
        """See `Tools`."""
        return await self._tools.offer(asker)

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
        return await self._tools.call(
            call, actor=actor, conversation=conversation, resumed=resumed, progress=progress, may_repeat=may_repeat
        )

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
