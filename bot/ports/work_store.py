"""The port to the work on turns: who holds one, and what became of it; see `bot.ports.store`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge
from bot.domain.events import MessageReceived
from bot.domain.messages import Message, Usage
from bot.domain.people import Actor
from bot.domain.turns import Post, Step, TurnState


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a turn; every write of the turn checks `fence`, which grows with each new holder."""

    turn_id: int
    conversation_id: int
    fence: int
    attempt: int  # 1 for the first; more after crashes
    worker: str = ""  # who holds it


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
class ToolUse:
    """What a turn leaves to be remembered of tools."""

    called: Mapping[str, int] = field(default_factory=dict[str, int])  # how often it called which
    sent: tuple[str, ...] | None = None  # what the conversation's requests carry from now on; None: what they did


class WorkStore(Protocol):
    """Workers, the turns they hold, and what they do in them."""

    def now(self) -> float:
        """Return the seconds since the epoch by the clock that all processes on the database have in common.

        Whatever ends at some time, for all of them, is measured by it.
        """
        ...

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

    async def hand_over(
        self, worker: str, *, serves: Sequence[str], keeps: Sequence[int], is_begun: bool = False
    ) -> None:
        """Give up the open turns of `worker` in these conversations, but for those it keeps; they lose no attempt.

        With `is_begun`, those that are queued stay where they are.
        """
        ...

    async def signals(self, worker: str, *, again: bool = False) -> Sequence[Signal]:
        """Return what was asked of the turns that `worker` runs, once: what is returned is forgotten.

        `again`: the call before failed, and may have forgotten some. All stops of running turns are returned then.
        """
        ...

    async def check_lease(self, lease: Lease) -> None:
        """Raise LeaseLostError where another worker has claimed the turn since."""
        ...

    async def record(
        self,
        lease: Lease,
        steps: Sequence[Step],
        *,
        audit: Sequence[AuditEntry] = (),
        charge: Charge | None = None,
        again: bool = False,
    ) -> None:
        """Append steps to the turn's journal, all or none; without any, only check the lease. Raises LeaseLostError.

        A `CallWaiting` with an `ask` makes that ask pending; a `CallDecided` of a call ends its pending one. `audit` is
        appended to the audit in the same commit, and what the steps cost is charged in it, here and in the methods
        below.

        `again`, here and there: the same was asked of the store just before, and failed in such a way that it may be
        stored anyway. What is stored then is not stored twice.
        """
        ...

    async def steps(self, turn_id: int) -> Sequence[Step]:
        """Return the turn's journal in order."""
        ...

    async def ended_alone(self, turn_ids: Sequence[int]) -> Sequence[ClaimedTurn]:
        """Return those turns that have ended, and whose process is not alive any more; nobody holds their leases.

        Those are left out whose texts were forgotten.
        """
        ...

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
        again: bool = False,
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

    async def mark_unsent(self, lease: Lease, part: int) -> None:
        """Say that this post was not sent after all: after a crash nobody looks for it. Raises LeaseLostError."""
        ...

    async def mark_posted(
        self, lease: Lease, part: int, *, reference: str, ends_turn: bool, again: bool = False
    ) -> None:
        """Store the platform's reference of a post; with the last one the turn ends. Raises LeaseLostError.

        Where it does not end the turn, the next post is stored as about to be sent.
        """
        ...

    async def abandon(self, lease: Lease) -> None:
        """End a turn whose answer could not be delivered, so that the conversation goes on. Raises LeaseLostError."""
        ...
