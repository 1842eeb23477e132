"""Asks and rights on any engine: each method runs one unit of work (`bot/stores/units`)."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.asks import AskDelivery, AskRecord
from bot.domain.audit import AuditEntry, AuditLine
from bot.domain.events import ConversationKey
from bot.ports.rights_store import Grant, PastCall, Pin
from bot.stores.base import Units
from bot.stores.units import ask_posts, asks, audit_log, rights


class AskUnits(Units):
    """See `bot.ports.rights_store.AskStore`."""

    async def ask(self, ask_id: int) -> AskRecord | None:
        return await self.engine.read(lambda db: asks.ask(db, ask_id))

    async def asks(self, *, turn_id: int | None = None, is_pending: bool = True) -> Sequence[AskRecord]:
        return await self.engine.read(lambda db: asks.asks(db, turn_id=turn_id, is_pending=is_pending))

    async def unplanned_asks(self, *, serves: Sequence[str]) -> Sequence[AskRecord]:
        return await self.engine.read(lambda db: asks.unplanned_asks(db, serves=serves))

    async def plan_ask(self, ask_id: int, places: Sequence[tuple[ConversationKey, str]]) -> None:
        await self.engine.write(lambda db: ask_posts.plan_ask(db, ask_id, places))

    async def due_ask_posts(self, *, serves: Sequence[str]) -> Sequence[AskDelivery]:
        return await self.engine.read(lambda db: ask_posts.due_ask_posts(db, serves=serves))

    async def mark_ask_posting(self, post_id: int, worker: str) -> bool:
        return await self.engine.write(lambda db: ask_posts.mark_ask_posting(db, post_id, worker))

    async def take_ask_post(self, delivery: AskDelivery, worker: str) -> bool:
        return await self.engine.write(lambda db: ask_posts.take_ask_post(db, delivery, worker))

    async def mark_ask_posted(self, post_id: int, *, reference: str, shown: int) -> None:
        await self.engine.write(lambda db: ask_posts.mark_ask_posted(db, post_id, reference=reference, shown=shown))

    async def drop_ask_post(self, post_id: int) -> None:
        await self.engine.write(lambda db: ask_posts.drop_ask_post(db, post_id))


class RightsUnits(Units):
    """See `bot.ports.rights_store.RightsStore`."""

    async def has_grant(self, grant: Grant) -> bool:
        return await self.engine.read(lambda db: rights.has_grant(db, grant, now=self._now()))

    async def pins(self) -> Sequence[Pin]:
        return await self.engine.read(rights.pins)

    async def put_pins(self, pins: Sequence[Pin]) -> None:
        await self.engine.write(lambda db: rights.put_pins(db, pins))

    async def accept_pins(self, pins: Sequence[Pin], *, audit: Sequence[AuditEntry]) -> None:
        await self.engine.write(lambda db: rights.accept_pins(db, pins, audit=audit))

    async def audit(self, entries: Sequence[AuditEntry], *, once: str = "") -> None:
        if not once:
            await self.engine.write(lambda db: audit_log.append(db, entries))
            return
        await self.engine.write(lambda db: audit_log.append_once(db, entries, once=once, now=self._now()))

    async def audit_lines(
        self, *, after: int = 0, since: float = 0.0, person: str = "", tool: str = "", limit: int = 1_000
    ) -> Sequence[AuditLine]:
        return await self.engine.read(
            lambda db: audit_log.audit_lines(db, after=after, since=since, person=person, tool=tool, limit=limit)
        )

    async def past_calls(self, *, since: float, after: int = 0, limit: int = 1_000) -> Sequence[PastCall]:
        return await self.engine.read(lambda db: rights.past_calls(db, since=since, after=after, limit=limit))
