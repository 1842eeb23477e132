"""What only one person sees of the bot in the loopback Slack, and what there is to press in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.events import ConversationKey
from tests.fakes.slack import FakeSlack, Message
from tests.fakes.slack.blocks import elements_of
from tests.scenarios import memory


@dataclass(frozen=True, kw_only=True)
class Person:
    """Someone who uses commands."""

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
    """Put a thread into the bot's memory before it starts: the bot repeated each of Ada's lines."""
    conversation = ConversationKey(platform="slack", space="T1", channel=channel, thread=thread)
    questions = {f"slack:T1:{channel}:{thread}:{number}": text for number, text in enumerate(texts)}
    await memory.remember(home, conversation, questions=questions, author_id="U1")


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
