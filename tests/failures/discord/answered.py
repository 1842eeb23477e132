"""What has to be there once a question was answered in the loopback Discord."""

from __future__ import annotations

from tests.failures.discord.world import ask, discord_of
from tests.failures.table import LONG
from tests.failures.world import World
from tests.fakes.discord import Message
from tests.scenarios.discord.seen import answers, stops, until_answered


async def answered_with(world: World, question: Message, text: str = "Hello!") -> None:
    """Wait until the question is answered; see that it is so once, in one message, and that nothing is left over."""
    await until_answered(discord_of(world), question)
    (answer,) = answers(discord_of(world), question)
    assert text in answer.content
    assert stops(discord_of(world), question) == []


async def answered_with_all(world: World, question: Message) -> None:
    """Wait until the long answer is there, all of it and nothing twice."""
    await until_answered(discord_of(world), question)
    shown = [message.content for message in answers(discord_of(world), question)]
    assert "\n".join(shown).split() == LONG.split(), shown
    assert stops(discord_of(world), question) == []


async def ask_for_all(world: World) -> Message:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.005)
    return await ask(world)
