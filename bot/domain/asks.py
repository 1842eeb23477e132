"""What the bot asks people while a turn waits: an approval, a form, a link. Asked durably, decided once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.domain.events import Choice, ConversationKey
from bot.domain.people import UNKNOWN, Asker, Standing
from bot.domain.rights import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsk:
    """A call that may run once it is approved; `digest` binds the approval to exactly these arguments."""

    server: str
    tool: str
    name: str  # the namespaced one
    arguments: str  # one JSON object, as it would be sent
    digest: str  # of server, tool and arguments
    rule: str
    rule_key: str
    reason: str  # a sentence: why it is asked
    terms: Terms = field(default_factory=Terms)
    change: str = ""  # how the tool's definition has changed, as Markdown
    kind: Literal["approval"] = "approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormAsk:
    """A tool server asks the asker for input. `schema` is the server's, `message` its own words: untrusted."""

    server: str
    tool: str
    message: str
    schema: Mapping[str, Any]
    key: str = ""  # which of the requests of one answer this is; the tools port's own
    kind: Literal["form"] = "form"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAsk:
    """A tool server asks the asker to open a page; only the asker sees `url`."""

    server: str
    tool: str
    message: str
    url: str
    key: str = ""
    kind: Literal["link"] = "link"


Ask = ApprovalAsk | FormAsk | LinkAsk
# "void": what was asked has no meaning any more (the turn was stopped, the process that held the call is gone).
AskState = Literal["pending", "approved", "answered", "declined", "expired", "withdrawn", "void"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one person said to an ask."""

    person: str  # as of `Person.id`
    by: str  # the person in the notation of rules; of a Discord server with the server, whose roles can be asked for
    name: str  # for people to read
    choice: Literal["run", "run_for_an_hour", "decline", "withdraw", "answer", "edit"]
    at: float  # seconds since the epoch
    digest: str = ""  # of the arguments that were shown
    content: str = ""  # what a form was filled in with, as JSON; of an edit, the new arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRecord:
    """An ask with what became of it, as the store has it."""

    id: int
    turn_id: int
    round: int
    call_id: str
    conversation: ConversationKey  # of the turn
    event_key: str  # of the question
    asker: str  # `str(Actor)`
    asker_id: str  # the platform's id of the asker
    asker_name: str
    ask: Ask
    state: AskState
    created_at: float  # seconds since the epoch
    expires_at: float
    votes: tuple[Vote, ...] = ()  # in order; those before an edit do not count any more
    original: str = ""  # the arguments before they were edited
    version: int = 1  # grows with each change
    standing: Standing = UNKNOWN  # of the asker, as it came with the question

    @property
    def by(self) -> Asker:
        """Who asks, as rights see them."""
        actor = self.conversation.person(self.asker_id, self.asker_name)
        return Asker(actor=actor, place=self.conversation.place, standing=self.standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentLine:
    """One argument as people see it in an ask: redacted, flat, and cut by itself."""

    name: str
    value: str
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskView:
    """All that can be seen of an ask at one moment, in the core's own words but for what is named untrusted.

    `title` says action and scope in one line; `lines` follow it, each a sentence. Untrusted: `arguments`, `message`.
    All texts are plain text without Markdown, except `record` and `change`, which are Markdown of the core.
    """

    ask_id: int
    kind: Literal["approval", "form", "link"]
    state: AskState
    title: str
    lines: tuple[str, ...]  # where, who asks, why, who may decide
    place: str = ""  # of the question, in the notation of rules: where the first line ends with it, it may be drawn
    arguments: tuple[ArgumentLine, ...] = ()
    change: str = ""
    message: str = ""  # the server's words
    host: str = ""  # of a link
    votes: tuple[str, ...] = ()  # "Ben approved (1 of 2)", ...
    record: str = ""  # once it is decided: who, when, by which rule
    choices: tuple[Choice, ...] = ()  # the buttons besides Details; the first is the primary one
    form_target: str = ""  # of the button that opens a form: to edit the arguments, or to fill in the server's form
    has_link: bool = False  # there is a button that shows the link only to the asker (`DetailsAsked`)
    expires_at: float = 0.0  # seconds since the epoch; shown in the reader's own time
    digest: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPost:
    """Where a view of an ask is to be shown: one message, posted once and changed from then on.

    `place` is where it is posted: the question's conversation, another channel, or with `person` a direct message to
    that person. `key` is the same each time the same message is tried.
    """

    key: str
    view: AskView
    place: ConversationKey
    person: str = ""  # the platform's id of the person it is sent to directly
    in_reply_to: str = ""  # event_key of the question, where the place is its conversation
    reference: str = ""  # the platform's, once it was posted


@dataclass(frozen=True, slots=True, kw_only=True)
class AskDelivery:
    """One message of an ask, with what is known of its delivery, as the store has it."""

    post_id: int
    ask_id: int
    number: int  # of the ask's messages, from 0
    place: str  # `str(ConversationKey)`
    person: str = ""
    reference: str = ""
    is_posting: bool = False  # it was about to be posted: it may be visible
    poster: str = ""  # the process that posts and changes it; "" where that is not known
    shown: int = 0  # the version that is visible; 0: none
