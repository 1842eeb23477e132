"""What arrives from a chat platform, as frozen facts without platform types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """Somebody wrote to the bot; a redelivery carries the same `event_key`."""

    conversation: ConversationKey
    event_key: str
    author_id: str
    author_name: str
    text: str
    sent_at: datetime  # aware, UTC
    is_shared: bool = False  # several people write here: the model is told who spoke


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInvoked:
    """Somebody asked for one of the bot's commands; `argument` is what followed its name."""

    conversation: ConversationKey
    event_key: str
    author_id: str
    name: str
    argument: str = ""


Event = MessageReceived | CommandInvoked
