"""The port to what arrives: messages and decisions, stored before they are acknowledged; see `bot.ports.store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.answers import Known, Queued
from bot.domain.asks import Ask, Vote
from bot.domain.audit import AuditEntry
from bot.domain.budgets import Toll, Used
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.turns import CallDecided
from bot.ports.rights_store import Grant, Settlement, VoteOutcome

# What became of a change to a message: it was made, there was nothing to change, it came too late (the turn had been
# started or has ended; it is left as it is), or no such message is stored.
Revision = Literal["made", "none", "started", "ended", "unknown"]


# What became of a decision: it was stored, the call was decided before, or no such call waits.
DecisionOutcome = Literal["made", "decided_before", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """The message was not stored: too many turns are open, in the conversation or in the process, of all or of its
    author ("own").
    """

    waits_behind: int  # open turns of the conversation
    why: Literal["waiting", "open", "undecided", "own_waiting", "own_open", "own_undecided"] = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBounds:
    """How many of the turns that may be open can be one author's, so that they leave room for others; None: all."""

    waiting: int | None = None  # in one conversation
    open: int | None = None  # in the worker, on one platform
    undecided: int | None = None  # on one platform; these wait for a decision, and are open in no worker


NO_BOUNDS = OwnBounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """The message was not stored: these bounds are used up."""

    used: Sequence[Used]


class IntakeStore(Protocol):
    """What arrives, stored before it is acknowledged."""

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
        """Store the event as a queued turn of `worker` unless its `event_key` is stored already.

        The `toll` is looked at and charged in the same commit: of two questions for which there is room for one, one is
        stored.

        With `max_waiting` open turns in the conversation, or `max_open` of the worker on its platform, nothing is
        stored, nor with as many of the author's as `own` allows. A turn that waits for a decision does not count among
        these; of such turns the conversation may have `max_undecided`.
        """
        ...

    async def find(self, event_key: str) -> int | None:
        """Return the turn of an event that is stored already."""
        ...

    async def takes_part(self, conversation: ConversationKey) -> bool:
        """Return whether the bot was ever asked something in this conversation that was not withdrawn."""
        ...

    async def note_talk(self, conversation: ConversationKey, *, at: datetime) -> None:
        """Remember that something was said in the conversation at that time (the platform's) that was not for the bot.

        A conversation in which the bot does not take part is left as it is.
        """
        ...

    async def edit(self, message: MessageReceived) -> Revision:
        """Change the question of the same `event_key` to this message, unless its turn was started before."""
        ...

    async def withdraw(self, event_key: str) -> Revision:
        """Drop a question that was deleted, and its text, unless its turn was started before; a redelivery of it is
        still recognised.
        """
        ...

    async def request_stop(
        self, conversation: ConversationKey, *, by: str, author: str = "", turn_id: int = 0
    ) -> int | None:
        """Ask the turn that is running, or about to, to stop, in whichever process; return its id.

        Where no such turn is open, the newest one that waits for a decision is woken to stop. With an `author` (as
        `author_key` names them) only that one's turns are looked at, also those that are queued behind others; with a
        `turn_id`, only that turn. What the turn asks people is void from here on. Returns None where nothing is open.
        """
        ...

    async def decide(self, turn_id: int, decision: CallDecided) -> DecisionOutcome:
        """Store what a call of the turn waited for and wake the turn; a call is decided once.

        The `round` of the decision is found by the call that waits: the caller need not know it. A pending ask of the
        call ends; one that is decided in no way that `CallDecided` names is void.
        """
        ...

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
        """Store what a person said to an ask that is pending and of that version, all in one commit.

        `edited` takes the ask's place, and voids the votes before it. With `settles` the ask is decided: the decision
        is appended to the turn's journal, as by `decide`, and its turn woken. An ask that has expired is decided,
        as one is whose turn was stopped.
        """
        ...
