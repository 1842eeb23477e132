"""Who has which role, asked of Discord one member at a time: that needs no intent."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable

import structlog
from cachetools import TTLCache

from adapters.discord.api import DiscordApi
from adapters.discord.errors import UNKNOWN_MEMBER, UNKNOWN_USER, DiscordRefusedError
from adapters.discord.own_messages import id_of
from adapters.discord.standing import roles_of
from adapters.shared.payloads import dict_of
from bot.domain.errors import AdapterError
from bot.domain.people import Actor
from bot.ports.rights import Memberships

log = structlog.stdlib.get_logger(__name__)

KEPT_S = 60.0
MAX_KEPT = 5_000
ASK_S = 8.0  # someone waits for the answer
NOT_LISTED = (
    "Discord does not list the members of a role without the Server Members intent, which I do not use. Name the "
    "people, or ask in a channel."
)
# https://docs.discord.com/developers/resources/guild#get-guild-member
_MEMBER = "/guilds/{guild_id}/members/{user_id}"


class Roles:
    """Knows the roles of members for a minute."""

    def __init__(self, api: DiscordApi) -> None:
        self._api = api
        self._kept = TTLCache[tuple[str, str], frozenset[str]](MAX_KEPT, ttl=KEPT_S)  # by server and person

    async def memberships(self, actor: Actor, groups: Iterable[str], *, is_fresh: bool) -> Memberships:
        """See `bot.ports.rights.GroupSource`; groups of other platforms are left out."""
        held: set[str] = set()
        unknown: dict[str, str] = {}
        for guild, named in _by_guild(groups).items():
            try:
                roles = await self._roles(guild, actor.id, is_fresh=is_fresh)
            except AdapterError as error:
                unknown |= dict.fromkeys(named.values(), _phrase(error))
            else:
                held |= {group for role, group in named.items() if role in roles}
        return Memberships(groups=frozenset(held), unknown=unknown)

    async def _roles(self, guild: str, user: str, *, is_fresh: bool) -> frozenset[str]:
        """Return the roles of a member, with the `@everyone` role; none for people who are not on the server.

        Raises:
            AdapterError: Discord does not say it.
        """
        known = None if is_fresh else self._kept.get((guild, user))
        if known is None:
            known = self._kept[guild, user] = await self._asked(guild, user)
        return known

    async def _asked(self, guild: str, user: str) -> frozenset[str]:
        try:
            async with asyncio.timeout(ASK_S):
                member = dict_of(await self._api.call("GET", _MEMBER, guild_id=guild, user_id=user))
        except TimeoutError:
            raise AdapterError("Discord did not answer in time.") from None
        except DiscordRefusedError as error:
            if error.code in (UNKNOWN_MEMBER, UNKNOWN_USER):
                return frozenset()
            raise
        id_of(dict_of(member.get("user")))  # an answer that is not Discord's says nothing
        return frozenset({*roles_of(member), guild})  # the `@everyone` role has the server's id


def _by_guild(groups: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the groups that are roles, by server and role."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for group in groups:
        if role := re.fullmatch(r"discord:(\d{1,20}):role:(\d{1,20})", group, re.ASCII):
            found[role[1]][role[2]] = group
    return found


def _phrase(error: AdapterError) -> str:
    return f"Discord does not say who has the role ({str(error).rstrip('.')})"
