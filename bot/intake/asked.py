"""Asks as read for a person who acts on them: under the current policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.domain.answers import Refused
from bot.domain.asks import ApprovalAsk, AskRecord
from bot.domain.audit import AuditEntry, AuditKind
from bot.domain.messages import ToolSpec
from bot.domain.people import Asker
from bot.domain.rights import Facts, Person, Ruling, Terms
from bot.intake.access import Access
from bot.ports.rights import Policy
from bot.ports.store import MAX_ID, Store
from bot.rights.approving import why_not_decide
from bot.rights.guard import PolicyGuard
from bot.turns.ask_view import record_line
from bot.turns.auditing import audited_arguments

NOT_KNOWN = "This question is no longer known here."
EXPIRED = "The time for this decision is over."
NOT_YOURS = "Only the person who asked can answer this."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A pending ask, the person who acts on it and the asker. Approvals also have the call as it is judged now."""

    record: AskRecord
    by: Asker
    person: Person  # who acts, with groups that were just read
    asker: Person
    policy: Policy
    facts: Facts | None = None
    ruling: Ruling | None = None

    @property
    def is_asker(self) -> bool:
        """Whether the person acts on their own call."""
        return self.person.id == self.asker.id

    @property
    def is_in_doubt(self) -> bool:
        """Whether it is not known now which groups the asker is in, on which the ruling may hang."""
        return self.facts is not None and bool(self.facts.person.unknown)

    @property
    def terms(self) -> Terms:
        """How the call is approved now; where it need not be any more, one of those who may say so."""
        ask, ruling = self.record.ask, self.ruling
        if ruling is not None and ruling.verdict == "ask":
            return ruling.terms
        return ask.terms if isinstance(ask, ApprovalAsk) else Terms()

    @property
    def approvals(self) -> int:
        """How many different people have to approve it."""
        return 1 if self.ruling is not None and self.ruling.verdict == "allow" else self.terms.approvals

    def why_not(self) -> str:
        """Return why the person may not decide, as a sentence for them; empty where they may."""
        if self.person.outsider and (reason := self.policy.may_write(self.person, self.record.conversation.place)):
            return reason
        if not isinstance(self.record.ask, ApprovalAsk):
            return "" if self.is_asker else NOT_YOURS
        if self.person.problem and not self.is_asker:  # they may be a guest
            return f"I cannot find out whether you may decide: {self.person.problem}. Please try again in a minute."
        return why_not_decide(self.policy, self.terms, self.person, asker=self.asker)

    def entry(self, kind: AuditKind, at: float, *, outcome: str, approvers: tuple[str, ...] = ()) -> AuditEntry:
        """Return what the audit gets of what the person does."""
        record, ask = self.record, self.record.ask
        is_approval = isinstance(ask, ApprovalAsk)
        return AuditEntry(
            kind=kind,
            at=at,
            person=str(self.by.actor),
            place=record.conversation.place,
            server=ask.server,
            tool=ask.tool,
            arguments=audited_arguments(ask.arguments) if is_approval else "",
            rule=ask.rule if is_approval else "",
            approvers=approvers,
            outcome=outcome,
            turn_id=record.turn_id,
            call_id=record.call_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskReader:
    """Reads asks for those who act on them. `now` gives seconds since the epoch."""

    store: Store
    guard: PolicyGuard
    access: Access
    now: Callable[[], float]

    async def find(self, ask_id: int) -> AskRecord | None:
        """Return the ask of that id, which may be any number. Raises StoreError."""
        return await self.store.ask(ask_id) if 0 < ask_id <= MAX_ID else None

    async def read(self, ask_id: int, by: Asker) -> Asked | Refused:
        """Return the ask where it is pending, otherwise why nothing can be done. Raises StoreError."""
        record = await self.find(ask_id)
        if record is None:
            return Refused(notice=NOT_KNOWN)
        if why := self._why_ended(record):
            return Refused(notice=why)
        person = await self.guard.people.person(by, is_fresh=True)
        if isinstance(record.ask, ApprovalAsk):
            facts, ruling = await self.rule(record, record.ask)
            return self._asked(record, by, person, facts.person, facts=facts, ruling=ruling)
        return self._asked(record, by, person, await self.guard.people.person(record.by))

    async def why_not_here(self, by: Asker, *, act: str) -> str:
        """Return why the person may not use the bot where they act, as a sentence for them; empty where they may.

        The audit has the refusal of the `act`. Raises StoreError.
        """
        return await self.access.why_not(by, act=act)

    async def rule(self, record: AskRecord, ask: ApprovalAsk) -> tuple[Facts, Ruling]:
        """Return the call with what the current policy says of it; the ask may have other arguments than the record's.

        Raises StoreError.
        """
        spec = await self.guard.find(ask.name)
        if spec is not None:
            return await self.guard.rule(spec, ask.arguments, asker=record.by)
        unlisted = ToolSpec(name=ask.name, server=ask.server, tool=ask.tool, description="", parameters={})
        return await self.guard.rule(unlisted, ask.arguments, asker=record.by, change=ask.change)

    async def why_outside(self, by: Asker, place: str) -> str:
        """Return why an outsider may not act there, as a sentence for them; empty for everyone else."""
        person = await self.guard.people.writer(by)
        return self.guard.policy().may_write(person, place) if person.outsider else ""

    async def refuse(self, asked: Asked, notice: str, *, act: str) -> Refused:
        """Return the refusal, which the audit has. Raises StoreError."""
        await self.store.audit([asked.entry("refused", self.now(), outcome=act)])
        return Refused(notice=notice)

    def _asked(
        self,
        record: AskRecord,
        by: Asker,
        person: Person,
        asker: Person,
        *,
        facts: Facts | None = None,
        ruling: Ruling | None = None,
    ) -> Asked:
        policy = self.guard.policy()
        return Asked(record=record, by=by, person=person, asker=asker, policy=policy, facts=facts, ruling=ruling)

    def _why_ended(self, record: AskRecord) -> str:
        if record.state != "pending":
            return f"This is no longer open. {record_line(record)}".strip()
        return EXPIRED if record.expires_at <= self.now() else ""
