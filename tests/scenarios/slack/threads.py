"""What people see of the bot in a thread of the loopback Slack, and what the bot has stored of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.slack.own_messages import GROWING, POST, TRACE
from bot.domain.events import ConversationKey
from bot.domain.messages import Message as StoredMessage
from bot.ports.store import Store
from tests.fakes.slack import FakeSlack, Message
from tests.scenarios.memory import stored_answers, stored_messages
from tests.scenarios.slack.serving import Bot


@dataclass(frozen=True, kw_only=True)
class Thread:
    """One thread with the bot."""

    slack: FakeSlack
    bot: Bot | None  # None where it is a process of its own
    channel: str
    root: str

    @property
    def key(self) -> ConversationKey:
        """The core's name of it."""
        return ConversationKey(platform="slack", space="T1", channel=self.channel, thread=self.root)

    @property
    def messages(self) -> list[Message]:
        """What the bot posted there, oldest first."""
        return self.slack.bot_messages(self.channel, self.root)

    @property
    def traces(self) -> list[Message]:
        """Its messages that tell of tools."""
        return [message for message in self.messages if _kind(message) == TRACE]

    @property
    def answers(self) -> list[Message]:
        """Its messages that are parts of finished answers."""
        return [message for message in self.messages if _kind(message) == POST]

    @property
    def texts(self) -> list[str]:
        """The finished answers as they are read; the parts of each stand together, as posted."""
        return [message.shown for message in self.answers]

    @property
    def growing(self) -> list[Message]:
        """Its messages that are parts of answers which are not finished."""
        return [message for message in self.messages if _kind(message) == GROWING or message.is_streaming]

    async def say(self, user: str, text: str, **details: Any) -> str:
        """Have someone write into it; return the message's timestamp."""
        return await self.slack.say(self.channel, user, text, self.root, **details)

    async def answered(self, times: int = 1) -> list[str]:
        """Wait until so many answers are whole and the work is over; return the texts of all of them, a part each."""
        await self.slack.until(lambda: len(self._last_parts()) >= times)
        await self.at_rest()
        return self.texts

    async def at_rest(self) -> None:
        """Wait until the session says that nothing is being worked on; that of a quick answer never began."""
        await self.slack.until(lambda: self.slack.sessions.get((self.channel, self.root)) != "processing")

    async def stored(self) -> list[StoredMessage]:
        """Return the conversation's messages in the store."""
        return await stored_messages(self._store, self.key)

    async def stored_answers(self) -> list[str]:
        """Return the text of each stored answer: all that the model said in its turn."""
        return await stored_answers(self._store, self.key)

    @property
    def _store(self) -> Store:
        assert self.bot is not None
        return self.bot.app.store

    def _last_parts(self) -> list[Message]:
        return [
            message for message in self.answers if any(block["type"] == "context_actions" for block in message.blocks)
        ]


async def start(bot: Bot, user: str, text: str, *, channel: str = "C1", **details: Any) -> Thread:
    """Have someone mention the bot in a channel (in a direct message: write to it), and return the thread."""
    is_direct = channel.startswith("D")
    root = await bot.slack.say(channel, user, text, mention=not is_direct, **details)
    return Thread(slack=bot.slack, bot=bot, channel=channel, root=root)


async def check_exactly(thread: Thread, text: str) -> None:
    """Check that the thread shows just this answer, once, and that it is the stored one."""
    await thread.answered()
    assert await thread.stored_answers() == [text]
    assert thread.bot is not None
    assert thread.texts == list(thread.bot.adapter.split(text))
    assert len(thread.messages) == len(thread.traces) + len(thread.answers)
    assert not any(message.is_streaming for message in thread.messages)
    feedback = [[block["type"] for block in message.blocks].count("context_actions") for message in thread.answers]
    assert feedback == [0] * (len(feedback) - 1) + [1]
    parts = [message.metadata["event_payload"]["part"] for message in thread.answers if message.metadata]
    assert parts == list(range(len(parts)))


def _kind(message: Message) -> str:
    return str(message.metadata["event_type"]) if message.metadata else ""
