"""Decisions: a press on a button below what is asked, checked by the current policy and stored before it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.domain.answers import Decided, Details, Done, Explained, Refused
from bot.domain.asks import ApprovalAsk, AskRecord, AskState, LinkAsk, Vote
from bot.domain.audit import AuditEntry
from bot.domain.errors import StoreError
from bot.domain.events import DecisionMade, DetailsAsked
from bot.domain.turns import CallDecided, TraceLine
from bot.intake.asked import NOT_KNOWN, Asked, AskReader
from bot.ports.rights_store import Grant, Settlement
from bot.rights.approving import approver_name, holding, voter_name
from bot.turns.ask_view import edited_by, valid_votes
from bot.turns.bell import Bell
from bot.turns.details import DETAILS_CHARS, shown_text

TRIES = 5  # of a vote, where others vote at the same moment
HOUR_S = 3600.0
STALE = "The arguments have changed since this was shown. Look at them again, then decide."
BUSY = "Several people decided at the same moment. Please press again."
CHANGED = "The policy has changed since this was asked, and does not allow the call any more: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Takes decisions on what is asked."""

    reader: AskReader
    bell: Bell
    settled: Callable[[AskState], None] = lambda _: None  # called with how each approval ended by a press

    async def decide(self, event: DecisionMade) -> Decided:
        """See `Host.decide`."""
        try:
            for _ in range(TRIES):
                asked = await self.reader.read(event.ask_id, event.asker)
                outcome = asked if isinstance(asked, Refused) else await self._press(event, asked)
                if outcome is not None:
                    return outcome
        except StoreError as error:
            return Refused(notice=str(error))
        return Refused(notice=BUSY)

    async def details(self, event: DetailsAsked) -> Explained:
        """Return the exact arguments of the call that is asked about, and the asker's link. Raises StoreError."""
        record = await self.reader.find(event.ask_id)
        if record is None:
            return Refused(notice=NOT_KNOWN)
        if why := await self.reader.why_outside(event.asker, record.conversation.place):
            return Refused(notice=why)
        asked = await self.reader.read(event.ask_id, event.asker)
        if why := await self._why_not_shown(event, record, asked):
            return Refused(notice=why)
        ask = record.ask
        arguments = ask.arguments if isinstance(ask, ApprovalAsk) else ""
        line = TraceLine(
            call_id=record.call_id,
            server=ask.server,
            tool=ask.tool,
            state="waiting" if record.state == "pending" else "asked",
            arguments=shown_text(arguments, max_chars=DETAILS_CHARS),
        )
        is_own = isinstance(asked, Asked) and asked.is_asker
        return Details(lines=(line,), link=ask.url if isinstance(ask, LinkAsk) and is_own else "")

    async def _why_not_shown(self, event: DetailsAsked, record: AskRecord, asked: Asked | Refused) -> str:
        """Return why the person may not see the arguments, as a sentence; empty where they may.

        Those who decide may, wherever they are asked; so may those who may use the bot where the question was asked.
        """
        may_decide = isinstance(asked, Asked) and (asked.is_asker or not asked.why_not())
        if not may_decide and event.conversation != record.conversation:
            return asked.notice if isinstance(asked, Refused) else asked.why_not()
        if may_decide and not event.standing.outsider:
            return ""
        return await self.reader.why_not_here(event.asker, act="details")

    # --- one press ---

    async def _press(self, event: DecisionMade, asked: Asked) -> Decided | None:
        """Return what became of it; None where the ask has changed meanwhile."""
        if event.choice == "withdraw" or (event.choice == "decline" and asked.is_asker):
            return await self._take_back(event, asked)
        why = asked.why_not()
        if asked.ruling is not None and asked.ruling.verdict == "deny" and (asked.is_asker or not why):
            if asked.is_in_doubt:  # the platform may say it in a minute
                return await self.reader.refuse(asked, asked.ruling.reason, act=event.choice)
            return await self._end(event, asked, CHANGED.format(reason=asked.ruling.reason))
        if event.choice == "suggest_rule":
            return self._suggest(asked)
        if why:
            return await self.reader.refuse(asked, why, act=event.choice)
        if not isinstance(asked.record.ask, ApprovalAsk):
            return await self._answer(event, asked)
        if event.digest != asked.record.ask.digest:
            return await self.reader.refuse(asked, STALE, act=f"{event.choice}: of other arguments")
        if event.choice == "decline":
            vote = self._vote(event, asked, choice="decline")
            return await self._settle(asked, vote, state="declined", outcome="declined")
        return await self._approve(event, asked)

    async def _take_back(self, event: DecisionMade, asked: Asked) -> Decided | None:
        if not asked.is_asker:
            return await self.reader.refuse(asked, "Only the person who asked can withdraw this.", act=event.choice)
        is_approval = isinstance(asked.record.ask, ApprovalAsk)
        if event.choice == "decline":
            vote = self._vote(event, asked, choice="decline")
            return await self._settle(asked, vote, state="declined", outcome="declined" if is_approval else "decline")
        vote = self._vote(event, asked, choice="withdraw")
        return await self._settle(asked, vote, state="withdrawn", outcome="withdrawn" if is_approval else "cancel")

    async def _end(self, event: DecisionMade, asked: Asked, notice: str) -> Decided | None:
        """End what the policy does not allow any more; the turn is woken, and judges the call again."""
        vote = self._vote(event, asked, choice="decline" if event.choice == "decline" else "run")
        ended = await self._settle(asked, vote, state="void", outcome="void", note=notice)
        return Refused(notice=notice) if isinstance(ended, Done) else ended

    def _suggest(self, asked: Asked) -> Decided:
        if asked.facts is None or (asked.why_not() and not asked.is_asker):
            return Refused(notice=asked.why_not())
        toml = asked.policy.suggest_rule(asked.facts).strip()
        return Done(notice=f"An operator can add this rule to toolbridge.toml:\n```toml\n{toml}\n```")

    async def _answer(self, event: DecisionMade, asked: Asked) -> Decided | None:
        """Take the press on a page that was opened; forms are answered by `Host.submit`."""
        if not isinstance(asked.record.ask, LinkAsk) or event.choice != "run":
            return Refused(notice="Fill in the form to answer this.")
        vote = self._vote(event, asked, choice="answer")
        return await self._settle(asked, vote, state="answered", outcome="accept")

    # --- approvals ---

    async def _approve(self, event: DecisionMade, asked: Asked) -> Decided | None:
        before, needed = valid_votes(asked.record), asked.approvals
        if any(vote.person == asked.person.id for vote in before):
            return Done(notice=f"You have approved this already: {len(before)} of {needed}.")
        is_for_an_hour = event.choice == "run_for_an_hour" and _may_last(asked)
        vote = self._vote(event, asked, choice="run_for_an_hour" if is_for_an_hour else "run")
        held = [*await self._held(asked, before), vote]
        if len(held) < needed:
            return await self._add(asked, vote, count=len(held), needed=needed)
        return await self._settle(
            asked,
            vote,
            state="approved",
            outcome="approved",
            votes=held,
            grant=self._grant(asked) if is_for_an_hour else None,
        )

    async def _held(self, asked: Asked, votes: Sequence[Vote]) -> Sequence[Vote]:
        people, place = self.reader.guard.people, asked.record.conversation.place
        held = await holding(asked.policy, people, asked.terms, votes, asker=asked.asker, place=place)
        return held.votes

    async def _add(self, asked: Asked, vote: Vote, *, count: int, needed: int) -> Decided | None:
        entry = asked.entry("decided", vote.at, outcome=f"{vote.choice} ({count} of {needed})")
        more = needed - count
        people = "one more person has" if more == 1 else f"{more} more people have"
        return await self._stored(
            asked, vote, audit=[entry], notice=f"Noted: {count} of {needed}; {people} to approve."
        )

    def _grant(self, asked: Asked) -> Grant:
        ask, ruling = asked.record.ask, asked.ruling
        return Grant(
            person=asked.asker.id,
            conversation=asked.record.conversation,
            server=ask.server,
            tool=ask.tool,
            rule_key=ruling.rule_key if ruling else "",
            until=self.reader.now() + HOUR_S,
        )

    # --- storing ---

    def _vote(
        self,
        event: DecisionMade,
        asked: Asked,
        *,
        choice: Literal["run", "run_for_an_hour", "decline", "withdraw", "answer"],
    ) -> Vote:
        return Vote(
            person=asked.person.id,
            by=voter_name(event.actor),
            name=event.author_name or event.author_id,
            choice=choice,
            at=self.reader.now(),
            digest=event.digest,
        )

    async def _settle(
        self,
        asked: Asked,
        vote: Vote,
        *,
        state: AskState,
        outcome: str,
        votes: Sequence[Vote] = (),
        grant: Grant | None = None,
        note: str = "",
    ) -> Decided | None:
        record, ask = asked.record, asked.record.ask
        editor = edited_by(record)
        counted = tuple(votes or [vote])
        decision = CallDecided(
            round=record.round,
            call_id=record.call_id,
            outcome=outcome,
            by=str(asked.by.actor),
            note=note or editor,
            votes=counted,
            arguments=ask.arguments if editor and isinstance(ask, ApprovalAsk) else "",
        )
        approvers = tuple(map(approver_name, counted)) if state == "approved" else ()
        entry = asked.entry("decided", vote.at, outcome=vote.choice if state != "void" else state, approvers=approvers)
        settles = Settlement(state=state, decision=decision)
        return await self._stored(asked, vote, settles=settles, grant=grant, audit=[entry])

    async def _stored(
        self,
        asked: Asked,
        vote: Vote,
        *,
        audit: Sequence[AuditEntry],
        settles: Settlement | None = None,
        grant: Grant | None = None,
        notice: str = "",
    ) -> Decided | None:
        record = asked.record
        outcome = await self.reader.store.vote(
            record.id, vote, version=record.version, settles=settles, grant=grant, audit=audit
        )
        match outcome:
            case "made":
                self.bell.ring_for_asks()
                self.bell.ring_for_work()
                if settles is not None and isinstance(record.ask, ApprovalAsk):
                    self.settled(settles.state)
                return Done(notice=notice)
            case "changed":
                return None
            case "decided_before":
                return Refused(notice="This was decided meanwhile.")
            case "unknown":
                return Refused(notice=NOT_KNOWN)


def _may_last(asked: Asked) -> bool:
    """Return whether an hour may be granted: only the asker decides, and the tool has not changed."""
    ask, ruling = asked.record.ask, asked.ruling
    is_own = ruling is not None and ruling.verdict == "ask" and ruling.terms.is_own
    return is_own and isinstance(ask, ApprovalAsk) and not ask.change
