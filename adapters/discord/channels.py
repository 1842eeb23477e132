"""What is known of channels: which threads belong to them, what people call them, what the bot may do in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import discord
from cachetools import LRUCache

from adapters.discord.api import DiscordApi
from adapters.discord.invite import missing
from adapters.discord.parse import THREAD_TYPES
from adapters.discord.payloads import Payload
from adapters.discord.session import Session

MAX_PARENTS = 5_000


class Channels:
    """The channels of the bot's servers: as the gateway described them, otherwise as the API does."""

    def __init__(self, api: DiscordApi, session: Session) -> None:
        self._api = api
        self._session = session
        self._parents: LRUCache[str, str] = LRUCache(MAX_PARENTS)  # by the id of a thread; "" for any other channel

    async def parent_of(self, channel: str, *, is_direct: bool) -> str | None:
        """Return the channel that a thread belongs to, None for a channel that is not a thread. Raises AdapterError."""
        if is_direct:
            return None
        known = self._session.channel(channel)
        if known is not None:
            return str(known.parent_id) if isinstance(known, discord.Thread) else None
        parent = self._parents.get(channel)
        if parent is None:
            described = await self._api.call("GET", "/channels/{channel_id}", channel_id=channel)
            is_thread = described.get("type") in THREAD_TYPES
            parent = self._parents[channel] = str(described.get("parent_id") or "") if is_thread else ""
        return parent or None

    def names_in(self, message: Payload) -> Mapping[str, str]:
        """Return the names of the roles and channels that a message mentions, by their ids."""
        content = str(message.get("content", ""))
        guild: Any = getattr(self._session.channel(str(message.get("channel_id", ""))), "guild", None)
        if guild is None or not ("<#" in content or "<@&" in content):
            return {}
        return {str(thing.id): thing.name for thing in (*guild.roles, *guild.channels, *guild.threads)}

    def missing_permissions(self, channel: str) -> tuple[str, ...]:
        """Return the names of the permissions that the bot lacks in a channel; none where that is not known."""
        known = self._session.channel(channel)
        me: Any = getattr(getattr(known, "guild", None), "me", None)
        return missing(known.permissions_for(me).value) if me is not None else ()
