"""What is wrong with the set-up in Discord, and how to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from adapters.discord.adapter import DiscordOptions
from adapters.discord.api import DiscordApi
from adapters.discord.errors import DiscordUnreachableError
from adapters.discord.invite import invite_url, missing
from bot.domain.errors import RateLimitError
from bot.ports.platform import SetUp
from bot.text.counting import count
from bot.text.lines import one_line

# Flags of an application; the second is for bots in fewer than 100 servers:
# https://discord.com/developers/docs/resources/application#application-object-application-flags
MESSAGE_CONTENT = 1 << 18 | 1 << 19
MAX_SERVERS = 200  # one page: https://discord.com/developers/docs/resources/user#get-current-user-guilds
MAX_NAMED = 3
NAME_CHARS = 40


async def diagnose(options: DiscordOptions) -> SetUp:
    """Ask Discord about the token, the servers, the permissions and the intents.

    Raises:
        AdapterError: Discord does not accept the token.
    """
    async with DiscordApi(options.bot_token, api_url=options.api_url) as api:
        try:
            return await _diagnose(api, wants_content=options.message_content)
        except RateLimitError as error:
            return SetUp(
                detail=f"Discord lets nothing through for {error.retry_after_s:.0f} s or more (too many requests)",
                cure="Wait, and stop whatever else uses this token or this machine's address for Discord.",
            )
        except DiscordUnreachableError as error:
            return SetUp(detail=str(error), cure="Check this machine's network, its proxy and DISCORD_API_URL.")


async def _diagnose(api: DiscordApi, *, wants_content: bool) -> SetUp:
    me = await api.log_in()
    application = cast("dict[str, Any]", await api.call("GET", "/applications/@me"))
    servers = cast("list[dict[str, Any]]", await api.call("GET", "/users/@me/guilds", params={"limit": MAX_SERVERS}))
    who = f"@{me.name} in {count(len(servers), 'server')}"
    if not servers:
        return SetUp(detail=who, cure=f"Invite it: {invite_url(me.application)}")
    if lacking := _lacking(servers):
        return SetUp(
            detail=f"{who}; permissions missing in {lacking}",
            cure=f"Grant them to its role, or invite it again: {invite_url(me.application)}",
        )
    if wants_content and not int(application.get("flags") or 0) & MESSAGE_CONTENT:
        return SetUp(
            detail=f"{who}; the Message Content intent is off",
            cure="Switch it on in the Developer Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false; "
            "follow-ups in threads then need a mention.",
        )
    if application.get("bot_public") is True:
        return SetUp(
            detail=f"{who}; the application is public, so that anyone can add it to a server of theirs",
            cure="Switch Public Bot off in the Developer Portal under Bot, or name the servers that may use it in "
            "toolbridge.toml, under places of [access].",
            is_advice=True,
        )
    return SetUp(detail=who)


def _lacking(servers: Sequence[dict[str, Any]]) -> str:
    """Return the servers in which the bot's roles lack permissions, and which ones; "" where nothing is lacking."""
    found = [
        f"{_visible(str(server.get('name', '')))} ({', '.join(names)})"
        for server in servers
        if "permissions" in server and (names := missing(int(server["permissions"])))
    ]
    others = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return f"{'; '.join(found[:MAX_NAMED])}{others}"


def _visible(name: str) -> str:
    return one_line(name, max_chars=NAME_CHARS)
