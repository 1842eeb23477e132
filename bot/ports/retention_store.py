"""What durable memory does to show what it keeps, and to forget it for good.

As for all of `bot.ports.store`: when a method returns, what it did survives a power cut. What is forgotten is
overwritten; `scrub` then removes what is left of it in the engine's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.asks import AskRecord
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.people import Actor
from bot.domain.turns import Post, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was forgotten, or would be. `event_keys` are those of the turns, for files that are named after them."""

    turns: int = 0
    messages: int = 0
    arguments: int = 0  # lines of the audit that lost them
    event_keys: tuple[str, ...] = ()

    def __add__(self, other: Forgotten) -> Forgotten:
        return Forgotten(
            turns=self.turns + other.turns,
            messages=self.messages + other.messages,
            arguments=self.arguments + other.arguments,
            event_keys=(*self.event_keys, *other.event_keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTraces:
    """Where a person's words are kept, or where they were removed."""

    forgotten: Forgotten = field(default_factory=Forgotten)  # the turns that they asked for, whole
    quotations: int = 0  # in questions of others
    contexts: int = 0  # what questions of others pointed at, as the model got it
    summaries: int = 0
    answers: int = 0  # to what the bot asked in turns of others: edits, and what was filled in
    ratings: int = 0
    grants: int = 0
    notes: int = 0
    open_turns: int = 0  # that have not ended: nothing of them is forgotten
    direct: tuple[ConversationKey, ...] = ()  # conversations in which only they spoke
    names: tuple[str, ...] = ()  # by which others saw them


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedStep:
    """A step of a journal; `at` is when it was recorded, in seconds since the epoch, None where that is not known."""

    step: Step
    at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """All that is kept of one turn; `event` is None where its texts were forgotten. Times are in seconds since the
    epoch.
    """

    turn_id: int
    author: str  # as `author_key` names them
    event: MessageReceived | None
    state: str
    accepted_at: float
    ended_at: float | None
    steps: Sequence[TimedStep] = ()
    asks: Sequence[AskRecord] = ()
    posts: Sequence[Post] = ()


class RetentionStore(Protocol):
    """What is kept, shown as it happened, and forgotten."""

    async def timeline(self, conversation: ConversationKey) -> Sequence[TurnRecord]:
        """Return the conversation's turns in the order in which they were accepted; none where it is not known."""
        ...

    async def kept_events(self, conversation: ConversationKey) -> Sequence[str]:
        """Return the event keys of the turns that have ended and whose texts are kept."""
        ...

    async def forget_older(self, before: float, *, limit: int) -> Forgotten:
        """Forget the texts of up to `limit` turns that ended before that time (seconds since the epoch), oldest first.

        The arguments of their lines in the audit go, as those of as many older lines that belong to no turn. Turns that
        have not ended stay, with what they ask. Returns what went: nothing more is to be done once no turn and no
        argument did.
        """
        ...

    async def stop_person(self, person: Actor, *, by: str) -> int:
        """Ask every open turn of the person to stop, wherever it runs, and end those that no living worker holds.

        Returns how many are open still. A Discord account without a `space` is meant in every server.
        """
        ...

    async def traces(self, person: Actor) -> PersonTraces:
        """Return where the person's words are kept; nothing is changed."""
        ...

    async def forget_person(self, person: Actor) -> PersonTraces:
        """Remove the person's words wherever they are, in small commits; repeated, it goes on where it was cut off.

        The turns that they asked for go whole, with answers and results. In questions of others go quotations of them,
        and what such a question pointed at altogether; the summaries of conversations in which they spoke; what they
        edited or filled in; ratings, grants, notes on their direct messages. Who they are (ids) stays where it says who
        did what. Turns that have not ended stay as they are.
        """
        ...

    async def first_note(self, name: str, text: str) -> str:
        """Store a note where there is none of that name; return its text: of several processes, the first one's."""
        ...

    async def replace_note(self, name: str, *, old: str, new: str) -> bool:
        """Put `new` in the place of a note's text where that is `old` still; return whether it was."""
        ...

    async def scrub(self) -> bool:
        """Remove what was forgotten from the engine's files, also copies that it keeps for itself.

        Returns False where that has to wait: for readers in other processes (it is tried again in the background), or,
        in a large database, for `scrub_at_start`.
        """
        ...

    async def scrub_at_start(self) -> bool:
        """Do what is left of that from before; return whether there was anything. Before others use the store."""
        ...
