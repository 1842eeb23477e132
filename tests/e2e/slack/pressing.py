"""What one person alone sees of the bot in the loopback Slack, and what there is to press in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.events import ConversationKey, MessageReceived
from bot.messages import AssistantMessage, Usage, UserMessage
from bot.ports import Post
from bot.stores.sqlite import open_store
from tests.e2e.slack.serving import Bot, Mode, open_world, serving
from tests.e2e.slack.threads import without_tools
from tests.fakes.slack import FakeSlack, Message
from tests.fakes.slack.blocks import elements_of


@asynccontextmanager
async def open_bot(
    home: Path, *, mode: Mode = "socket", options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[Bot]:
    """The bot in a new world; by default without tools."""
    async with (
        open_world() as (slack, model),
        serving(slack, model, home, mode=mode, options=options, settings={**without_tools(home), **settings}) as bot,
    ):
        yield bot


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who uses commands."""

    slack: FakeSlack
    user: str = "U1"

    @property
    def answers(self) -> list[Message]:
        """What only this person sees, oldest first."""
        return self.slack.ephemerals(self.user)

    async def slash(self, command: str, text: str = "", *, channel: str = "C1") -> Message:
        """Run a slash command and return its answer."""
        before = len(self.answers)
        delivery = await self.slack.slash(channel, self.user, command, text)
        assert delivery.acked_at is not None, delivery.faults
        return await self.next_answer(after=before)

    async def next_answer(self, *, after: int) -> Message:
        """Wait for an answer that comes after so many others."""
        await self.slack.until(lambda: len(self.answers) > after)
        return self.answers[after]

    async def press(self, message: Message, action_id: str, *, value: str | None = None) -> None:
        """Press a button of a message."""
        delivery = await self.slack.press(message.channel, message.ts, self.user, action_id, value=value)
        assert delivery.acked_at is not None, delivery.faults

    async def turn(self, message: Message, action_id: str) -> str:
        """Press a button that changes the message, and return what it shows then."""
        edits = message.edits
        await self.press(message, action_id)
        await self.slack.until(lambda: message.edits > edits)
        return message.shown

    async def pick(self, message: Message, label: str) -> str:
        """Choose an option of a message's picker by its label, and return what the message shows then."""
        (value,) = [option["value"] for option in options(message) if label in option["text"]["text"]]
        edits = message.edits
        await self.slack.press(message.channel, message.ts, self.user, "tb:pick", selected_value=value)
        await self.slack.until(lambda: message.edits > edits)
        return message.shown


async def remember(home: Path, *, thread: str, texts: Sequence[str], channel: str = "C1") -> None:
    """Put a conversation into the bot's memory before it starts: questions of Ada's, the bot repeated each."""
    conversation = ConversationKey(platform="slack", space="T1", channel=channel, thread=thread)
    async with open_store(home / "toolbridge.db") as store:
        await store.heartbeat("before", lease_s=60.0)
        for number, text in enumerate(texts):
            event = MessageReceived(
                conversation=conversation,
                event_key=f"slack:T1:{channel}:{thread}:{number}",
                author_id="U1",
                author_name="Ada",
                text=text,
                sent_at=datetime.now(UTC),
            )
            await store.accept(event, worker="before", max_waiting=1)
            (turn,) = await store.claim("before", serves=("slack/",), limit=1)
            post = Post(key=event.event_key, conversation=conversation, turn_id=turn.lease.turn_id, part=0, text=text)
            messages = (UserMessage(text=text, speaker="Ada"), AssistantMessage(text=text))
            await store.reply(turn.lease, state="answered", messages=messages, posts=(post,), usage=Usage())
            await store.mark_posting(turn.lease, 0)
            await store.mark_posted(turn.lease, 0, reference="1.5", ends_turn=True)
        await store.release("before")


def pressable(blocks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what can be pressed, by its action id."""
    return {element["action_id"]: element for _, element in elements_of(list(blocks))}


def labels(blocks: Sequence[dict[str, Any]]) -> list[str]:
    """Return the labels of the buttons, in their order."""
    return [element["text"]["text"] for element in pressable(blocks).values() if element["type"] == "button"]


def options(message: Message) -> list[dict[str, Any]]:
    """Return the options of a message's picker; none where there is no picker."""
    picker = pressable(message.blocks).get("tb:pick")
    return picker["options"] if picker else []
