"""How a connection to Discord's gateway is lost or refused."""

from __future__ import annotations

import aiohttp
import discord

from adapters.discord.errors import DiscordRefusedError
from adapters.shared.reaching import unreached
from bot.domain.errors import BotError

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
BAD_TOKEN, INVALID_SHARD, SHARDING_REQUIRED, DISALLOWED_INTENTS = 4004, 4010, 4011, 4014
# A connection that is lost, or was not there.
LOSSES = (OSError, TimeoutError, aiohttp.ClientError, discord.HTTPException, discord.ConnectionClosed, BotError)


def reason_of(error: BaseException) -> str:
    """Return the reason for the log, without anything of what was sent."""
    match error:
        case BotError():
            return str(error)
        case aiohttp.ClientConnectorError():
            return unreached(error, f"wss://{error.host}:{error.port}")
        case aiohttp.WSServerHandshakeError():
            return unreached(error, str(error.request_info.real_url))
        case _:
            return type(error).__name__


def is_login_refused(error: Exception) -> bool:
    """Return whether Discord does not accept the token, at its API or its gateway."""
    match error:
        case discord.LoginFailure():
            return True
        case DiscordRefusedError():
            return error.status == 401
        case discord.ConnectionClosed():
            return error.code == BAD_TOKEN
        case _:
            return False
