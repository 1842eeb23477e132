"""Toolbridge serving a loopback Discord within the test's process: the bot, the real library, a model by script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from adapters.discord.session import Watch
from adapters.shared.progress import Pace
from bot.app import App, open_app
from bot.settings import load_settings
from bot.turns.limits import LEASE_S, Patience
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord.world import Channel, Guild, User
from tests.fakes.openai import serve_openai
from tests.fakes.rights import allow_all
from tests.scenarios.model import Model
from tests.scenarios.tools import bundled_tools

WAIT_S = 60.0
# Faster than people need it, so that tests do not wait.
QUICK = Pace(
    trace_delay_s=0.3,
    trace_gap_s=0.1,
    grow_from_chars=400,
    grow_from_s=0.5,
    status_gap_s=0.0,
    status_refresh_s=8.0,
)
WATCH = Watch(back_off_s=0.1, identify_pause_s=0.05, guild_ready_s=0.05)


@dataclass
class World:
    """A loopback Discord with a server, a channel and three people, and a model."""

    discord: FakeDiscord
    model: Model
    guild: Guild
    channel: Channel
    ada: User
    ben: User
    cleo: User


@dataclass
class Bot:
    """The bot as it serves."""

    app: App
    adapter: DiscordAdapter


@asynccontextmanager
async def open_world(*, began_s_ago: float = 0.0) -> AsyncGenerator[World]:
    """Make a world whose clock is so many seconds behind; `discord.advance` brings it forward."""
    async with FakeDiscord() as discord, serve_openai(control=True) as url:
        discord.advance(-began_s_ago)
        guild = discord.add_guild("Team")
        ada, ben, cleo = (discord.add_user(name, guilds=[guild]) for name in ("Ada", "Ben", "Cleo"))
        yield World(discord, Model(url), guild, discord.add_channel(guild, "general"), ada, ben, cleo)


def options_in(world: World) -> DiscordOptions:
    """Return how to reach the world's Discord."""
    return DiscordOptions(
        bot_token=world.discord.token,
        api_url=world.discord.api_url,
        gateway_url=world.discord.gateway_url,
        pace=QUICK,
        edit_gap_s=0.05,
        watch=WATCH,
    )


@asynccontextmanager
async def serving(
    world: World,
    home: Path,
    *,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    lease_s: float = LEASE_S,
) -> AsyncGenerator[Bot]:
    """One life of the bot in `home`; a second one in the same home goes on where the first ended."""
    discord_options = replace(options_in(world), **(options or {}))
    allow_all(home)
    given = {
        "openai_base_url": world.model.url,
        "openai_model": "rehearsal",
        "toolbridge_home": home,
        "requests_per_minute": 10_000,
        **(settings or {}),
    }
    async with (
        bundled_tools(home, given) as tools,
        open_app(
            load_settings(env_file=None, **{**given, **tools}),
            [lambda host: open_discord(discord_options, host)],
            drain_s=0.5,
            patience=patience,
            lease_s=lease_s,
        ) as app,
        asyncio.TaskGroup() as group,
    ):
        (adapter,) = app.adapters
        assert isinstance(adapter, DiscordAdapter)
        running = group.create_task(adapter.run())
        try:
            async with asyncio.timeout(WAIT_S):
                opened = group.create_task(adapter.session.opened.wait())
                await asyncio.wait([running, opened], return_when=asyncio.FIRST_COMPLETED)
                opened.cancel()
            if running.done():
                running.result()
            yield Bot(app, adapter)
        finally:
            running.cancel()
