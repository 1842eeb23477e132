"""What a conversation consists of: messages, tool calls and their results, as the model and the store see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as it is offered to the model; `name` is the namespaced one, `tool` the server's own."""

    name: str  # matches ^[a-zA-Z0-9_-]{1,64}$
    server: str
    tool: str
    description: str
    parameters: Mapping[str, Any]  # JSON schema of the arguments
    is_repeatable: bool = False  # read-only or idempotent, by the operator's word or a trusted server's hint
    is_bundled: bool = False  # of the server that comes with the bot
    is_read_only: bool = False  # by a trusted server's hint
    trusted_servers: tuple[str, ...] = ()  # of the tool that reads resources: whose resources can be read unasked
    hints: str = ""  # all that the server says of how the tool behaves, as JSON; decides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call the model asked for; `arguments` is its JSON text as the model wrote it, valid or not."""

    id: str  # unique within the answer that asks for it
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Bytes that a tool returned (image, audio, file) for the user to see."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}

    name: str
    mime_type: str
    data: bytes


# "denied": the policy or a person said no; "withheld": a dry run, in which it was not sent.
ToolOutcome = Literal["ok", "error", "timeout", "unavailable", "interrupted", "stopped", "denied", "withheld"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """How one call ended. `text` is whole: what the model gets of it may be cut."""

    call_id: str
    text: str
    outcome: ToolOutcome = "ok"
    attachments: tuple[Attachment, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or more model calls; `cached_tokens` is the part of `input_tokens` read from a prompt cache.

    `micro_usd` is what they cost, in millionths of a dollar, without the `unpriced_tokens`: no price is known of these.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    unpriced_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            micro_usd=self.micro_usd + other.micro_usd,
            unpriced_tokens=self.unpriced_tokens + other.unpriced_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """A question. `speaker`, a display name, is set where several people share the conversation.

    `text` is what the speaker wrote. `context` is what the question points at, in front of it: other people's words,
    marked as such; `quotes` are the ids of these people. `attached` follows the text: the texts of its files, and notes
    on what was not read, marked too. `images` are only for the turn that asks: the history keeps a sentence in their
    place.
    """

    text: str
    context: str = ""
    speaker: str | None = None
    speaker_id: str = ""  # the platform's own id of the speaker; "" in messages that were stored before it was kept
    attached: str = ""
    images: tuple[Attachment, ...] = ()
    quotes: tuple[str, ...] = ()
    is_withheld: bool = False  # a content filter refused it: people can read its turn, the model gets none of it
    kind: Literal["user"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """What the model said and which tools it asked for."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    # What its endpoint wants back with it, opaque to us: items of the Responses API (they have a `type`), or fields of
    # Chat Completions (they have none). The other API ignores it.
    replay: tuple[dict[str, Any], ...] = ()
    kind: Literal["assistant"] = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMessage:
    """The result of one tool call, as the model reads it."""

    call_id: str
    text: str
    kind: Literal["tool"] = "tool"


Message = UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """One finished answer of the model."""

    message: AssistantMessage
    usage: Usage = field(default_factory=Usage)
    is_cut: bool = False  # the endpoint ended it at its output limit
    notes: tuple[str, ...] = ()  # sentences for the user: what the model could not be given
    thoughts: str = ""  # what it thought before it answered, where the endpoint shows it; no part of the answer
    model: str = ""  # which model answered, as the endpoint names it; "" where it does not
