"""The ports of the conversation core: what it needs of a platform, a model, tools and a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from bot.events import ConversationKey, Event, MessageReceived, Rating, SharedFile
from bot.messages import Attachment, Message, ModelAnswer, ToolCall, ToolResult, ToolSpec, Usage

# --- the model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to the model. The same conversation sends the same leading bytes again, so prompt caches hit."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    may_call_tools: bool = True  # False: the tools stay listed (stable prefix), but the answer must be text
    cache_key: str = ""  # opaque, the same for all requests of one conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWaiting:
    """The model cannot answer yet and is asked again after `wait_s` seconds; `reason` is a phrase for the chat."""

    reason: str
    wait_s: float


ModelProgress = TextArrived | ModelWaiting
ModelProgressSink = Callable[[ModelProgress], None]


class Model(Protocol):
    """A language model endpoint."""

    @property
    def name(self) -> str:
        """What people call it: a model or deployment name."""
        ...

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        """Return the whole answer, telling `progress` each piece of text as it arrives.

        Waits that the endpoint asks for, and repeats after faults while no text has been told yet, happen inside and
        end before `deadline` (seconds of the running loop's clock).

        Raises:
            ModelStreamError: The answer broke off after some text had been told.
            ModelContentFilterError: The endpoint's filter stopped it; text told before is not to be kept.
            ModelError: Any other failure; no text was told.
        """
        ...


# --- tools -----------------------------------------------------------------------------------------------------

ServerState = Literal["idle", "starting", "ready", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One tool server (one replica of it) as an operator sees it."""

    server: str
    replica: str  # command or URL without its secrets; tells replicas of one server apart
    state: ServerState
    tool_count: int = 0
    detail: str = ""  # why it is down and when it is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools that are offered to the model, in a stable order, and sentences on what had to be left out."""

    tools: tuple[ToolSpec, ...]
    notes: tuple[str, ...] = ()

    def find(self, name: str) -> ToolSpec | None:
        """Return the offered tool of that namespaced name."""
        return next((tool for tool in self.tools if tool.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example conversation: a server's prompt with its request as a user would type it."""

    title: str
    text: str


class Tools(Protocol):
    """All tool servers together."""

    async def offer(self) -> Offer:
        """Return what can be called now; waits a bounded time for servers that are starting, none for those down."""
        ...

    async def call(self, call: ToolCall, *, conversation: str) -> ToolResult:
        """Run one call; any failure but cancellation is a result that the model can read.

        `conversation` is the opaque id that servers get to keep conversations apart.
        """
        ...

    async def examples(self) -> Sequence[Example]:
        """Return the prompts of all reachable servers that need no arguments."""
        ...

    def status(self) -> Sequence[ServerStatus]:
        """Return the state of every server, in the order of the configuration."""
        ...


# --- the store -------------------------------------------------------------------------------------------------

TurnState = Literal[
    "queued", "running", "delivering", "answered", "stopped", "failed", "undelivered", "withdrawn", "taken_over"
]
# What became of a change to a message: it was made, there was nothing to change, it came too late (the turn had been
# started or has ended; it is left as it is), or no such message is stored.
Revision = Literal["made", "none", "started", "ended", "unknown"]


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
class ModelAnswered:
    """Journal: the model answered; the calls it asks for are intents from here on."""

    round: int
    answer: ModelAnswer
    kind: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """Journal: a tool call is about to be sent; from here on it may have acted."""

    round: int
    call_id: str
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """Journal: a tool call has its result."""

    round: int
    result: ToolResult
    kind: Literal["finished"] = "finished"


Step = ModelAnswered | CallStarted | CallFinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message the bot is to post; `key` is the same each time the same post is tried."""

    key: str
    conversation: ConversationKey
    turn_id: int
    part: int
    text: str  # Markdown
    in_reply_to: str = ""  # event_key of the question
    attachments: tuple[Attachment, ...] = ()  # files to go with it
    author_id: str = ""  # who asked
    is_last: bool = True  # of the answer's posts


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


# --- the platform ----------------------------------------------------------------------------------------------

CallState = Literal["asked", "running", "ok", "error", "timeout", "unavailable", "interrupted", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLine:
    """One tool call as the user sees it; `arguments` and `result` are redacted."""

    call_id: str
    server: str
    tool: str
    state: CallState
    arguments: str
    result: str = ""
    seconds: float = 0.0
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """All that can be seen of a running turn at one moment; each `show` replaces the one before.

    "taken_over": another process works on the turn and shows it; here there is nothing more to see of it.
    """

    turn_id: int
    conversation: ConversationKey
    state: TurnState
    text: str = ""  # of the answer so far; grows
    trace: tuple[TraceLine, ...] = ()
    notice: str = ""  # what it waits for, in words
    in_reply_to: str = ""  # event_key of the question
    author_id: str = ""  # who asked
    attempt: int = 1  # more: a process before this one may have shown a part of it
    has_waited: bool = False  # behind other questions, and was shown to


Receive = Callable[[Event], Awaitable[Receipt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The platform shows the post already."""

    reference: str


class Adapter(Protocol):
    """One chat platform, as the conversation core sees it."""

    @property
    def name(self) -> str:
        """The platform's name, the first part of its conversation keys."""
        ...

    @property
    def serves(self) -> str:
        """Prefix of the conversation keys whose turns this process can deliver."""
        ...

    async def run(self, receive: Receive) -> None:
        """Hand each event to `receive` and acknowledge it to the platform only when that returned.

        Events may be handed over at once: what gathers is stored in one commit. Returns when the platform is closed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """How a bot is set up on a platform, as an operator sees it; `cure` is empty where nothing is wrong."""

    detail: str
    cure: str = ""


@runtime_checkable
class RemembersNotes(Protocol):
    """An adapter that has to remember something over restarts."""

    def remember_in(self, notes: Notes) -> None:
        """Take the place to remember things in, before anything else happens."""
        ...


@runtime_checkable
class FetchesFiles(Protocol):
    """An adapter whose platform lets people send files along."""

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            AdapterError: It cannot be had; the sentence says why, and is for the one who sent it.
        """
        ...
