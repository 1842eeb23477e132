"""The Tools port, each call of which is a span while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.people import Actor
from bot.ports.delegating_tools import DelegatingTools
from bot.ports.tools import Progress, Resumed, Tools, Wait


class EncloseCall(Protocol):
    """Encloses a call; what it yields is to be told how the call came out."""

    def __call__(
        self, call: ToolCall, *, server: str, description: str
    ) -> AbstractContextManager[Callable[[ToolResult | Wait], None]]: ...


class TracedTools(DelegatingTools):
    """Satisfies `Tools`: others, whose calls are enclosed."""

    def __init__(self, tools: Tools, *, enclose: EncloseCall) -> None:
        super().__init__(tools)
        self._enclose = enclose

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
        with self._enclose(call, server=server, description=description) as saw:
            outcome = await super().call(
                call, actor=actor, conversation=conversation, resumed=resumed, progress=progress, may_repeat=may_repeat
            )
            saw(outcome)
        return outcome
