"""What people see of the bot in a Slack thread."""

from __future__ import annotations

from typing import Any

from tests.fakes.slack import FakeSlack
from tests.fakes.slack.world import Message


def answers(slack: FakeSlack, channel: str, root: str) -> list[Message]:
    """Return everything in the thread that is an answer or a piece of one, oldest first."""
    return [message for message in slack.bot_messages(channel, root) if _kind(message) in ("post", "live", "unmarked")]


def traces(slack: FakeSlack, channel: str, root: str) -> list[Message]:
    """Return the traces in the thread, oldest first."""
    return [message for message in slack.bot_messages(channel, root) if _kind(message) == "trace"]


def files(slack: FakeSlack, channel: str, root: str) -> list[str]:
    """Return the names of the files that the bot has put into the thread, oldest first."""
    return [stored.name for message in slack.bot_messages(channel, root) for stored in message.files]


async def until_answered(slack: FakeSlack, channel: str, root: str, *, count: int = 1, timeout_s: float = 60.0) -> None:
    """Wait until so many finished answers stand in the thread, each deliverable to its end."""
    await slack.until(lambda: _finished(slack, channel, root) >= count, timeout_s)


def _finished(slack: FakeSlack, channel: str, root: str) -> int:
    return sum(_kind(message) == "post" for message in answers(slack, channel, root))


def _kind(message: Message) -> str:
    if message.files:
        return "file"
    metadata: dict[str, Any] = message.metadata or {}
    return str(metadata.get("event_type", "toolbridge_unmarked")).removeprefix("toolbridge_")
