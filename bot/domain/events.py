"""What arrives from a chat platform, as frozen facts without platform types."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import quote, unquote

from bot.domain.people import UNKNOWN, Actor, Asker, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationKey:
    """Names one conversation on one platform: a Slack thread, a Discord channel or thread, a console name."""

    platform: str
    space: str
    channel: str
    thread: str = ""

    def __str__(self) -> str:
        """Return the stable text form under which the store files the conversation."""
        return "/".join(
            quote(part, safe="", errors="replace") for part in (self.platform, self.space, self.channel, self.thread)
        )

    @classmethod
    def parse(cls, text: str) -> ConversationKey:
        """Return the key that `str` gave. Raises ValueError for any other text."""
        parts = text.split("/")
        if len(parts) != 4:
            raise ValueError(f"not a conversation key: {text!r}")
        platform, space, channel, thread = (unquote(part) for part in parts)
        return cls(platform=platform, space=space, channel=channel, thread=thread)

    @property
    def opaque_id(self) -> str:
        """The id under which tool servers and model endpoints know the conversation: stable, and reveals nothing."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:32]

    @property
    def place(self) -> str:
        """The notation of rules: `slack:TEAM:CHANNEL`, `slack:TEAM:dm`, `discord:SERVER:CHANNEL`, `discord:dm`,
        `console`.

        A thread belongs to its channel.
        """
        if self.platform == "console":
            return self.platform
        if self.is_direct:
            return ":".join((self.platform, *((self.space,) if self.platform == "slack" else ()), "dm"))
        return ":".join((self.platform, self.space, self.channel))

    @property
    def is_direct(self) -> bool:
        """Whether it is a conversation with only one person: their direct messages, or the terminal."""
        # https://docs.slack.dev/reference/objects/conversation-object: ids of direct messages begin with D
        match self.platform:
            case "slack":
                return self.channel.startswith("D")
            case "discord":
                return self.space == "@me"
            case _:
                return self.platform == "console"

    def person(self, author_id: str, name: str = "") -> Actor:
        """Return the person of that id on the platform and in the space of this conversation."""
        return Actor(platform=self.platform, space=self.space, id=author_id, name=name)


class _Acting:
    """Something that a person did."""

    __slots__ = ()

    conversation: ConversationKey
    author_id: str
    standing: Standing

    @property
    def actor(self) -> Actor:
        """Who did it."""
        return self.conversation.person(self.author_id, getattr(self, "author_name", ""))

    @property
    def asker(self) -> Asker:
        """Who did it, as rights see them."""
        return Asker(actor=self.actor, place=self.conversation.place, standing=self.standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A file that came with a message; its bytes stay on the platform until the turn runs."""

    name: str
    mime_type: str
    size: int  # bytes, as the platform says; 0 where it does not
    reference: str  # the adapter's own: where the bytes are


# Who wrote a message: a person, another bot or app, or this bot.
AuthorKind = Literal["person", "app", "self"]
# What a message has to do with the question: it stands before it in its thread, began the thread, is replied to, was
# forwarded, is shown below a link to it, or was chosen in its menu.
Relation = Literal["earlier", "starter", "reply", "forward", "link", "chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A message that belongs to a question without being it: all its words, as people read them.

    `unread` names what it carries that cannot be read, each in a few words ("a video", "a poll's pictures").
    """

    relation: Relation
    text: str
    author: str = ""  # the name that people see; "" where the platform does not say it
    author_id: str = ""  # the platform's id of the author; "" where it is not known
    nested_ids: tuple[str, ...] = ()  # likewise, of those whose messages are shown in this one
    author_kind: AuthorKind = "person"
    sent_at: datetime | None = None  # aware, UTC
    reference: str = ""  # the platform's reference, as `Adapter.post` returns it; "" where it is not known
    files: tuple[SharedFile, ...] = ()
    unread: tuple[str, ...] = ()
    whole_chars: int = 0  # how long the text was before the core cut it; 0: it was not cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What stands before a question in its thread, oldest first.

    `is_cut`: still earlier messages were left out. `lacks_newest`: the platform returned only the older part, so what
    was said right before the question is missing.
    """

    messages: tuple[Quoted, ...] = ()
    is_cut: bool = False
    lacks_newest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A call that a person asks for directly; `name` is the tool's namespaced one, `arguments` one JSON object."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(_Acting):
    """Someone wrote to the bot; a redelivery carries the same `event_key`.

    One that is not addressed to the bot by itself is taken only where the bot takes part in the conversation already.
    One that `is_talk` is said to someone else: it is never answered, and makes the next question in the conversation
    look at what was said before it.
    """

    conversation: ConversationKey
    event_key: str
    author_id: str
    author_name: str
    text: str
    sent_at: datetime  # aware, UTC
    is_shared: bool = False  # several people write here: the model gets the names of the speakers
    edited_at: datetime | None = None  # aware, UTC: when its author last changed it
    is_addressed: bool = True  # a mention, a direct message; False: a follow-up without one
    files: tuple[SharedFile, ...] = ()
    is_talk: bool = False  # said to someone else, or by a bot without a mention
    talks_to: tuple[str, ...] = ()  # of talk: the ids of the people whom its words begin with
    author_kind: AuthorKind = "person"
    author_aliases: tuple[str, ...] = ()  # other ids of an app, under which an operator may list it
    has_earlier: bool = False  # other messages may stand before it in its thread
    begun_at: datetime | None = None  # aware, UTC: when its thread began; None where it is in none
    quoted: tuple[Quoted, ...] = ()  # what it points at by itself
    unread: tuple[str, ...] = ()  # as of `Quoted`
    standing: Standing = UNKNOWN
    run: RunRequest | None = None  # `/run`: this call is to be made, and no model is asked
    admitted_as: str = ""  # posted by the bot for its author: the event key under which `Host.may_ask` allowed it


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    """Someone changed a message; `message` is all of it as it reads now, under the `event_key` it had from the start.

    It `is_addressed` when it is so now. A question that has lost its mention is still one; a message that gets its
    mention within two minutes is one from then on. Of two changes the one with the later `edited_at` counts, in
    whichever order they arrive; one that does not say when it was made counts when it arrives.
    """

    message: MessageReceived

    @property
    def conversation(self) -> ConversationKey:
        """Where the message stands."""
        return self.message.conversation

    @property
    def event_key(self) -> str:
        """The key under which the message arrived."""
        return self.message.event_key


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted:
    """A message is gone from the platform; `event_key` is the one it arrived under."""

    conversation: ConversationKey
    event_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInvoked(_Acting):
    """Someone invoked one of the bot's commands; `argument` is what followed its name.

    Where `is_channel_wide`, it was asked for in a channel rather than in one of its conversations (`thread` is empty).
    """

    conversation: ConversationKey
    event_key: str
    author_id: str
    name: str
    argument: str = ""
    is_channel_wide: bool = False
    is_addressed: bool = True  # as of a message
    is_confirmed: bool = False  # the person has confirmed what the command asked them to (`CommandAnswer.confirms`)
    turn_id: int = 0  # of `stop`: the turn whose Stop button was pressed; 0: none was
    standing: Standing = UNKNOWN


Rating = Literal["good", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackGiven(_Acting):
    """Someone rated an answer; a later rating by the same person replaces the one before."""

    conversation: ConversationKey
    event_key: str
    author_id: str
    turn_id: int
    rating: Rating
    standing: Standing = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsAsked(_Acting):
    """Someone wants to see the exact arguments and results of a turn's tool calls.

    With `ask_id`, of the one call that is asked about; that may be shown in another conversation than the turn's.
    """

    conversation: ConversationKey
    event_key: str
    author_id: str
    turn_id: int = 0
    ask_id: int = 0
    standing: Standing = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade(_Acting):
    """Someone pressed a button below what the bot asks (`bot/domain/asks.py`).

    `digest` is the one that the pressed message showed (`AskView.digest`): a press on a message that is out of date
    decides nothing.
    """

    conversation: ConversationKey  # where the button was pressed
    event_key: str
    author_id: str
    author_name: str = ""
    ask_id: int
    choice: Choice
    digest: str = ""
    standing: Standing = UNKNOWN


# What is decided by a button. "run_for_an_hour": run it, and the same tool for the same person here without asking, for
# an hour. "withdraw": the asker takes the call back. "suggest_rule" decides nothing: the answer shows the TOML.
Choice = Literal["run", "run_for_an_hour", "decline", "withdraw", "suggest_rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormAsked(_Acting):
    """Someone wants to fill in a form; `target` is what `bot/domain/forms.py` says."""

    conversation: ConversationKey
    event_key: str
    author_id: str
    target: str
    standing: Standing = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSubmitted(_Acting):
    """Someone sent a form off, or closed it for good (`action`); `values` are texts by the names of its fields.

    A checkbox is "true" or "false", a field for several choices has one choice a line.
    """

    conversation: ConversationKey
    event_key: str
    author_id: str
    author_name: str
    target: str
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    action: Literal["accept", "decline", "cancel"] = "accept"
    standing: Standing = UNKNOWN
