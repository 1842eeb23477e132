"""The port to a chat platform: what an adapter is given (`Host`) and what it does (`Adapter`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from bot.domain.answers import Accepted, Answered, Decided, Explained, Formed, Rated, Refused, Revised, Submitted
from bot.domain.asks import AskPost
from bot.domain.budgets import Notice
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    Earlier,
    FeedbackGiven,
    FormAsked,
    FormSubmitted,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    SharedFile,
)
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.cluster import Cluster
from bot.ports.http import HttpListener
from bot.ports.rights import GroupSource
from bot.ports.store import NoteStore
from bot.ports.tools import ToolDirectory

KeptKind = Literal["live", "trace", "session"]


def kept_notes(platform: str, kind: KeptKind) -> str:
    """Return what the names of an adapter's notes begin with that tell of messages which change: the turn's id follows.

    They are of answers that grow ("live"), of traces, or of signs that the bot works ("session"), and gone when these
    have come to their ends.
    """
    return f"{platform}/{kind}/"


class Host(Protocol):
    """The conversation core, as an adapter sees it; given when the adapter is opened."""

    @property
    def notes(self) -> NoteStore:
        """What the adapter has to remember over restarts."""
        ...

    @property
    def directory(self) -> ToolDirectory:
        """Which tools and examples there are, for a platform that shows or completes them in a place of its own."""
        ...

    @property
    def http(self) -> HttpListener:
        """What listens for HTTP, for a platform that delivers by it or has pages of its own."""
        ...

    @property
    def cluster(self) -> Cluster:
        """The processes that share the database, and the places that one of them holds at a time."""
        ...

    @property
    def about(self) -> str:
        """What the bot is and which model answers, as Markdown for people."""
        ...

    async def accept(self, event: MessageReceived) -> Accepted:
        """Return what became of the message; only now may the platform be told that it arrived.

        Raises:
            StoreError: It could not be stored: the platform must deliver it again.
        """
        ...

    async def revise(self, event: MessageEdited | MessageDeleted) -> Revised:
        """Change or drop a question whose turn has not begun, and return what became of the change.

        A message that was none before, and has got its mention within two minutes, is queued.

        Raises:
            StoreError: The change could not be stored: the platform must deliver it again.
        """
        ...

    async def command(self, event: CommandInvoked) -> Answered:
        """Answer a command; a failure of the store is said in the answer. One too many is ignored once that was said.

        Raises:
            StoreError: It could not be found out whether the command is for the bot.
        """
        ...

    async def may_ask(self, event: MessageReceived) -> Refused | None:
        """Count a question that is to be posted in someone's name; return why it may not be, None where it may.

        What is refused over a budget is refused here, before anything is posted.

        `event` has the key of what they pressed. The message that is accepted then has that key as `admitted_as`. A
        refusal without a notice was said a moment ago: nothing is to be shown.
        """
        ...

    def is_muted(self, actor: Actor, *, decides: bool = False) -> bool:
        """Return whether what the person presses or commands now is to be left undone: they do far too much.

        They got a notice a moment ago, so nothing more needs to be said. `decides`: they decide something that was
        asked, or stop an answer.
        """
        ...

    def may_look_up(self, event: CommandInvoked) -> bool:
        """Return whether the person gets completions for what they type; counted."""
        ...

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        """Return whether what is said there is answered without a mention.

        Raises:
            StoreError: It could not be found out.
        """
        ...

    async def details(self, event: DetailsAsked) -> Explained:
        """Return the tool calls of a turn, in order; never raises a BotError."""
        ...

    async def rate(self, event: FeedbackGiven) -> Rated:
        """Keep a rating of an answer; never raises a BotError."""
        ...

    async def decide(self, event: DecisionMade) -> Decided:
        """Store a decision on what is asked, where the person may make it, and wake the turn; never raises a BotError.

        The ask's messages change by `Adapter.put_ask`; only the person who pressed sees the answer.
        """
        ...

    async def form(self, event: FormAsked) -> Formed:
        """Return the form to show to the person; never raises a BotError."""
        ...

    async def submit(self, event: FormSubmitted) -> Submitted:
        """Take what a person filled in; with `Invalid` the form stays open. Never raises a BotError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The platform shows the post already."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a platform is reached at this moment, and what has happened since the start."""

    is_open: bool
    detail: str = ""  # who the bot is and where, as a phrase: "as @toolbridge in 1 workspace"
    reconnects: int = 0  # connections that were opened in place of one that had ended
    rate_limits: int = 0  # requests that the platform refused with a pause (HTTP 429)


class Adapter(GroupSource, Protocol):
    """One chat platform, as the conversation core sees it. It is opened with its `Host`."""

    @property
    def name(self) -> str:
        """The platform's name, the first part of its conversation keys."""
        ...

    @property
    def connection(self) -> Connection:
        """How the platform is reached now; costs nothing."""
        ...

    @property
    def serves(self) -> str:
        """Prefix of the conversation keys whose turns this process can deliver."""
        ...

    async def run(self) -> None:
        """Hand each event to the host and acknowledge it to the platform only when that returned.

        Events may be handed over at once: what gathers is stored in one commit. Returns when the platform is closed.

        Raises:
            AdapterError: The platform does not let the bot in, and trying again cannot help.
        """
        ...

    def show(self, view: TurnView) -> None:
        """Show progress; returns at once, and may leave out views that a newer one has replaced."""
        ...

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into posts of the platform's size; joined without the cuts' marks they are the text."""
        ...

    async def post(self, post: Post) -> str:
        """Post it and return the platform's reference.

        Raises:
            RateLimitError: The platform asked for a pause; nothing was posted.
            AdapterError: Any other refusal; the message may or may not be visible.
        """
        ...

    async def find(self, post: Post) -> Found | None:
        """Look for a post that may have been sent before a crash; None: it is certainly not there.

        Raises:
            AdapterError: The platform cannot tell.
        """
        ...

    async def settle(self, turn_id: int) -> None:
        """Return once nothing of the turn is being written, after its last view was shown; bounded by the caller."""
        ...

    async def put_ask(self, post: AskPost) -> str:
        """Post what is asked, or change the message of `post.reference` to the view; return the message's reference.

        Raises:
            RateLimitError: The platform asked for a pause; nothing was posted or changed.
            AdapterError: Any other refusal; a new message may or may not be visible.
        """
        ...

    async def find_ask(self, post: AskPost) -> Found | None:
        """Look for a message that may have been posted before a crash; None: it is certainly not there.

        Raises:
            AdapterError: The platform cannot tell.
        """
        ...

    async def post_notice(self, notice: Notice) -> str:
        """Post it where it belongs, outside of threads, and return the platform's reference.

        Raises:
            RateLimitError: The platform asked for a pause; nothing was posted.
            AdapterError: Any other refusal; the notice may or may not be visible.
        """
        ...

    async def find_notice(self, notice: Notice) -> Found | None:
        """Look for a notice that may have been posted before a crash; None: it is certainly not there.

        Raises:
            AdapterError: The platform cannot tell.
        """
        ...

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        """Return the last `limit` messages before `message` in its thread, and always the one that began the thread.

        `since` is when the last message was sent that is known already (None: none is); neither that nor an earlier one
        is returned. Costs one call of the platform's API, and none where `message.has_earlier` is false.

        Raises:
            AdapterError: The platform does not show the thread.
        """
        ...

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file that came with a message.

        Raises:
            AdapterError: It cannot be had; the sentence says why, and is for the person who sent it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """How a bot is set up on a platform, as an operator sees it; `cure` is empty where nothing is wrong."""

    detail: str
    cure: str = ""
    is_advice: bool = False  # it works as it is, and the cure is only advised
    is_refused: bool = False  # the platform does not take a token: it is a wrong one
