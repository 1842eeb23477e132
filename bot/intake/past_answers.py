"""What people do with answers that they have: they look at the details, or rate them."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.answers import Details, Done, Explained, Rated, Refused
from bot.domain.events import ConversationKey, DetailsAsked, FeedbackGiven
from bot.intake.access import Access
from bot.ports.store import MAX_ID, Store
from bot.text.apart import LONG, apart
from bot.turns.details import details_of

_NOT_KNOWN = "This answer is no longer known here."
_NOTHING_KEPT = "No tool calls were kept for this answer: they were forgotten with `clear`, or it has not begun yet."


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAnswers:
    """The turns whose answers were posted, for those who may see them."""

    store: Store
    access: Access
    shows_thoughts: bool = False  # in Details, after the calls

    async def details(self, event: DetailsAsked) -> Explained:
        """Return the steps that led to the answer. Raises StoreError."""
        if reason := await self.access.why_not(event.asker, act="details"):
            return Refused(notice=reason)
        if not await self._is_turn_of(event.turn_id, event.conversation):
            return Refused(notice=_NOT_KNOWN)
        steps = await self.store.steps(event.turn_id)
        if not steps:
            return Details(lines=(), notice=_NOTHING_KEPT)
        is_over = bool(await self.store.outbox(event.turn_id))  # its answer is stored: no call runs any more
        lines = await apart(
            lambda: details_of(steps, is_over=is_over, shows_thoughts=self.shows_thoughts), size=LONG * len(steps)
        )
        return Details(lines=lines, notice="" if lines else "No tool was used for this answer.")

    async def rate(self, event: FeedbackGiven) -> Rated:
        """Store the rating. Raises StoreError."""
        if reason := await self.access.why_not(event.asker, act="rating"):
            return Refused(notice=reason)
        if not await self._is_turn_of(event.turn_id, event.conversation):
            return Refused(notice=_NOT_KNOWN)
        await self.store.rate(event.turn_id, author_id=event.author_id, rating=event.rating)
        return Done(notice="Thank you, that is noted.")

    async def _is_turn_of(self, turn_id: int, conversation: ConversationKey) -> bool:
        return 0 < turn_id <= MAX_ID and await self.store.is_turn_of(turn_id, conversation)
