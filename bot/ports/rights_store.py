"""What durable memory keeps for rights: what people are asked, grants, pinned tools, the audit.

As for all of `bot.ports.store`: when a method returns, what it wrote survives a power cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.domain.asks import AskDelivery, AskRecord, AskState
from bot.domain.audit import AuditEntry, AuditLine
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.turns import CallDecided

# What became of a vote: "changed" means that the ask was, meanwhile: look at it again.
VoteOutcome = Literal["made", "changed", "decided_before", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an ask ends: its state, and the decision for the turn."""

    state: AskState
    decision: CallDecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A person may run a tool without being asked, in one conversation, under one rule, until a time."""

    person: str  # as of `Person.id`
    conversation: ConversationKey
    server: str
    tool: str
    rule_key: str
    until: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A tool as an operator accepted it (or as it was first seen), and what it has `changed` to since; both JSON."""

    server: str
    tool: str
    accepted: str
    changed: str = ""  # empty: it is as it was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A call of the past, as the journal has it."""

    turn_id: int
    event: MessageReceived
    server: str
    tool: str
    arguments: str
    at: float  # when its turn was accepted, seconds since the epoch
    verdict: str = ""  # what the policy said then; empty in journals that are older than policies


class AskStore(Protocol):
    """What the bot asks people, and the messages that show it."""

    async def ask(self, ask_id: int) -> AskRecord | None:
        """Return the ask."""
        ...

    async def asks(self, *, turn_id: int | None = None, is_pending: bool = True) -> Sequence[AskRecord]:
        """Return asks, the oldest first: the pending ones of all turns, or those of one turn; at most a thousand."""
        ...

    async def unplanned_asks(self, *, serves: Sequence[str]) -> Sequence[AskRecord]:
        """Return pending asks of the conversations that are served for which no message is planned."""
        ...

    async def plan_ask(self, ask_id: int, places: Sequence[tuple[ConversationKey, str]]) -> None:
        """Plan one message in each place, with a person's id for a direct message.

        Without effect where messages are planned already, or the ask has ended. Where all of them were given up, the
        ask can be planned again; the numbers go on.
        """
        ...

    async def due_ask_posts(self, *, serves: Sequence[str]) -> Sequence[AskDelivery]:
        """Return the messages in places that are served which do not show their ask as it is now, oldest first.

        An ask that was decided before anything was posted needs no message.
        """
        ...

    async def mark_ask_posting(self, post_id: int, worker: str) -> bool:
        """Say that this message is about to be posted by `worker`: after a crash it may be visible.

        Returns False where that was said before, or the message was given up: another process may be posting it.
        """
        ...

    async def take_ask_post(self, delivery: AskDelivery, worker: str) -> bool:
        """Have `worker` post or change this message from now on, which may be what it does already.

        Returns False where the message is not as in `delivery` any more: another process took it, or posted it.
        """
        ...

    async def mark_ask_posted(self, post_id: int, *, reference: str, shown: int) -> None:
        """Store the platform's reference of a message, and the version of the ask that it shows."""
        ...

    async def drop_ask_post(self, post_id: int) -> None:
        """Give a message up that the platform refuses for good; an ask without another one counts as not planned."""
        ...


class RightsStore(Protocol):
    """Grants for a while, pinned tools, the audit, and what calls were made."""

    async def has_grant(self, grant: Grant) -> bool:
        """Return whether an equal grant was given whose end has not passed; `until` of the argument is ignored."""
        ...

    async def pins(self) -> Sequence[Pin]:
        """Return the pinned tools, by server and tool."""
        ...

    async def put_pins(self, pins: Sequence[Pin]) -> None:
        """Keep tools that were not pinned before as accepted, and of the others what they changed to.

        Each is now what `changed` says, or `accepted` where that is empty. A tool that is as it was accepted is not
        changed any more.
        """
        ...

    async def accept_pins(self, pins: Sequence[Pin], *, audit: Sequence[AuditEntry]) -> None:
        """Accept these tools as they are there: their `changed` is what they are pinned to from now on."""
        ...

    async def audit(self, entries: Sequence[AuditEntry], *, once: str = "") -> None:
        """Append to the audit; `once` names what is told: of all that tell it within an hour, the first one does.

        The audit has it then, whenever a process dies.
        """
        ...

    async def audit_lines(
        self, *, after: int = 0, since: float = 0.0, person: str = "", tool: str = "", limit: int = 1_000
    ) -> Sequence[AuditLine]:
        """Return lines of the audit with numbers above `after`, in order; `person` is `str(Actor)`, `tool` a pattern of
        `server/tool`.
        """
        ...

    async def past_calls(self, *, since: float, after: int = 0, limit: int = 1_000) -> Sequence[PastCall]:
        """Return the calls of journals that are kept, of turns that were accepted since that time, in order of turns.

        `after` is the id of the last turn that was read. A turn's calls come all at once, also where they are more than
        `limit`.
        """
        ...
