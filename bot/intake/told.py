"""What was said, or written down, of a refusal: once, however often and to whichever process a message is delivered."""

from __future__ import annotations

from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from bot.domain.events import ConversationKey, MessageReceived
from bot.ports.cluster import Cluster
from bot.ports.store import author_key

TOLD_S = 60.0  # in which the reason why someone is shut out is not repeated for what they wrote before
MAX_REFUSED = 5_000  # remembered at once

_Said = tuple[str, ConversationKey, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Remembers what this process did, and asks the others where there are any."""

    cluster: Cluster
    reasons: TTLCache[_Said, bool] = field(default_factory=lambda: TTLCache[_Said, bool](MAX_REFUSED, ttl=TOLD_S))
    refused: LRUCache[str, bool] = field(default_factory=lambda: LRUCache[str, bool](MAX_REFUSED))  # by event key

    async def was_told(self, event: MessageReceived, reason: str) -> bool:
        """Return whether its author got that reason in the conversation a moment ago; from now on they have."""
        said = author_key(event.actor), event.conversation, reason
        was_told = said in self.reasons
        self.reasons[said] = True
        return was_told or not await self._is_first(event, "\n".join(map(str, said)), within_s=TOLD_S)

    def note(self, event: MessageReceived) -> None:
        """Remember that this is written down."""
        self.refused[event.event_key] = True

    async def _is_first(self, event: MessageReceived, what: str, *, within_s: float) -> bool:
        return await self.cluster.is_first(what, within_s=within_s, platform=event.conversation.platform)
