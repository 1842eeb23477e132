"""Which roles a person has: asked of Discord, remembered for a minute, and never guessed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.discord.api import DiscordApi
from adapters.discord.roles import Roles
from bot.domain.people import Actor
from tests.fakes.discord import FakeDiscord, Guild, User


@dataclass
class Team:
    discord: FakeDiscord
    guild: Guild
    ben: User
    role: str
    roles: Roles

    @property
    def group(self) -> str:
        return f"discord:{self.guild.id}:role:{self.role}"

    def actor(self, user: User) -> Actor:
        return Actor(platform="discord", space="@me", id=str(user.id))

    async def held(self, *groups: str, user: User | None = None, is_fresh: bool = False) -> frozenset[str]:
        asked = await self.roles.memberships(self.actor(user or self.ben), groups, is_fresh=is_fresh)
        assert not asked.unknown
        return asked.groups

    @property
    def asked(self) -> int:
        return len(self.discord.calls_of("get_member"))


@asynccontextmanager
async def open_team(*, logs_in: bool = True) -> AsyncGenerator[Team]:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        guild = discord.add_guild("Team")
        ben, role = discord.add_user("Ben"), discord.add_role(guild, "oncall")
        discord.add_member(guild, ben, roles=[role])
        if logs_in:
            await api.log_in()
        yield Team(discord, guild, ben, str(role.id), Roles(api))


async def test_a_role_is_asked_for_once_a_minute_and_again_where_it_has_to_be_fresh() -> None:
    async with open_team() as team:
        assert await team.held(team.group) == await team.held(team.group) == {team.group}
        assert team.asked == 1
        team.discord.add_member(team.guild, team.ben)
        assert await team.held(team.group) == {team.group}
        assert await team.held(team.group, is_fresh=True) == set()
        assert await team.held(team.group) == set()  # the fresh answer is the one that is remembered
        assert team.asked == 2


async def test_every_member_has_the_role_of_everybody_and_nobody_else_does() -> None:
    async with open_team() as team:
        everybody = f"discord:{team.guild.id}:role:{team.guild.id}"
        stranger = team.discord.add_user("Eve", guilds=[])
        assert await team.held(everybody, team.group) == {everybody, team.group}
        assert await team.held(everybody, team.group, user=stranger) == set()


async def test_groups_of_other_platforms_and_malformed_ones_are_not_asked_for() -> None:
    async with open_team() as team:
        assert (
            await team.held("slack:T1:usergroup:S1", "discord:1", "discord:x:role:1", "discord:1:role:" + "9" * 99)
            == set()
        )
        assert team.asked == 0


async def test_what_discord_does_not_say_is_unknown_with_the_reason() -> None:
    async with open_team() as team:
        team.discord.remove_bot(team.guild)
        asked = await team.roles.memberships(team.actor(team.ben), {team.group}, is_fresh=False)
        assert not asked.groups
        assert asked.unknown[team.group].startswith("Discord does not say who has the role (")


async def test_before_the_login_every_role_is_unknown() -> None:
    async with open_team(logs_in=False) as team:
        assert (await team.roles.memberships(team.actor(team.ben), {team.group}, is_fresh=False)).unknown
