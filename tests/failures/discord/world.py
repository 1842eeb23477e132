"""The loopback Discord that a failure is played at."""

from __future__ import annotations

from tests.failures.table import QUESTION
from tests.failures.world import World
from tests.fakes.discord import FakeDiscord, Message
from tests.scenarios.drivers.discord import DiscordDriver


def driver_of(world: World) -> DiscordDriver:
    assert isinstance(world.driver, DiscordDriver)
    return world.driver


def discord_of(world: World) -> FakeDiscord:
    return driver_of(world).discord


async def ask(world: World, text: str = QUESTION, *, deliver: bool = True) -> Message:
    """Have Ada mention the bot in the channel."""
    people = driver_of(world).world
    return await people.discord.say(people.channel, people.ada, text, mention=True, deliver=deliver)
