"""The bot between a loopback Discord, a scripted model and a tool server that can be held: in the test's process, or as
`python -m bot run`, a process of its own that can be killed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.failures.world import Life, Surroundings
from tests.fakes.discord import FakeDiscord, Message
from tests.scenarios.discord.serving import Bot, open_world, serving
from tests.scenarios.discord.serving import World as People


@dataclass(frozen=True, kw_only=True)
class World(Surroundings):
    """The bot's surroundings in Discord."""

    people: People

    @property
    def discord(self) -> FakeDiscord:
        return self.people.discord

    async def ask(self, text: str = "good morning") -> Message:
        """Let somebody mention the bot in the channel."""
        return await self.discord.say(self.people.channel, self.people.ada, text, mention=True)

    @asynccontextmanager
    async def serve(self, **options: Any) -> AsyncGenerator[Bot]:
        """Serve within this process, quickly."""
        settings = {"mcp_config": self.write_mcp_json()}
        async with serving(self.people, self.home, settings=settings, options=options) as bot:
            yield bot

    @asynccontextmanager
    async def run(self, **environment: str) -> AsyncGenerator[Life]:
        """Start the bot as a process of its own and wait until it is connected."""
        given = {
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "DISCORD_BOT_TOKEN": self.discord.token,
            **environment,
        }
        async with self.run_until(self.discord.connected, given) as life:
            yield life

    async def kill(self, life: Life) -> None:
        """Kill the process; Discord sees that its connection is gone, and forgets what nobody reads."""
        await life.kill()
        await self.discord.cut()
        self.discord.forget_sessions()
        self.discord.release()


@asynccontextmanager
async def open_failing_world(home: Path) -> AsyncGenerator[World]:
    """A loopback Discord with a channel of three people, and a model; the bot is not there yet."""
    async with open_world() as people:
        world = World(people=people, model=people.model, home=home)
        try:
            yield world
        finally:
            world.release_tools()
