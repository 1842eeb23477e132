"""The life of a turn as facts: its states, its journal, what is posted and what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.domain.events import ConversationKey
from bot.domain.messages import Attachment, ModelAnswer, ToolResult

TurnState = Literal[
    "queued", "running", "delivering", "answered", "stopped", "failed", "undelivered", "withdrawn", "taken_over"
]


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
