"""The inbox: every event enters here; a message is stored before it is acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import assert_never

import structlog

from bot.domain.answers import (
    Accepted,
    Answered,
    CommandAnswer,
    Decided,
    Done,
    Explained,
    Formed,
    Ignored,
    Known,
    Queued,
    Rated,
    Refused,
    Revised,
    Submitted,
)
from bot.domain.errors import StoreError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    FormAsked,
    FormSubmitted,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from bot.domain.people import Actor
from bot.intake.access import Access
from bot.intake.admission import Admission
from bot.intake.apps import AppGate
from bot.intake.bounds import MAX_OPEN, MAX_UNDECIDED, MAX_WAITING, own_bounds, why_full
from bot.intake.decisions import Decisions
from bot.intake.early import EarlyMessages
from bot.intake.forms import Forms
from bot.intake.past_answers import PastAnswers
from bot.intake.refusing import Refusals, note_unanswered
from bot.intake.revisions import of_edit, of_withdrawal, unchanged
from bot.intake.talk import CommonTalk, ExpectedAnswers
from bot.intake.told import Told
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.http import HttpListener, NoListener
from bot.ports.intake_store import Full, OverBudget
from bot.ports.store import NoteStore, Store
from bot.ports.tools import ToolDirectory
from bot.text.redaction import hide_known
from bot.turns.bell import Bell
from bot.turns.budgets import Budgets

log = structlog.stdlib.get_logger(__name__)

LATE_MENTION = timedelta(minutes=2)  # how long a message can become a question by an edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """The `Host` of all adapters, as the process `worker`."""

    worker: str
    store: Store
    admission: Admission
    answer: Callable[[CommandInvoked], Awaitable[CommandAnswer]]
    bell: Bell
    directory: ToolDirectory
    access: Access
    budgets: Budgets
    decisions: Decisions
    forms: Forms
    about: str = ""
    kept_notes: NoteStore | None = None  # with tokens encrypted; None: as the store keeps them
    http: HttpListener = field(default_factory=NoListener)
    cluster: Cluster = field(default_factory=LoneCluster)
    early: EarlyMessages | None = None  # None: no message can overtake the one that it follows
    apps: AppGate = field(default_factory=AppGate)
    expected: ExpectedAnswers = field(default_factory=ExpectedAnswers)
    takes_follow_ups: bool = True  # also without a mention, where the bot takes part
    shows_thoughts: bool = False  # in Details, after the calls
    withdrew: Callable[[str], None] = lambda _: None  # called with the platform of each question that was withdrawn
    refusals: Refusals = field(init=False)

    def __post_init__(self) -> None:
        refusals = Refusals(store=self.store, access=self.access, told=Told(self.cluster))
        object.__setattr__(self, "refusals", refusals)

    @property
    def talk(self) -> CommonTalk:
        """Whom people spoke to."""
        return CommonTalk(cluster=self.cluster, store=self.store, own=self.expected)

    @property
    def past(self) -> PastAnswers:
        """What people ask of answers that they have."""
        return PastAnswers(store=self.store, access=self.access, shows_thoughts=self.shows_thoughts)

    @property
    def notes(self) -> NoteStore:
        """See `Host`."""
        return self.kept_notes or self.store

    # --- messages ---

    async def accept(self, event: MessageReceived) -> Accepted:
        """See `Host`."""
        outcome = await self.decide_now(event)
        if self.early is None or not (isinstance(outcome, Ignored) and self.takes_follow_ups):
            return outcome
        return await self.early.hold(event, self.decide_now) if await self.early.may_be_early(event) else outcome

    async def decide_now(self, event: MessageReceived) -> Accepted:
        """Return what happens to a message as things are now. Raises StoreError."""
        if not await self._is_for_bot(event):
            await self._note_talk(event)
            return Ignored()
        if event.author_kind == "person":
            if not event.is_addressed and await self._is_shut_out(event):  # it may have been said to the others
                await self._note_talk(event)
                return Ignored()
            await self.apps.note_person_of_all(event, self.cluster, self.store)
            return await self._accept(event)
        outcome = await self._accept(event)
        if isinstance(outcome, Refused):  # what is said to another bot may be answered by it
            note_unanswered(event.event_key, outcome.notice)
            return Ignored()
        return outcome

    async def _accept(self, event: MessageReceived) -> Accepted:
        admitted = await self.admission.admit_of_all(event)
        if isinstance(admitted, Refused):
            return await self.refusals.known(event) or admitted
        if reason := await self.access.why_not_here(event.asker):
            return await self.refusals.known(event) or await self.refusals.shut_out(event, reason)
        if reason := self.access.why_not_read(event.text):
            return await self.refusals.known(event) or await self.refusals.refuse(event, reason)
        toll = await self.budgets.toll(event.asker, event.conversation)
        outcome = await self.store.accept(
            admitted,
            worker=self.worker,
            max_waiting=MAX_WAITING,
            max_open=MAX_OPEN,
            max_undecided=MAX_UNDECIDED,
            own=own_bounds(event),
            toll=toll,
        )
        match outcome:
            case Queued():
                self.bell.ring_for_work()
                return outcome
            case Known():
                return outcome
            case Full():
                return Refused(notice=why_full(outcome))
            case OverBudget():
                return await self.refusals.over_budget(event, self.budgets.refusal(outcome.used))
            case _:
                assert_never(outcome)

    async def may_ask(self, event: MessageReceived) -> Refused | None:
        """See `Host`."""
        admitted = await self.admission.admit_of_all(event)
        if isinstance(admitted, Refused):
            return admitted
        try:
            reason = await self.access.why_not(event.asker, act="message", text=event.text)
            reason = reason or await self.budgets.why_not(event.asker, event.conversation)
        except StoreError as error:
            reason = str(error)
        return Refused(notice=reason) if reason else None

    async def _is_shut_out(self, event: MessageReceived) -> bool:
        return bool(await self.access.why_not_here(event.asker) or self.access.why_not_read(event.text))

    async def revise(self, event: MessageEdited | MessageDeleted) -> Revised:
        """See `Host`."""
        match event:
            case MessageEdited():
                outcome = await self._edit(event.message)
                if isinstance(outcome, Refused) and event.message.author_kind != "person":  # as for its messages
                    note_unanswered(event.message.event_key, outcome.notice)
                    return Ignored()
                return outcome
            case MessageDeleted():
                revision = await self.store.withdraw(event.event_key)
                if revision == "made":
                    self.withdrew(event.conversation.platform)
                if revision == "unknown" and self.early is not None and await self.early.drop(event.event_key):
                    revision = "made"
                if revision == "made":
                    self.bell.ring_for_work()  # for the one behind it
                    note_unanswered(event.event_key, "it was deleted")
                return of_withdrawal(revision)
            case _:
                assert_never(event)

    async def _edit(self, message: MessageReceived) -> Revised:
        if await self.store.find(message.event_key) is None:
            if _is_addressed_in_time(message):
                return await self.admission.why_no_change_of_all(message) or await self.accept(message)
            if self.early is not None and not message.is_addressed and await self.early.revise(message):
                return Done()
            if message.is_addressed and message.author_kind == "person":
                note_unanswered(message.event_key, "an edit added the mention too late")
            return Ignored()
        admitted = await self.admission.revise_of_all(message)
        if isinstance(admitted, Refused):
            return unchanged(admitted.notice)
        if reason := await self.access.why_not(message.asker, act="message", text=message.text):
            return unchanged(reason)
        revision = await self.store.edit(admitted)
        self.bell.ring_for_work()  # a claim passes over a turn that is being changed
        return of_edit(revision)

    async def _is_for_bot(self, event: MessageReceived) -> bool:
        if event.is_talk:
            await self.talk.note(event)
            return False
        if event.author_kind != "person":
            reason = await self.apps.why_not_of_all(event, self.cluster, self.store)
            if reason and event.is_addressed:
                note_unanswered(event.event_key, reason)
            return not reason
        if await self.talk.is_one(event):
            return False
        if event.is_addressed:
            return True
        return await self.expects_follow_ups(event.conversation)

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        """See `Host`."""
        return self.takes_follow_ups and await self.store.takes_part(conversation)

    async def _note_talk(self, event: MessageReceived) -> None:
        """Remember that there is something in the thread to be read before the next question."""
        if event.has_earlier and await self.store.takes_part(event.conversation):
            await self.store.note_talk(event.conversation, at=event.sent_at)

    # --- commands, and what people press ---

    async def command(self, event: CommandInvoked) -> Answered:
        """See `Host`."""
        if not event.is_addressed and not await self.store.takes_part(event.conversation):
            return Ignored()
        if refused := await self._too_many(event, decides=event.name == "stop"):
            return CommandAnswer(text=refused.notice) if refused.notice else Ignored()
        try:
            if reason := await self.access.why_not(event.asker, act=event.name):
                return CommandAnswer(text=reason)
            answer = await self.answer(event)
            return replace(answer, text=hide_known(answer.text))
        except StoreError as error:
            return CommandAnswer(text=str(error))

    async def details(self, event: DetailsAsked) -> Explained:
        """See `Host`."""
        if refused := await self._too_many(event, decides=bool(event.ask_id)):
            return refused
        try:
            if event.ask_id:
                return await self.decisions.details(event)
            return await self.past.details(event)
        except StoreError as error:
            return Refused(notice=str(error))

    async def rate(self, event: FeedbackGiven) -> Rated:
        """See `Host`."""
        if refused := await self._too_many(event):
            return refused
        try:
            return await self.past.rate(event)
        except StoreError as error:
            return Refused(notice=str(error))

    async def decide(self, event: DecisionMade) -> Decided:
        """See `Host`."""
        return await self._too_many(event, decides=True) or await self.decisions.decide(event)

    async def form(self, event: FormAsked) -> Formed:
        """See `Host`."""
        return await self._too_many(event, decides=_is_asked_for(event.target)) or await self.forms.form(event)

    async def submit(self, event: FormSubmitted) -> Submitted:
        """See `Host`."""
        return await self._too_many(event, decides=_is_asked_for(event.target)) or await self.forms.submit(event)

    # --- how often ---

    async def _too_many(
        self,
        event: CommandInvoked | DetailsAsked | FeedbackGiven | DecisionMade | FormAsked | FormSubmitted,
        *,
        decides: bool = False,
    ) -> Refused | None:
        return await self.admission.why_not_of_all(event.actor, event.event_key, act="decide" if decides else "act")

    def is_muted(self, actor: Actor, *, decides: bool = False) -> bool:
        """See `Host`."""
        return self.admission.is_muted(actor, act="decide" if decides else "act")

    def may_look_up(self, event: CommandInvoked) -> bool:
        """See `Host`."""
        return self.admission.may_look_up(event.actor, event.event_key)


def _is_asked_for(target: str) -> bool:
    """Return whether a form answers something that is asked, and makes no call of its own."""
    return not target.startswith("run:")


def _is_addressed_in_time(message: MessageReceived) -> bool:
    """Return whether a message that was no question has become one by an edit soon enough."""
    edited_at = message.edited_at
    return message.is_addressed and edited_at is not None and edited_at - message.sent_at <= LATE_MENTION
