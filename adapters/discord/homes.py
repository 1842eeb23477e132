"""The bot's servers: as the gateway described them to this process, otherwise as the API does.

Discord tells a process that resumes another's session nothing of its servers, and a process that works on a turn may
get none of the shard's events.
"""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import structlog
from cachetools import TTLCache

from adapters.discord.api import DiscordApi
from adapters.discord.own_messages import id_of
from adapters.discord.parse import DIRECT
from adapters.discord.private_parts import make_guild
from adapters.discord.session import Session
from adapters.discord.snowflakes import as_number
from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.shared.tasks import KeyedLock
from bot.domain.errors import AdapterError
from bot.ports.tasks import all_of

log = structlog.stdlib.get_logger(__name__)

MAX_FETCHED = 200
KEPT_S = 300.0  # of a server that the gateway did not describe: its changes do not arrive
ASK_S = 5.0  # someone waits


class Homes:
    """Knows servers and their channels, roles and threads."""

    def __init__(self, api: DiscordApi, session: Session) -> None:
        self._api = api
        self._session = session
        self._fetched = TTLCache[str, discord.Guild](MAX_FETCHED, ttl=KEPT_S)
        self._asking: KeyedLock[str] = KeyedLock()

    def guild(self, guild_id: str) -> discord.Guild | None:
        """Return what is known of the server; None where nothing is."""
        return self._session.shards.guild(guild_id) or self._fetched.get(guild_id)

    def channel(self, channel_id: str) -> Any:
        """Return what is known of the channel or thread; None where nothing is."""
        number = as_number(channel_id)
        fetched = (guild.get_channel_or_thread(number) for guild in list(self._fetched.values()))
        return self._session.shards.channel(channel_id) or next((known for known in fetched if known is not None), None)

    async def learn(self, guild_id: str) -> None:
        """Ask Discord for the server unless it is known; where Discord does not say it, it stays unknown."""
        if guild_id in ("", DIRECT) or self.guild(guild_id) is not None:
            return
        async with self._asking.hold(guild_id):
            if self.guild(guild_id) is None:
                await self._fetch(guild_id)

    async def _fetch(self, guild_id: str) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                described = await self._described(guild_id)
        except (TimeoutError, AdapterError) as error:
            log.info("discord_server_not_described", error=str(error) or type(error).__name__)
            return
        self._session.shards.describe(guild_id, described)  # from now on, the gateway sends its changes
        if self._session.shards.guild(guild_id) is None:
            self._fetched[guild_id] = make_guild(described)

    async def _described(self, guild_id: str) -> Payload:
        """Return the server as a GUILD_CREATE has it: https://docs.discord.com/developers/events/gateway-events."""
        paths = ("", "/channels", "/threads/active", f"/members/{self._api.identity.user}")
        asked = (self._api.call("GET", f"/guilds/{{guild_id}}{path}", guild_id=guild_id) for path in paths)
        guild, channels, threads, me = await all_of(asked)
        id_of(guild)  # an answer that is not Discord's is not kept
        found = {"channels": dicts_of(channels), "threads": dicts_of(dict_of(threads).get("threads"))}
        return {**guild, **found, "members": [me], "unavailable": False}
