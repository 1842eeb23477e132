"""What is known of channels: which threads belong to them, what people call them, what the bot may do in them.

What is read at once is what the gateway said, or was asked before by `learn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord
from cachetools import LRUCache

from adapters.discord.api import DiscordApi
from adapters.discord.homes import Homes
from adapters.discord.invite import missing
from adapters.discord.own_messages import id_of
from adapters.discord.parse import FORUM_TYPES, THREAD_TYPES, Thread
from adapters.discord.payloads import text_at, text_of
from adapters.discord.readable import Reader
from adapters.discord.session import Session
from adapters.discord.snowflakes import as_number
from adapters.discord.standing import ADMINISTRATOR, moderates, roles_of
from adapters.shared.payloads import Payload, dict_of, list_of

MAX_THREADS = 5_000


class Channels:
    """The channels of the bot's servers: as the gateway described them, otherwise as the API does."""

    def __init__(self, api: DiscordApi, session: Session) -> None:
        self._api = api
        self._session = session
        self._homes = Homes(api, session)
        self._kinds: LRUCache[str, int] = LRUCache(MAX_THREADS)  # types of the channels of threads
        self._threads: LRUCache[str, Thread | None] = LRUCache(MAX_THREADS)  # None: another kind of channel

    async def thread(self, channel: str, *, is_direct: bool) -> Thread | None:
        """Return what is known of a thread, None for a channel that is not a thread. Raises AdapterError."""
        if is_direct:
            return None
        known = self._homes.channel(channel)
        if known is not None:
            return self._known_thread(known)
        if channel not in self._threads:
            self._threads[channel] = await self._described_thread(await self._describe(channel))
        return self._threads[channel]

    async def learn(self, guild: str) -> None:
        """Ask Discord for the server unless it is known ("": no server)."""
        await self._homes.learn(guild)

    async def _describe(self, channel: str) -> Payload:
        described = await self._api.call("GET", "/channels/{channel_id}", channel_id=channel)
        id_of(described)  # an answer that is not Discord's is not kept
        return described

    def _known_thread(self, known: Any) -> Thread | None:
        if not isinstance(known, discord.Thread):
            return None
        kind = getattr(self._homes.channel(str(known.parent_id)), "type", None)
        return _thread(
            str(known.parent_id), str(known.owner_id or ""), known.name, parent_type=getattr(kind, "value", None)
        )

    async def _described_thread(self, described: Payload) -> Thread | None:
        parent = text_at(described, "parent_id")
        if described.get("type") not in THREAD_TYPES or not parent:
            return None
        kind = await self._kind(parent)
        return _thread(parent, text_at(described, "owner_id"), text_at(described, "name"), parent_type=kind)

    async def _kind(self, channel: str) -> int | None:
        known = getattr(self._homes.channel(channel), "type", None)
        if known is not None:
            return known.value
        if channel not in self._kinds:
            self._kinds[channel] = (await self._describe(channel)).get("type", 0)
        return self._kinds[channel]

    def with_owner(self, interaction: Payload) -> Payload:
        """Return the interaction with the owner of its thread, which Discord may leave out."""
        channel = dict_of(interaction.get("channel"))
        known = self._known_thread(self._homes.channel(text_at(interaction, "channel_id")))
        if known is None or "owner_id" in channel:
            return interaction
        return {**interaction, "channel": {**channel, "owner_id": known.owner}}

    def reader(self, message: Payload, guild: str) -> Reader:
        """Return the bot as a reader of a message in that server ("": a direct message)."""
        bot_user = self._api.identity.user
        home = self._homes.guild(guild)
        mentioned = map(text_of, list_of(message.get("mention_roles")))
        return Reader(
            bot_user=bot_user,
            bot_roles=frozenset(role for role in mentioned if _is_role_of(home, role, bot_user)),
            name_of=lambda number: _name_in(home, number),
            reads_content=self._session.reads_content,
        )

    def missing_permissions(self, channel: str) -> tuple[str, ...]:
        """Return the names of the permissions that the bot lacks in a channel; none where that is not known."""
        known = self._homes.channel(channel)
        me: Any = getattr(getattr(known, "guild", None), "me", None)
        return missing(known.permissions_for(me).value) if me is not None else ()

    def is_moderator(self, message: Payload) -> bool:
        """Return whether the author of a delivered message moderates its channel, as far as the gateway said it."""
        known = self._homes.channel(text_at(message, "channel_id"))
        room: Any = known.parent if isinstance(known, discord.Thread) else known
        home = self._homes.guild(text_at(message, "guild_id"))
        if home is None or not hasattr(room, "overwrites_for"):
            return False
        author = text_at(dict_of(message.get("author")), "id")
        if str(home.owner_id) == author != "":
            return True
        held = [home.get_role(as_number(role)) for role in roles_of(dict_of(message.get("member")))]
        return _moderates(home, room, [role for role in held if role is not None], as_number(author))


def _thread(parent: str, owner: str, name: str, *, parent_type: int | None) -> Thread:
    return Thread(parent=parent, owner=owner, title=name if parent_type in FORUM_TYPES else "")


def _moderates(home: discord.Guild, room: Any, roles: Sequence[discord.Role], author: int) -> bool:
    """https://docs.discord.com/developers/topics/permissions#permission-hierarchy"""
    everyone = home.default_role
    base = everyone.permissions.value
    for role in roles:
        base |= role.permissions.value
    if base & ADMINISTRATOR:
        return True
    own = [room.overwrites_for(role) for role in roles]
    for overwrites in (
        [room.overwrites_for(everyone)],
        own,
        [room.overwrites_for(discord.Object(author, type=discord.Member))],
    ):
        pairs = [each.pair() for each in overwrites]
        for _, denied in pairs:
            base &= ~denied.value
        for allowed, _ in pairs:
            base |= allowed.value
    return moderates(base)


def _is_role_of(guild: discord.Guild | None, role: str, bot_user: str) -> bool:
    """Return whether Discord made the role for the bot, when it was invited.

    https://docs.discord.com/developers/topics/permissions#role-object-role-tags-structure
    """
    known = guild.get_role(as_number(role)) if guild is not None else None
    tags = known.tags if known is not None else None
    return tags is not None and str(tags.bot_id) == bot_user


def _name_in(guild: discord.Guild | None, number: str) -> str:
    """Return the name of a role or channel of the server; other servers' are not for the people of this one."""
    if guild is None:
        return ""
    known = guild.get_role(as_number(number)) or guild.get_channel_or_thread(as_number(number))
    return known.name if known is not None else ""
