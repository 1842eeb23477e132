"""Servers that the gateway did not describe to this process: another one has their shard, or had it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.session import Session, Watch
from tests.fakes.discord import ALL_BOT_PERMISSIONS, Channel, FakeDiscord, Guild


@dataclass
class Elsewhere:
    """A process that holds no shard, and a server."""

    discord: FakeDiscord
    guild: Guild
    channel: Channel
    channels: Channels


@asynccontextmanager
async def elsewhere() -> AsyncGenerator[Elsewhere]:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        await api.log_in()
        guild = discord.add_guild("Team")
        channel = discord.add_channel(guild, "general")
        session = Session(
            discord.token, api=api, gateway_url=discord.gateway_url, wants_content=True, watch=Watch(look_s=0.1)
        )
        yield Elsewhere(discord, guild, channel, Channels(api, session))


async def test_names_and_the_bots_role_are_known_of_a_server_of_another_process() -> None:
    async with elsewhere() as here:
        (role,) = [role for role in here.guild.roles.values() if role.bot]
        await here.channels.learn(str(here.guild.id))
        reader = here.channels.reader({"mention_roles": [str(role.id)]}, str(here.guild.id))
        assert reader.bot_roles == {str(role.id)}
        assert reader.name_of(str(here.channel.id)) == "general"


async def test_what_the_bot_may_not_do_there_is_known() -> None:
    async with elsewhere() as here:
        here.discord.allow_bot(here.channel, *(set(ALL_BOT_PERMISSIONS) - {"ATTACH_FILES"}))
        assert here.channels.missing_permissions(str(here.channel.id)) == ()
        await here.channels.learn(str(here.guild.id))
        assert here.channels.missing_permissions(str(here.channel.id)) == ("Attach Files",)


async def test_a_server_is_asked_for_once() -> None:
    async with elsewhere() as here:
        for _ in range(3):
            await here.channels.learn(str(here.guild.id))
        assert len(here.discord.calls_of("get_guild")) == 1


async def test_a_server_that_discord_does_not_show_stays_unknown_and_nothing_more_is_asked_of_it() -> None:
    async with elsewhere() as here:
        here.discord.refuse("get_guild", code=50001)
        before = asyncio.all_tasks()
        await here.channels.learn(str(here.guild.id))
        assert [task for task in asyncio.all_tasks() - before if "DiscordApi.call" in repr(task)] == []
        assert here.channels.reader({}, str(here.guild.id)).name_of(str(here.channel.id)) == ""


async def test_a_thread_there_is_known_with_its_owner() -> None:
    async with elsewhere() as here:
        ada = here.discord.add_user("Ada", guilds=[here.guild])
        talk = await here.discord.start_thread(here.channel, ada, "Talk")
        thread = await here.channels.thread(str(talk.id), is_direct=False)
        assert thread is not None
        assert (thread.parent, thread.owner, thread.title) == (str(here.channel.id), str(ada.id), "")


async def test_a_post_in_a_forum_there_is_known_by_its_title() -> None:
    async with elsewhere() as here:
        ada = here.discord.add_user("Ada", guilds=[here.guild])
        post = await here.discord.post(here.discord.add_forum(here.guild), ada, "How to begin", "Tell me")
        thread = await here.channels.thread(str(post.id), is_direct=False)
        assert thread is not None
        assert thread.title == "How to begin"
