"""What the core gives back: what became of an event, and what commands answer."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from bot.domain.events import ConversationKey, RunRequest
from bot.domain.forms import Form, Invalid
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
class Ready:
    """A call that a person asked for can be made.

    The adapter shows `text` as asked by that person, and accepts a message with that `text` and `run`.
    """

    run: RunRequest
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What a command answers, only to the person who asked; `choices` are texts to send as if typed by that person.

    `form` is to be opened, where the platform can do that at once, otherwise by a button. `confirms` is the label of a
    button that invokes the same command again with `is_confirmed`. With `ready`, the call is to be made.
    `own_use` is what the person has used; only `usage` sets it.
    """

    text: str  # Markdown
    choices: tuple[Example, ...] = ()
    picks: tuple[Pick, ...] = ()
    form: Form | None = None
    confirms: str = ""
    ready: Ready | None = None
    own_use: str = ""


# --- what became of an event -----------------------------------------------------------------------------------
#
# A platform may be told that an event arrived only after one of these exists. Each kind of event has a closed union of
# its own: `Accepted`, `Revised`, `Answered`, `Explained`, `Rated`, `Decided`.


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The message is stored and becomes a turn."""

    turn_id: int
    waits_behind: int = 0  # open turns of the same conversation before this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The message was stored before: this is a redelivery, which asks for nothing new."""

    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing was done; `notice` is a sentence for the person who asked: why, and what to do.

    Without a notice nothing is to be shown: it was said a moment ago.
    """

    notice: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """It was not for the bot: nothing is to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """It is stored, and decided within seconds whether it is for the bot: `outcome` is what became of it then."""

    outcome: Awaitable[Accepted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It is done and stored; `notice` is a sentence for the person who asked, empty where there is nothing to say."""

    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The exact arguments and results of a turn's tool calls; where there are none, `notice` says why."""

    lines: tuple[TraceLine, ...]
    notice: str = ""
    link: str = ""  # a page to open, only for the person who asked


Accepted = Queued | Known | Refused | Ignored | Held
Revised = Queued | Known | Done | Refused | Ignored | Held  # a message that has got its mention by an edit is queued
Answered = CommandAnswer | Ignored
Explained = Details | Refused
Rated = Done | Refused
Decided = Done | Refused
Formed = Form | Refused
Submitted = Done | Ready | Invalid | Refused
