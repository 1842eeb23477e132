"""What was said, or written down, of a refusal: once, however often and to whichever process a message is delivered."""

from __future__ import annotations

from cachetools import LRUCache

from bot.domain.events import MessageReceived
from bot.ports.cluster import Cluster
from bot.ports.once import Once
from bot.ports.store import author_key

TOLD_S = 60.0  # in which the reason why someone is shut out is not repeated for what they wrote before
MAX_REFUSED = 5_000  # remembered at once


class Told:
    """Remembers what this process did, and asks the others where there are any."""

    def __init__(self, cluster: Cluster) -> None:
        self._reasons = Once("reason", cluster, max_keys=MAX_REFUSED, within_s=TOLD_S, is_lasting=False)
        self._refused = LRUCache[str, bool](MAX_REFUSED)  # by event key

    async def was_told(self, event: MessageReceived, reason: str) -> bool:
        """Return whether its author got that reason in the conversation a moment ago; from now on they have."""
        said = author_key(event.actor), event.conversation, reason
        return not await self._reasons.add("\n".join(map(str, said)), platform=event.conversation.platform)

    def note(self, event: MessageReceived) -> None:
        """Remember that this is written down."""
        self._refused[event.event_key] = True

    def is_noted(self, event: MessageReceived) -> bool:
        """Return whether this process has written it down: platforms deliver some messages twice."""
        return event.event_key in self._refused
