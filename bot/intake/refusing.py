"""Refusals of messages: what their authors get to read, and what is written down of them, each once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.answers import Known, Refused
from bot.domain.events import MessageReceived
from bot.intake.access import Access
from bot.intake.told import Told
from bot.ports.intake_store import IntakeStore
from bot.rights.guard import ACCESS

log = structlog.stdlib.get_logger(__name__)

MISSED_AGE = timedelta(minutes=1)  # of messages that were not delivered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """Refuses messages. `told` remembers what their authors have read."""

    store: IntakeStore
    access: Access
    told: Told

    async def known(self, event: MessageReceived) -> Known | None:
        """Return the turn of a message that was taken before: a late redelivery asks for nothing new."""
        known = await self.store.find(event.event_key)
        return None if known is None else Known(turn_id=known)

    async def shut_out(self, event: MessageReceived, reason: str) -> Refused:
        """Refuse a person; of what they wrote while the bot was away, only the first message gets the reason."""
        is_missed = datetime.now(UTC) - event.sent_at > MISSED_AGE
        is_silent = await self.told.was_told(event, reason) and is_missed
        if is_silent and event.is_addressed and not self.told.is_noted(event):
            note_unanswered(event.event_key, reason)
        return await self.refuse(event, "" if is_silent else reason)

    async def over_budget(self, event: MessageReceived, reason: str) -> Refused:
        """Refuse a question; of follow-ups without a mention, only the first one within a minute gets the reason."""
        if not self.told.is_noted(event):
            log.info("budget_used_up", actor=str(event.actor), place=event.conversation.place)
            self.told.note(event)
        is_silent = await self.told.was_told(event, reason) and not event.is_addressed
        return Refused(notice="" if is_silent else reason)

    async def refuse(self, event: MessageReceived, notice: str) -> Refused:
        """Refuse a message by a rule; the audit gets a line."""
        if not self.told.is_noted(event):
            once = f"refused {event.event_key}"
            await self.access.note(event.asker, kind="refused", outcome="message", rule=ACCESS, once=once)
        self.told.note(event)
        return Refused(notice=notice)


def note_unanswered(event_key: str, reason: str) -> None:
    """Log why a message that mentions the bot gets no answer."""
    log.info("mention_not_answered", message=event_key, reason=reason)
