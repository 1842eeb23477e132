"""What the bot was asked lately: the messages that became turns, and where."""

from __future__ import annotations

from cachetools import LRUCache

from adapters.shared.arrivals import Written
from adapters.shared.tasks import RecentKeys
from bot.domain.events import ConversationKey, MessageReceived

MAX_QUESTIONS = 5_000


class Questions:
    """The latest questions of this process; after a restart it knows none.

    Nor does a process that takes over a shard: what arrives in a channel otherwise arrives at one process only.
    """

    def __init__(self) -> None:
        self._titles: LRUCache[str, str] = LRUCache(MAX_QUESTIONS)  # by event key
        self._conversations: RecentKeys[ConversationKey] = RecentKeys(MAX_QUESTIONS)

    def note(self, message: MessageReceived) -> None:
        """Remember a message that became a turn."""
        self._titles[message.event_key] = _title(message)
        self._conversations.add(message.conversation)

    def title_of(self, event_key: str) -> str:
        """Return what the question is about, in its own words where it has any; "" where it is not known."""
        return self._titles.get(event_key, "")

    def knows(self, event_key: str) -> bool:
        """Return whether the message became a turn."""
        return event_key in self._titles

    def concerns_bot(self, event: Written) -> bool:
        """Return whether the message, or the changed one, is surely for the bot."""
        if not isinstance(event, MessageReceived):
            return self.knows(event.event_key)
        if event.is_talk or event.author_kind != "person":
            return False
        return event.is_addressed or event.conversation in self._conversations


def _title(message: MessageReceived) -> str:
    if message.text:
        return message.text
    if message.files:
        return message.files[0].name
    if message.quoted:
        author = message.quoted[0].author
        return f"About {author}'s message" if author else "About a message"
    return f"Question by {message.author_name}" if message.author_name else ""
