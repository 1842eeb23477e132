"""The life of a turn as facts: its states, what happens in it, what is posted and what is seen of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

from bot.domain.asks import Ask, Vote
from bot.domain.events import ConversationKey
from bot.domain.messages import Attachment, Message, ModelAnswer, ToolCall, ToolResult, Usage
from bot.domain.rights import Verdict

# "taken_over" is only a state of the view: another process works on the turn and shows it.
TurnState = Literal[
    "queued",
    "running",
    "waiting",
    "delivering",
    "answered",
    "stopped",
    "failed",
    "undelivered",
    "withdrawn",
    "taken_over",
]
# What can follow in the store. A turn that ended stays as it is.
TRANSITIONS: Mapping[TurnState, Set[TurnState]] = {
    "queued": {"running", "withdrawn"},
    "running": {"delivering", "waiting", "queued"},
    "waiting": {"queued"},
    "delivering": {"answered", "stopped", "failed", "undelivered"},
}
ENDED: frozenset[TurnState] = frozenset({"answered", "stopped", "failed", "undelivered", "withdrawn"})
# In these the process that shows the turn has nothing more to show of it.
AT_REST: frozenset[TurnState] = frozenset({*ENDED, "waiting", "taken_over"})

# --- what happens in a turn ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The turn entered another state."""

    state: TurnState


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAsked:
    """The model is asked; text of an answer that broke off before is void."""

    round: int
    history: int = 0  # how many earlier messages of the conversation it reads


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTakenBack:
    """The text of the running answer is void: it broke off and is asked for again, or was no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Nothing goes on for `wait_s` seconds, then it is tried again; `reason` is a phrase or sentence for the chat."""

    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensSpent:
    """A call to the model has cost tokens and gave no answer: it broke off, was stopped, or its answer was of no use.

    Where the endpoint did not say how many, it is an estimate.
    """

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswered:
    """The model answered; the calls it asks for are intents from here on."""

    round: int
    answer: ModelAnswer
    kind: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAsked:
    """One of the calls of the model's answer, with the server and the tool that it is for, by their own names."""

    round: int
    call: ToolCall
    server: str
    tool: str
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallJudged:
    """The policy's verdict on a call, with the name of the deciding rule and its reason, a sentence."""

    round: int
    call_id: str
    verdict: Verdict
    rule: str
    reason: str = ""
    note: str = ""  # for the trace, where it is allowed by more than a rule: "approved by Ben"; plain text
    approvers: tuple[str, ...] = ()  # `str(Actor)` of each whose approval is spent
    kind: Literal["judged"] = "judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A tool call is about to be sent; from here on it may have acted."""

    round: int
    call_id: str
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWaiting:
    """A tool call cannot go on before something is decided; `reason` is a sentence for the chat.

    `ask` is what people are asked for that; `state` is the tools port's own, as of `Wait`. The process `worker` keeps
    what the call needs to go on; it is empty where any process can go on with it.
    """

    round: int
    call_id: str
    reason: str
    expires_at: float  # seconds since the epoch; then it is decided as "expired"
    ask: Ask | None = None
    state: str = ""
    worker: str = ""
    kind: Literal["waiting"] = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDecided:
    """What a call waited for was decided; `by` is who decided it (`str(Actor)`), empty where time did.

    Of an approval, `outcome` is "approved", "declined", "withdrawn" or "expired"; of a form or link it is "accept",
    "decline", "cancel" or "expired".
    """

    round: int
    call_id: str
    outcome: str
    by: str = ""
    note: str = ""
    votes: tuple[Vote, ...] = ()  # of an approval: those that count
    arguments: str = ""  # of an approval: what was approved, where it was edited
    content: str = ""  # of a form: what it was filled in with, one JSON object
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTaken:
    """This process takes up a call that has no result, new or of an earlier attempt; it is not stored.

    It is said again where a person changed the arguments, with those that are sent.
    """

    round: int
    call: ToolCall
    server: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProgressed:
    """The server says how far a running call is; `text` is a short phrase. It is not stored."""

    round: int
    call_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """A tool call has its result."""

    round: int
    result: ToolResult
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """How the turn ends is stored, with what it adds to the history: the texts of its answers are what is posted."""

    outcome: Literal["answered", "stopped", "failed"]
    messages: tuple[Message, ...]


# A step is stored before anyone sees it; after a crash the turn goes on from its last one.
Step = ModelAnswered | CallAsked | CallJudged | CallStarted | CallWaiting | CallDecided | CallFinished
Passing = ModelAsked | TextArrived | TextTakenBack | Paused | TokensSpent | CallTaken | CallProgressed
TurnEvent = StateChanged | Passing | Replied | Step

# --- what is posted, and what is seen --------------------------------------------------------------------------


# How a post is tried: as it is; once it has failed for a while, without its files; then anywhere but in its place.
PostWay = Literal["whole", "without_files", "elsewhere"]


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
    way: PostWay = "whole"  # always that in the store
    trouble: str = ""  # a sentence: why it is not tried as it is


def answer_key(event_key: str) -> str:
    """Return what the keys of the posts begin with that answer this event; files may be named after them."""
    return hashlib.sha256(event_key.encode()).hexdigest()[:20]


CallState = Literal[
    "asked",
    "waiting",
    "running",
    "ok",
    "error",
    "timeout",
    "unavailable",
    "interrupted",
    "stopped",
    "denied",
    "withheld",
]
UNENDED_CALLS: frozenset[CallState] = frozenset({"asked", "waiting", "running"})


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
    progress: str = ""  # how far a running call is, in the server's words; redacted
    note: str = ""  # what was decided about it, in a phrase: "approved by Ben"; plain text


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
    question: str = ""  # its author's own words
    author_id: str = ""  # who asked
    attempt: int = 1  # more: a process before this one may have shown a part of it, or this one before a wait
    has_waited: bool = False  # behind other questions, and was shown to
    trace_style: Literal["", "summary", "full"] = ""  # what the policy says for the place; empty: as it is set
