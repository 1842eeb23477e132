"""What is wrong with the set-up in Discord, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from adapters.discord.adapter import DiscordOptions
from adapters.discord.invite import invite_url
from adapters.discord.rest import Rest
from bot.errors import RateLimitError

# Of an application; the second is for bots in fewer than 100 servers:
# https://discord.com/developers/docs/resources/application#application-object-application-flags
MESSAGE_CONTENT = 1 << 18 | 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the set-up is; `cure` is empty where nothing is wrong."""

    detail: str
    cure: str = ""


async def check_up(options: DiscordOptions) -> Found:
    """Ask Discord about the token, the intents and the servers. Raises AdapterError where it does not answer."""
    async with Rest(options.bot_token, api_url=options.api_url) as rest:
        try:
            me = await rest.log_in()
            application = cast("dict[str, Any]", await rest.call("GET", "/applications/@me"))
            guilds = cast("list[Any]", await rest.call("GET", "/users/@me/guilds", params={"limit": 200}))
        except RateLimitError as error:
            return Found(
                detail=f"Discord lets nothing through for {error.retry_after_s:.0f} s (too many requests)",
                cure="Wait, and stop whatever else uses this token or this machine's address for Discord.",
            )
        who = f"@{me.name} in {len(guilds)} server{'' if len(guilds) == 1 else 's'}"
        if not guilds:
            return Found(detail=who, cure=f"Invite it: {invite_url(me.application)}")
        if options.message_content and not int(application.get("flags") or 0) & MESSAGE_CONTENT:
            return Found(
                detail=f"{who}; without the Message Content intent",
                cure="Switch it on in the Developer Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false: "
                "follow-ups in threads then need a mention.",
            )
        return Found(detail=who)
