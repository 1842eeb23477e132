"""The port to durable memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.answers import Receipt
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import Message, Usage
from bot.domain.turns import Post, Step, TurnState

# What became of a change to a message: it was made, there was nothing to change, it came too late (the turn had been
# started or has ended; it is left as it is), or no such message is stored.
Revision = Literal["made", "none", "started", "ended", "unknown"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPost:
    """A post with what is known of its delivery."""

    post: Post
    state: Literal["pending", "posting", "posted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One stored message as people read it back."""

    at: datetime
    turn_id: int
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """A stored conversation at a glance."""

    conversation: ConversationKey
    message_count: int
    last_at: datetime
    title: str = ""  # how its newest question begins, on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """What a conversation (or all of them) has used."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)


class Notes(Protocol):
    """What an adapter has to remember over restarts: small texts by name."""

    async def notes(self, prefix: str) -> Mapping[str, str]:
        """Return the notes whose names begin so."""
        ...

    async def put_note(self, name: str, text: str | None) -> None:
        """Keep the text under that name, in place of the one before; None forgets it."""
        ...


class Store(Notes, Protocol):
    """Durable memory. When a method returns, what it wrote survives a power cut.

    A method whose caller is cancelled first ends what it began: nothing is left unknown.
    """

    async def accept(
        self, event: MessageReceived, *, worker: str, max_waiting: int, max_open: int | None = None
    ) -> Receipt:
        """Store the event as a queued turn of `worker` unless its `event_key` is stored already.

        With `max_waiting` open turns in the conversation, or `max_open` of the worker on its platform, nothing is
        stored and the receipt has no turn.
        """
        ...

    async def find(self, event_key: str) -> int | None:
        """Return the turn of an event that is stored already."""
        ...

    async def takes_part(self, conversation: ConversationKey) -> bool:
        """Tell whether the bot was ever asked something in this conversation that was not withdrawn."""
        ...

    async def edit(self, message: MessageReceived) -> Revision:
        """Let the question of the same `event_key` read so from now on, unless its turn was started before."""
        ...

    async def withdraw(self, event_key: str) -> Revision:
        """Drop a question that was deleted, and its text, unless its turn was started before; a redelivery of it is
        still recognised.
        """
        ...

    async def heartbeat(self, worker: str, *, lease_s: float) -> None:
        """Say that `worker` lives for `lease_s` more seconds (at most 60); after that others may take its turns over.

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

    async def bury(self, worker: str) -> None:
        """End the lease of a worker that is known to be dead; the turns it ran keep the attempt they spent."""
        ...

    async def claim(self, worker: str, *, serves: Sequence[str], limit: int) -> Sequence[ClaimedTurn]:
        """Take up to `limit` turns that can run now: the first open one of its conversation, and either queued here
        or left behind by a worker that is dead.

        `serves` are prefixes of conversation keys (`str(ConversationKey)`); turns of other conversations are left.
        """
        ...

    async def give_back(self, lease: Lease) -> None:
        """Let go of a turn that could not be worked on, for anyone (this worker too) to claim as a new attempt."""
        ...

    async def record(self, lease: Lease, steps: Sequence[Step]) -> None:
        """Append steps to the turn's journal, all or none; without any, only check the lease. Raises LeaseLostError."""
        ...

    async def steps(self, turn_id: int) -> Sequence[Step]:
        """Return the turn's journal in order."""
        ...

    async def reply(
        self,
        lease: Lease,
        *,
        state: Literal["answered", "stopped", "failed"],
        messages: Sequence[Message],
        posts: Sequence[Post],
        usage: Usage,
    ) -> None:
        """Store how the turn ended, its messages and the posts to deliver, in one commit. Raises LeaseLostError."""
        ...

    async def outbox(self, turn_id: int) -> Sequence[OutboxPost]:
        """Return the turn's posts in order."""
        ...

    async def mark_posting(self, lease: Lease, part: int) -> None:
        """Say that this post is about to be sent: after a crash it may be visible. Raises LeaseLostError."""
        ...

    async def mark_posted(self, lease: Lease, part: int, *, reference: str, ends_turn: bool) -> None:
        """Store the platform's reference of a post; with the last one the turn ends. Raises LeaseLostError."""
        ...

    async def abandon(self, lease: Lease) -> None:
        """End a turn whose answer could not be delivered, so that the conversation goes on. Raises LeaseLostError."""
        ...

    async def request_stop(self, conversation: ConversationKey) -> int | None:
        """Mark the turn that is running, or about to, to be stopped; return its id, None where there is none."""
        ...

    async def history(self, conversation: ConversationKey) -> Sequence[tuple[int, Message]]:
        """Return (turn id, message) from the window's start on, oldest first, in at most a few thousand rows."""
        ...

    async def move_window(self, conversation: ConversationKey, *, first_turn_id: int) -> None:
        """Let `history` begin at this turn from now on; older messages stay readable by `transcript`."""
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

    async def clear(self, conversation: ConversationKey) -> int:
        """Delete the conversation's messages and journals of ended turns; return how many messages went."""
        ...

    async def usage(self, conversation: ConversationKey | None = None, *, author: str = "") -> UsageTotals:
        """Return what the conversation, or all of them, used; with an `author` only what that one asked for.

        An author is named as `author_key` does it.
        """
        ...

    async def is_turn_of(self, turn_id: int, conversation: ConversationKey) -> bool:
        """Tell whether the turn belongs to that conversation."""
        ...

    async def rate(self, turn_id: int, *, author_id: str, rating: Rating) -> None:
        """Keep somebody's rating of a turn's answer, in place of the one that person gave before."""
        ...


def author_key(conversation: ConversationKey, author_id: str) -> str:
    """Return the name under which the store files what one person asked for on one platform."""
    return str(ConversationKey(platform=conversation.platform, space=conversation.space, channel=author_id))
