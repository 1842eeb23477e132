"""The Store port on any engine: each method runs one unit of work (`bot/stores/units`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from bot.domain.answers import Known, Queued
from bot.domain.asks import Ask, Vote
from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge, Spent, Toll
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import Message, Usage
from bot.domain.turns import CallDecided, Post, Step, TurnState
from bot.ports.conversation_store import ConversationSummary, History, HistoryEntry, Knowledge, ToolMemory
from bot.ports.intake_store import NO_BOUNDS, DecisionOutcome, Full, OverBudget, OwnBounds, Revision
from bot.ports.rights_store import Grant, Settlement, VoteOutcome
from bot.ports.saved_files import SavedFiles
from bot.ports.work_store import ClaimedTurn, Lease, OutboxPost, Signal, ToolUse
from bot.stores.base import Units
from bot.stores.budgets import BudgetUnits
from bot.stores.cluster import ClusterUnits
from bot.stores.files import DatabaseFiles
from bot.stores.retention import RetentionUnits
from bot.stores.rights import AskUnits, RightsUnits
from bot.stores.units import conversations, intake, journal, notes, tools, work


class IntakeUnits(Units):
    """See `bot.ports.intake_store.IntakeStore`."""

    async def accept(
        self,
        event: MessageReceived,
        *,
        worker: str,
        max_waiting: int,
        max_open: int | None = None,
        max_undecided: int | None = None,
        own: OwnBounds = NO_BOUNDS,
        toll: Toll | None = None,
    ) -> Queued | Known | Full | OverBudget:
        return await self.engine.write(
            lambda db: intake.accept(
                db,
                event,
                worker=worker,
                max_waiting=max_waiting,
                max_open=max_open,
                max_undecided=max_undecided,
                own=own,
                toll=toll,
                now=self._now(),
            ),
            of=event.conversation,
        )

    async def find(self, event_key: str) -> int | None:
        known = await self.engine.read(lambda db: intake.find(db, event_key))
        if known is not None:
            return known
        # It may be among those that wait for the next commit: behind them it is known.
        return await self.engine.read_behind(lambda db: intake.find(db, event_key))

    async def takes_part(self, conversation: ConversationKey) -> bool:
        if await self.engine.read(lambda db: intake.takes_part(db, conversation)):
            return True
        # The question that this one follows may wait for the next commit as well.
        return await self.engine.read_behind(lambda db: intake.takes_part(db, conversation))

    async def note_talk(self, conversation: ConversationKey, *, at: datetime) -> None:
        await self.engine.write(lambda db: intake.note_talk(db, conversation, at=at), of=conversation)

    async def edit(self, message: MessageReceived) -> Revision:
        return await self.engine.write(lambda db: intake.edit(db, message), of=message.conversation)

    async def withdraw(self, event_key: str) -> Revision:
        if await self.find(event_key) is None:
            return "unknown"
        return await self.engine.write(lambda db: intake.withdraw(db, event_key, now=self._now()))

    async def request_stop(
        self, conversation: ConversationKey, *, by: str, author: str = "", turn_id: int = 0
    ) -> int | None:
        return await self.engine.write(
            lambda db: intake.request_stop(db, conversation, by=by, author=author, turn_id=turn_id),
            of=conversation,
        )

    async def decide(self, turn_id: int, decision: CallDecided) -> DecisionOutcome:
        return await self.engine.write(lambda db: intake.decide(db, turn_id, decision, now=self._now()))

    async def vote(
        self,
        ask_id: int,
        vote: Vote,
        *,
        version: int,
        edited: Ask | None = None,
        settles: Settlement | None = None,
        grant: Grant | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> VoteOutcome:
        return await self.engine.write(
            lambda db: intake.vote(
                db,
                ask_id,
                vote,
                version=version,
                edited=edited,
                settles=settles,
                grant=grant,
                audit=audit,
                now=self._now(),
            )
        )


class WorkUnits(Units):
    """See `bot.ports.work_store.WorkStore`."""

    def now(self) -> float:
        return self._now()

    async def heartbeat(self, worker: str, *, lease_s: float) -> bool:
        return await self.engine.write(
            lambda db: work.heartbeat(
                db,
                worker,
                expires_at=self._leases.end_of(lease_s),
                latest_end=self._leases.latest_end(),
                cutoff=self._leases.cutoff(),
            ),
            is_urgent=True,
        )

    async def workers(self) -> Sequence[str]:
        return await self.engine.read(lambda db: work.workers(db, cutoff=self._leases.cutoff()))

    async def release(self, worker: str) -> None:
        await self.engine.write(lambda db: work.release(db, worker))

    async def expire(self, worker: str) -> None:
        await self.engine.write(lambda db: work.expire(db, worker))

    async def claim(
        self, worker: str, *, serves: Sequence[str], limit: int, reserved: int = 0
    ) -> Sequence[ClaimedTurn]:
        if not serves or limit <= 0:
            return []
        return await self.engine.write(
            lambda db: work.claim(
                db, worker, serves=serves, limit=limit, reserved=reserved, cutoff=self._leases.cutoff()
            )
        )

    async def give_back(self, lease: Lease, *, is_spent: bool = True) -> None:
        await self.engine.write(lambda db: work.give_back(db, lease, is_spent=is_spent), of=lease.conversation_id)

    async def hand_over(
        self, worker: str, *, serves: Sequence[str], keeps: Sequence[int], is_begun: bool = False
    ) -> None:
        if await self.engine.read(
            lambda db: work.has_others(db, worker, serves=serves, keeps=keeps, is_begun=is_begun)
        ):
            await self.engine.write(
                lambda db: work.hand_over(db, worker, serves=serves, keeps=keeps, is_begun=is_begun)
            )

    async def signals(self, worker: str, *, again: bool = False) -> Sequence[Signal]:
        if not again and not await self.engine.read(lambda db: work.has_signals(db, worker)):
            return []
        return await self.engine.write(lambda db: work.signals(db, worker, again=again))

    async def check_lease(self, lease: Lease) -> None:
        await self.engine.write(lambda db: work.check_lease(db, lease), of=lease.conversation_id)

    async def record(
        self,
        lease: Lease,
        steps: Sequence[Step],
        *,
        audit: Sequence[AuditEntry] = (),
        charge: Charge | None = None,
        again: bool = False,
    ) -> None:
        await self.engine.write(
            lambda db: work.record(db, lease, steps, now=self._now(), audit=audit, charge=charge, again=again),
            of=lease.conversation_id,
        )

    async def steps(self, turn_id: int) -> Sequence[Step]:
        return await self.engine.read(lambda db: journal.steps(db, turn_id))

    async def ended_alone(self, turn_ids: Sequence[int]) -> Sequence[ClaimedTurn]:
        if not turn_ids:
            return []
        return await self.engine.read(lambda db: work.ended_alone(db, turn_ids, cutoff=self._leases.cutoff()))

    async def park(
        self,
        lease: Lease,
        steps: Sequence[Step],
        *,
        wakes_at: float,
        audit: Sequence[AuditEntry] = (),
        charge: Charge | None = None,
        again: bool = False,
    ) -> TurnState:
        return await self.engine.write(
            lambda db: work.park(
                db, lease, steps, wakes_at=wakes_at, now=self._now(), audit=audit, charge=charge, again=again
            ),
            of=lease.conversation_id,
        )

    async def wake_expired(self) -> int:
        if not await self.engine.read(lambda db: work.has_expired(db, now=self._now())):
            return 0
        return await self.engine.write(lambda db: work.wake_expired(db, now=self._now()))

    async def reply(
        self,
        lease: Lease,
        *,
        state: Literal["answered", "stopped", "failed"],
        messages: Sequence[Message],
        posts: Sequence[Post],
        usage: Usage,
        steps: Sequence[Step] = (),
        audit: Sequence[AuditEntry] = (),
        charge: Charge | None = None,
        tool_use: ToolUse | None = None,
        read_until: datetime | None = None,
        again: bool = False,
    ) -> None:
        await self.engine.write(
            lambda db: work.reply(
                db,
                lease,
                state=state,
                messages=messages,
                posts=posts,
                usage=usage,
                steps=steps,
                audit=audit,
                charge=charge,
                tool_use=tool_use,
                read_until=read_until,
                now=self._now(),
                again=again,
            ),
            of=lease.conversation_id,
        )

    async def outbox(self, turn_id: int) -> Sequence[OutboxPost]:
        return await self.engine.read(lambda db: work.outbox(db, turn_id))

    async def mark_posting(self, lease: Lease, part: int) -> None:
        await self.engine.write(lambda db: work.mark_posting(db, lease, part), of=lease.conversation_id)

    async def mark_unsent(self, lease: Lease, part: int) -> None:
        await self.engine.write(lambda db: work.mark_unsent(db, lease, part), of=lease.conversation_id)

    async def mark_posted(
        self, lease: Lease, part: int, *, reference: str, ends_turn: bool, again: bool = False
    ) -> None:
        await self.engine.write(
            lambda db: work.mark_posted(
                db, lease, part, reference=reference, ends_turn=ends_turn, now=self._now(), again=again
            ),
            of=lease.conversation_id,
        )

    async def abandon(self, lease: Lease) -> None:
        await self.engine.write(lambda db: work.abandon(db, lease, now=self._now()), of=lease.conversation_id)


class ConversationUnits(Units):
    """See `bot.ports.conversation_store.ConversationStore`."""

    async def history(self, conversation: ConversationKey) -> History:
        return await self.engine.read(lambda db: conversations.history(db, conversation))

    async def unsummarised(self, conversation: ConversationKey) -> History:
        return await self.engine.read(lambda db: conversations.unsummarised(db, conversation))

    async def put_summary(
        self,
        conversation: ConversationKey,
        summary: str,
        *,
        past_turn_id: int,
        summary_end: int,
        turn_id: int,
        usage: Usage,
        charge: Charge | None = None,
    ) -> bool:
        return await self.engine.write(
            lambda db: conversations.put_summary(
                db,
                conversation,
                summary,
                past_turn_id=past_turn_id,
                summary_end=summary_end,
                turn_id=turn_id,
                usage=usage,
                charge=charge,
            ),
            of=conversation,
        )

    async def knowledge(self, conversation: ConversationKey) -> Knowledge:
        return await self.engine.read(lambda db: conversations.knowledge(db, conversation))

    async def tool_memory(self, conversation: ConversationKey) -> ToolMemory:
        return await self.engine.read(lambda db: tools.tool_memory(db, conversation))

    async def move_window(self, conversation: ConversationKey, *, past_turn_id: int) -> None:
        await self.engine.write(
            lambda db: conversations.move_window(db, conversation, past_turn_id=past_turn_id), of=conversation
        )

    async def transcript(self, conversation: ConversationKey, *, limit: int) -> Sequence[HistoryEntry]:
        return await self.engine.read(lambda db: conversations.transcript(db, conversation, limit=limit))

    async def conversations(self, *, limit: int, prefix: str = "") -> Sequence[ConversationSummary]:
        return await self.engine.read(lambda db: conversations.conversations(db, limit=limit, prefix=prefix))

    async def open_conversations(self, *, prefix: str) -> Sequence[ConversationSummary]:
        return await self.engine.read(lambda db: conversations.open_conversations(db, prefix=prefix))

    async def participants(
        self, conversation: ConversationKey, *, is_open: bool = False, turn_id: int = 0
    ) -> Sequence[str]:
        return await self.engine.read(
            lambda db: conversations.participants(db, conversation, is_open=is_open, turn_id=turn_id)
        )

    async def clear(self, conversation: ConversationKey) -> int:
        return await self.engine.write(
            lambda db: conversations.clear(db, conversation, now=self._now()), of=conversation
        )

    async def usage(self, conversation: ConversationKey | None = None, *, author: str = "") -> Spent:
        return await self.engine.read(lambda db: conversations.usage(db, conversation, author=author))

    async def is_turn_of(self, turn_id: int, conversation: ConversationKey) -> bool:
        return await self.engine.read(lambda db: conversations.is_turn_of(db, turn_id, conversation))

    async def rate(self, turn_id: int, *, author_id: str, rating: Rating) -> None:
        await self.engine.write(
            lambda db: conversations.rate(db, turn_id, author_id=author_id, rating=rating, now=self._now())
        )


class NoteUnits(Units):
    """See `bot.ports.store.NoteStore`."""

    async def notes(self, prefix: str) -> Mapping[str, str]:
        return await self.engine.read(lambda db: notes.notes(db, prefix))

    async def put_note(self, name: str, text: str | None) -> None:
        await self.engine.write(lambda db: notes.put_note(db, name, text))


class EngineStore(
    IntakeUnits,
    WorkUnits,
    ConversationUnits,
    AskUnits,
    RightsUnits,
    BudgetUnits,
    NoteUnits,
    RetentionUnits,
    ClusterUnits,
):
    """See `bot.ports.store.Store`. Closed with its engine."""

    @property
    def saved_files(self) -> SavedFiles | None:
        return DatabaseFiles(self.engine) if self.engine.keeps_files else None

    def measure(self, committed: Callable[[int], None]) -> None:
        self.engine.measure(committed)

    async def check_writing(self) -> None:
        await self.engine.write(work.write_check)

    async def check(self) -> None:
        await self.engine.check()
        await self.engine.write(work.write_check)
