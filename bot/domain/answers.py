"""What people get back from the core: command answers, examples, receipts."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.events import ConversationKey
from bot.domain.turns import TraceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example conversation: a server's prompt with its request as a user would type it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A conversation to choose: the same command is then invoked in it."""

    conversation: ConversationKey
    label: str  # plain text, one line


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What a command answers, for its asker alone; `choices` are texts to send as if the asker had typed them."""

    text: str  # Markdown
    choices: tuple[Example, ...] = ()
    picks: tuple[Pick, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of an event. Only after it exists may the platform be told that the event arrived."""

    turn_id: int | None  # None: refused, or a command or a change to a message, which are no turns
    is_new: bool = True  # False: a redelivery of an event that is stored already
    waits_behind: int = 0  # open turns of the same conversation before this one
    notice: str = ""  # a sentence for the asker: why the message was refused
    answer: CommandAnswer | None = None  # of a command
    details: tuple[TraceLine, ...] | None = None  # of the tool calls that were asked for
    is_ignored: bool = False  # it was not for the bot: nothing is to be shown
