"""The port to durable memory: nine small ports (five are in files of their own), and `Store`, which is all of them.

When a method returns, what it wrote survives a power cut. A method whose caller is cancelled first finishes what it
began: nothing is left unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.answers import Known, Queued
from bot.domain.asks import Ask, Vote
from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge, Spent, Toll, Used
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import Message, Usage
from bot.domain.people import Actor
from bot.domain.turns import CallDecided, Post, Step, TurnState
from bot.ports.budget_store import BudgetStore
from bot.ports.cluster import ClusterStore
from bot.ports.retention_store import RetentionStore
from bot.ports.rights_store import AskStore, Grant, RightsStore, Settlement, VoteOutcome
from bot.ports.saved_files import SavedFiles

MAX_ID = 2**63 - 1  # of a turn or an ask: no store has more; what people send may be any number
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a turn; every write of the turn checks `fence`, which grows with each new holder."""

    turn_id: int
    conversation_id: int
    fence: int
    attempt: int  # 1 for the first; more after crashes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTurn:
    """A turn to work on: its lease and the message that asks."""

    lease: Lease
    event: MessageReceived
    state: TurnState  # as it was found: "delivering" has its answer stored already
    stop_requested: bool = False
    has_waited: bool = False  # behind others of its conversation when it was accepted
    wakes: int = 0  # how often it waited for a decision and went on

    @property
    def actor(self) -> Actor:
        """Who asked."""
        return self.event.actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What was asked of a turn while it runs, by whichever process; `by` is who asked (`str(Actor)`)."""

    turn_id: int
    kind: Literal["stop"]
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPost:
    """A post with what is known of its delivery."""

    post: Post
    state: Literal["pending", "posting", "posted"]
    reference: str = ""  # the platform's, once it is posted


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the model knows of a conversation."""

    turns: Sequence[tuple[int, Message]] = ()  # the last messages, each with the id of its turn
    summary: str = ""  # of older ones
    summary_end: int = 0  # where the summary ends, for `put_summary`; means nothing to others
    is_behind: bool = False  # whether messages have left the window of which the summary does not tell
    left: Sequence[tuple[int, Message]] = ()  # these messages; only where they were asked for


# How the model knows a message: word for word, by the summary of its conversation, or no longer.
Recall = Literal["words", "summary", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One stored message as people read it back."""

    at: datetime
    turn_id: int
    message: Message
    recall: Recall = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """A stored conversation at a glance."""

    conversation: ConversationKey
    message_count: int
    last_at: datetime
    title: str = ""  # how its newest question begins, on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """How much is known of what was said in a thread, in the platform's time."""

    read_until: datetime | None = None  # the model knows what was said before, or was to forget it; None: nothing yet
    heard_at: datetime | None = None  # when something was said last that was not for the bot
    last_turn_id: int | None = None  # the newest in the history


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMemory:
    """What is remembered of tools, by their namespaced names, where there are too many for one request."""

    sent: tuple[str, ...] = ()  # what the conversation's requests carried last, in order
    most_used: tuple[str, ...] = ()  # in all conversations; the most used first


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What a turn leaves to be remembered of tools."""

    called: Mapping[str, int] = field(default_factory=dict[str, int])  # how often it called which
    sent: tuple[str, ...] | None = None  # what the conversation's requests carry from now on; None: what they did


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


class WorkStore(Protocol):
    """Workers, the turns they hold, and what they do in them."""

    async def heartbeat(self, worker: str, *, lease_s: float) -> bool:
        """Say that `worker` lives for `lease_s` more seconds (at most 60); after that others may take its turns over.

        Return whether it was known: where not, others have taken it for dead, and nothing is known of it any more.

        Leases are kept in wall-clock time, which may be set while workers live. When it is set forwards, nobody is
        taken over for one more lease, in which all who live renew theirs. When it is set backwards, a lease that
        reaches further than any can is cut short, so that the turns of a dead worker wait a minute longer at most.
        """
        ...

    async def workers(self) -> Sequence[str]:
        """Return the workers whose lease has not run out."""
        ...

    async def release(self, worker: str) -> None:
        """End the lease of `worker`; the turns it gives back so lose no attempt by it."""
        ...

    async def expire(self, worker: str) -> None:
        """End the lease of a worker that is known to be dead; the turns it ran keep the attempt they spent."""
        ...

    async def claim(
        self, worker: str, *, serves: Sequence[str], limit: int, reserved: int = 0
    ) -> Sequence[ClaimedTurn]:
        """Take up to `limit` turns that can run now: the first open one of its conversation that does not wait for a
        decision, and either queued here or left behind by a worker that is dead.

        What dead workers left goes first. Of the others those go first whose author had nothing else that ran or could
        run when they became the first of their conversation. Then people take turns, those with few running turns more
        often, and of one person's turns the one goes first that became the first of its conversation first. The last
        `reserved` of the `limit` are only for those who had nothing else.

        `serves` are prefixes of conversation keys (`str(ConversationKey)`); turns of other conversations are left.
        """
        ...

    async def give_back(self, lease: Lease, *, is_spent: bool = True) -> None:
        """Give up a turn that could not be worked on, for any worker (this one too) to claim as a new attempt.

        Without `is_spent` the attempt that ends here does not count.
        """
        ...

    async def hand_over(self, worker: str, *, serves: Sequence[str], keeps: Sequence[int]) -> None:
        """Give up the open turns of `worker` in these conversations, but for those it keeps; they lose no attempt."""
        ...

    async def signals(self, worker: str) -> Sequence[Signal]:
        """Return what was asked of the turns that `worker` runs, once: what is returned is forgotten."""
        ...

    async def check_lease(self, lease: Lease) -> None:
        """Raise LeaseLostError where another worker has claimed the turn since."""
        ...

    async def record(
        self, lease: Lease, steps: Sequence[Step], *, audit: Sequence[AuditEntry] = (), charge: Charge | None = None
    ) -> None:
        """Append steps to the turn's journal, all or none; without any, only check the lease. Raises LeaseLostError.

        A `CallWaiting` with an `ask` makes that ask pending; a `CallDecided` of a call ends its pending one. `audit` is
        appended to the audit in the same commit, and what the steps cost is charged in it, here and in the methods
        below.
        """
        ...

    async def steps(self, turn_id: int) -> Sequence[Step]:
        """Return the turn's journal in order."""
        ...

    async def park(
        self,
        lease: Lease,
        steps: Sequence[Step],
        *,
        wakes_at: float,
        audit: Sequence[AuditEntry] = (),
        charge: Charge | None = None,
    ) -> TurnState:
        """Append steps and let the turn wait for a decision: it gives up its lease, and later turns of its conversation
        can be claimed.

        It is queued again by a decision, by a request to stop, or at `wakes_at` (seconds since the epoch); where a call
        that waits was decided, or a stop requested, meanwhile, at once. Returns the state it is in now: "waiting" or
        "queued". A turn that was woken has its whole number of attempts again; `ClaimedTurn.wakes` counts.

        Raises:
            LeaseLostError: Another worker has the turn.
        """
        ...

    async def wake_expired(self) -> int:
        """Queue the waiting turns whose `wakes_at` has passed; return how many there were."""
        ...

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
    ) -> None:
        """Store the last steps, how the turn ended, its messages and the posts to deliver, in one commit.

        The first post is stored as about to be sent: after a crash it may be visible. With `read_until`, what was said
        in the thread before that time is known from now on; `tool_use` is added to the tool memory. Asks of the turn
        that are pending are void. Raises LeaseLostError.
        """
        ...

    async def outbox(self, turn_id: int) -> Sequence[OutboxPost]:
        """Return the turn's posts in order."""
        ...

    async def mark_posting(self, lease: Lease, part: int) -> None:
        """Say that this post is about to be sent: after a crash it may be visible. Raises LeaseLostError."""
        ...

    async def mark_posted(self, lease: Lease, part: int, *, reference: str, ends_turn: bool) -> None:
        """Store the platform's reference of a post; with the last one the turn ends. Raises LeaseLostError.

        Where it does not end the turn, the next post is stored as about to be sent.
        """
        ...

    async def abandon(self, lease: Lease) -> None:
        """End a turn whose answer could not be delivered, so that the conversation goes on. Raises LeaseLostError."""
        ...


class ConversationStore(Protocol):
    """What was said, what it cost, and what people thought of it."""

    async def history(self, conversation: ConversationKey) -> History:
        """Return the messages from the window's start on, in the order in which turns ended, at most a few thousand.

        The messages of one turn are adjacent.
        """
        ...

    async def unsummarised(self, conversation: ConversationKey) -> History:
        """Return the same, with the messages that left the window since the summary was written."""
        ...

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
        """Keep the summary of everything up to the last message of `past_turn_id`, and start the window after that
        message unless it starts later already, in one commit; add `usage` to what `turn_id` used, and charge it.

        Returns False, and keeps only the usage, where the conversation was cleared or summed up by another since
        `summary_end` was read.
        """
        ...

    async def knowledge(self, conversation: ConversationKey) -> Knowledge:
        """Return how much is known of what was said in the conversation."""
        ...

    async def tool_memory(self, conversation: ConversationKey) -> ToolMemory:
        """Return what is remembered of tools for the conversation; `clear` forgets what its requests carried."""
        ...

    async def move_window(self, conversation: ConversationKey, *, past_turn_id: int) -> None:
        """Start `history` after the messages of this turn from now on; older ones stay readable by `transcript`."""
        ...

    async def transcript(self, conversation: ConversationKey, *, limit: int) -> Sequence[HistoryEntry]:
        """Return the last `limit` messages of the conversation, oldest first."""
        ...

    async def conversations(self, *, limit: int, prefix: str = "") -> Sequence[ConversationSummary]:
        """Return the most recent conversations first."""
        ...

    async def open_conversations(self, *, prefix: str) -> Sequence[ConversationSummary]:
        """Return the conversations with a turn that has not ended, whose keys begin so; the oldest such turn first."""
        ...

    async def participants(
        self, conversation: ConversationKey, *, is_open: bool = False, turn_id: int = 0
    ) -> Sequence[str]:
        """Return who asked what is kept of the conversation, or with `is_open` what has not ended.

        They are named as `author_key` does it, the one who asked first before the others. With a `turn_id`, only that
        turn is looked at.
        """
        ...

    async def clear(self, conversation: ConversationKey) -> int:
        """Delete the conversation's messages, their summary and the journals of ended turns; return how many messages
        went.

        Asks of ended turns stay without their texts, and so do their lines in the audit without the arguments.
        """
        ...

    async def usage(self, conversation: ConversationKey | None = None, *, author: str = "") -> Spent:
        """Return what the conversation, or all of them, used; with an `author` only what that one asked for.

        An author is named as `author_key` does it.
        """
        ...

    async def is_turn_of(self, turn_id: int, conversation: ConversationKey) -> bool:
        """Return whether the turn belongs to that conversation."""
        ...

    async def rate(self, turn_id: int, *, author_id: str, rating: Rating) -> None:
        """Keep a person's rating of a turn's answer, in place of the one that person gave before."""
        ...


class NoteStore(Protocol):
    """What an adapter has to remember over restarts: small texts by name."""

    async def notes(self, prefix: str) -> Mapping[str, str]:
        """Return the notes whose names begin so."""
        ...

    async def put_note(self, name: str, text: str | None) -> None:
        """Keep the text under that name, in place of the one before; None forgets it."""
        ...


class Store(
    IntakeStore,
    WorkStore,
    ConversationStore,
    AskStore,
    RightsStore,
    BudgetStore,
    NoteStore,
    RetentionStore,
    ClusterStore,
    Protocol,
):
    """All of durable memory."""

    @property
    def saved_files(self) -> SavedFiles | None:
        """The files that conversations have saved, where they are in the database; None: in the home folder."""
        ...

    async def check(self) -> None:
        """Read and write as an operator who looks for faults wants it: all of the data, and a write that stays undone.

        Raises:
            StoreError: The data is damaged, or nothing can be written.
        """
        ...


FORMER_TERMINAL_ID = "console"


def author_key(actor: Actor) -> str:
    """Return the name under which the store files what one person asked for on one platform."""
    return str(ConversationKey(platform=actor.platform, space=actor.space, channel=actor.id))


def author_keys(actor: Actor) -> Sequence[str]:
    """Return the names under which the store has what the person asked for, the current one first.

    At the terminal, turns of earlier versions are filed under one name for whatever person sat there.
    """
    former = replace(actor, id=FORMER_TERMINAL_ID)
    keys = (author_key(actor), author_key(former)) if actor.platform == "console" else (author_key(actor),)
    return tuple(dict.fromkeys(keys))
