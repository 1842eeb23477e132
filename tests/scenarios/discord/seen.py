"""What people see of the bot in a Discord channel and in the threads on its questions."""

from __future__ import annotations

from tests.fakes.discord import FakeDiscord, Message
from tests.scenarios.discord.rooms import kinds


def answers(discord: FakeDiscord, question: Message) -> list[Message]:
    """Return all that the bot wrote in answer to the question, oldest first: a reply to it and what follows that."""
    found: list[Message] = []
    asked: int | None = None
    for message in discord.own(question.channel):
        asked = message.reference or asked
        if asked == question.id and "details" not in kinds(message):
            found.append(message)
    return found


def traces(discord: FakeDiscord, question: Message) -> list[Message]:
    """Return the traces of the question, in its thread and below it."""
    thread = discord.thread_of(question)
    places = [question.channel, *([thread.id] if thread else [])]
    return [
        message
        for place in places
        for message in discord.own(place)
        if message.id > question.id and "details" in kinds(message)
    ]


def files(discord: FakeDiscord, question: Message) -> list[str]:
    """Return the names of the files that came with the question's answers."""
    return [file.filename for message in answers(discord, question) for file in message.attachments]


def stops(discord: FakeDiscord, question: Message) -> list[Message]:
    """Return the messages in the channel that still have a Stop button."""
    return [message for message in discord.own(question.channel) if "stop" in kinds(message)]


async def until_answered(discord: FakeDiscord, question: Message, *, timeout_s: float = 60.0) -> None:
    """Wait until the question has a finished answer."""
    await discord.until(lambda: any("good" in kinds(one) for one in answers(discord, question)), timeout_s)
