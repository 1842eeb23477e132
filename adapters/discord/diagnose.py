"""What is wrong with the set-up in Discord, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from adapters.discord.adapter import DiscordOptions
from adapters.discord.api import Rest
from adapters.discord.errors import DiscordUnreachableError
from adapters.discord.invite import invite_url, missing
from bot.domain.errors import RateLimitError
from bot.ports.platform import SetUp
from bot.text.split import cut

# Of an application; the second is for bots in fewer than 100 servers:
# https://discord.com/developers/docs/resources/application#application-object-application-flags
MESSAGE_CONTENT = 1 << 18 | 1 << 19
MAX_SERVERS = 200  # of a page: https://discord.com/developers/docs/resources/user#get-current-user-guilds
MAX_NAMED = 3
NAME_CHARS = 40


async def check_up(options: DiscordOptions) -> SetUp:
    """Ask Discord about the token, the servers, the permissions and the intents.

    Raises:
        AdapterError: Discord does not accept the token.
    """
    async with Rest(options.bot_token, api_url=options.api_url) as rest:
        try:
            return await _look(rest, wants_content=options.message_content)
        except RateLimitError as error:
            return SetUp(
                detail=f"Discord lets nothing through for {error.retry_after_s:.0f} s or more (too many requests)",
                cure="Wait, and stop whatever else uses this token or this machine's address for Discord.",
            )
        except DiscordUnreachableError as error:
            return SetUp(detail=str(error), cure="Check this machine's network, its proxy and DISCORD_API_URL.")


async def _look(rest: Rest, *, wants_content: bool) -> SetUp:
    me = await rest.log_in()
    application = cast("dict[str, Any]", await rest.call("GET", "/applications/@me"))
    servers = cast("list[dict[str, Any]]", await rest.call("GET", "/users/@me/guilds", params={"limit": MAX_SERVERS}))
    who = f"@{me.name} in {len(servers)} server{'' if len(servers) == 1 else 's'}"
    if not servers:
        return SetUp(detail=who, cure=f"Invite it: {invite_url(me.application)}")
    if lacking := _lacking(servers):
        return SetUp(
            detail=f"{who}; permissions missing in {lacking}",
            cure=f"Give them to its role, or invite it again: {invite_url(me.application)}",
        )
    if wants_content and not int(application.get("flags") or 0) & MESSAGE_CONTENT:
        return SetUp(
            detail=f"{who}; without the Message Content intent",
            cure="Switch it on in the Developer Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false: "
            "follow-ups in threads then need a mention.",
        )
    return SetUp(detail=who)


def _lacking(servers: Sequence[dict[str, Any]]) -> str:
    """Return the servers in which the bot's roles lack permissions, with those; "" where there are none."""
    found = [
        f"{_visible(str(server.get('name', '')))} ({', '.join(names)})"
        for server in servers
        if "permissions" in server and (names := missing(int(server["permissions"])))
    ]
    others = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return f"{'; '.join(found[:MAX_NAMED])}{others}"


def _visible(name: str) -> str:
    return cut("".join(char if char.isprintable() else " " for char in name), NAME_CHARS)
