"""The port to conversations: what was said, and what the model knows of it; see `bot.ports.store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.budgets import Charge, Spent
from bot.domain.events import ConversationKey, Rating
from bot.domain.messages import Message, Usage


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

        They are named as `author_key` names them, in the order in which they first asked. With a `turn_id`, only that
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
