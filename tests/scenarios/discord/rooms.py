"""What people see of the bot in a channel, thread or direct message of the loopback Discord, and what it has stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.discord.parse import Mark, parse_mark
from bot.domain.events import ConversationKey
from bot.domain.messages import Message as StoredMessage
from bot.ports.store import Store
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord.world import Channel, Interaction, Message, User
from tests.scenarios.discord.serving import Bot, World, open_world, serving
from tests.scenarios.memory import stored_answers, stored_messages
from tests.scenarios.tools import without_tools


@dataclass(frozen=True, kw_only=True)
class Room:
    """One channel, thread or direct message with the bot."""

    world: World
    bot: Bot | None  # None where it is a process of its own
    channel: Channel

    @property
    def key(self) -> ConversationKey:
        """The core's name of its conversation."""
        room = self.channel
        return ConversationKey(
            platform="discord",
            space="@me" if room.guild is None else str(room.guild),
            channel=str(room.parent or room.id),
            thread=str(room.id) if room.is_thread else "",
        )

    @property
    def messages(self) -> list[Message]:
        """What the bot posted there, oldest first."""
        return self.world.discord.own(self.channel)

    @property
    def traces(self) -> list[Message]:
        """Its messages that tell of tools."""
        return [message for message in self.messages if "details" in kinds(message)]

    @property
    def growing(self) -> list[Message]:
        """Its messages that are parts of answers which are not finished."""
        return [message for message in self.messages if "stop" in kinds(message)]

    @property
    def answers(self) -> list[Message]:
        """Its messages that are neither: parts of finished answers, and what it says besides."""
        written = [message for message in self.messages if not is_ask(message)]
        return [message for message in written if not {"details", "stop"} & kinds(message)]

    @property
    def texts(self) -> list[str]:
        return [message.content for message in self.answers]

    async def say(self, user: User, text: str, **details: Any) -> Message:
        """Have someone write into it."""
        return await self.world.discord.say(self.channel, user, text, **details)

    async def ask(self, user: User, text: str, **details: Any) -> Message:
        """Have someone mention the bot in it."""
        return await self.say(user, text, mention=True, **details)

    async def answered(self, times: int = 1) -> list[str]:
        """Wait until so many answers are whole; return the texts of all of them, a part each."""
        await self.world.discord.until(lambda: sum("good" in kinds(message) for message in self.messages) >= times)
        return self.texts

    async def press(self, message: Message, user: User, kind: str) -> Interaction:
        """Press a button of the bot, such as "stop", and return once its answer can be read."""
        pressed = await self.world.discord.press(self.channel, message, user, f"tb:{kind}:")
        await self.world.discord.until(lambda: pressed.text)
        return pressed

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


async def check_exactly(room: Room, text: str) -> None:
    """Check that the channel shows just this answer, once, and that it is the stored one."""
    await room.answered()
    assert await room.stored_answers() == [text]
    assert room.bot is not None
    assert room.texts == list(room.bot.adapter.split(text))
    assert room.messages == room.answers
    assert [kinds(message) for message in room.answers] == [set[str]()] * (len(room.answers) - 1) + [{"good", "bad"}]
    assert {mark.number for mark in marks(room.answers[-1])} == {len(room.answers) - 1}


def check_manners(discord: FakeDiscord) -> None:
    """Check that whatever the bot sent or edited calls nobody and shows no preview."""
    sent = [*discord.calls_of("create_message"), *discord.calls_of("edit_message")]
    assert sent and all(call.body["allowed_mentions"]["parse"] == [] for call in sent)
    assert all(message.suppresses_embeds for message in discord.messages.values() if message.author is discord.bot)
    assert [ping for ping in discord.pings if ping.message.author is discord.bot] == []
    assert discord.unknown_requests == []


def marks(message: Message) -> list[Mark]:
    """Return what the buttons of a message say of it."""
    return [mark for custom_id in message.custom_ids if (mark := parse_mark(custom_id)) is not None]


def kinds(message: Message) -> set[str]:
    return {mark.kind for mark in marks(message)}


def is_ask(message: Message) -> bool:
    """Return whether it is what people are asked about a call that waits."""
    return any(custom_id.startswith("tb:about:") for custom_id in message.custom_ids)


def general(world: World, bot: Bot) -> Room:
    """Return the world's first channel."""
    return Room(world=world, bot=bot, channel=world.channel)


@asynccontextmanager
async def open_room(home: Path, *, options: Mapping[str, Any] | None = None, **settings: Any) -> AsyncGenerator[Room]:
    """A channel with the bot in a new world; by default without tools, which most conversations need none of."""
    async with (
        open_world() as world,
        serving(world, home, options=options, settings={**without_tools(home), **settings}) as bot,
    ):
        yield general(world, bot)
