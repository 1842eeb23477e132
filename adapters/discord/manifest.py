"""The application commands as Discord is told them, and when it has to be told again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from typing import Any

import structlog

from adapters.discord.api import Rest
from adapters.discord.errors import DiscordRefusedError
from bot.domain.commands import COMMANDS
from bot.domain.errors import AdapterError, BotError, RateLimitError
from bot.ports.store import Notes

log = structlog.stdlib.get_logger(__name__)

ASK_ABOUT = "Ask about this"
NOTE = "discord/commands"  # what Discord was told, as a hash, and the server that it was told for
OF_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"
# https://discord.com/developers/docs/interactions/application-commands
CHAT_INPUT, MESSAGE = 1, 3
STRING = 3
IN_SERVERS, IN_DIRECT_MESSAGES = 0, 1
DESCRIPTION_CHARS = 100
RETRY_S = 60.0  # after a failure, and twice as long after each other one
LONGEST_RETRY_S = 3_600.0


def commands(*, allow_dms: bool) -> list[dict[str, Any]]:
    """Return the bodies of all commands."""
    contexts = [IN_SERVERS, IN_DIRECT_MESSAGES] if allow_dms else [IN_SERVERS]
    shared = {"contexts": contexts, "integration_types": [0]}
    slash = [
        {
            "type": CHAT_INPUT,
            "name": command.name,
            "description": command.description[:DESCRIPTION_CHARS],
            "options": [_word()] if command.argument else [],
            **shared,
        }
        for command in COMMANDS
    ]
    return [*slash, {"type": MESSAGE, "name": ASK_ABOUT, **shared}]


def _word() -> dict[str, Any]:
    return {
        "type": STRING,
        "name": "word",
        "description": "only tools that match this word",
        "required": False,
        "autocomplete": True,
    }


async def sync(rest: Rest, notes: Notes, *, application: str, allow_dms: bool, dev_guild: str = "") -> None:
    """Tell Discord the commands where they have changed since it was told: 200 may be created a day and server.

    A server that had them for development and is not to have them any more loses them.

    Raises:
        AdapterError: Discord refused. StoreError: What was told could not be kept.
    """
    wanted = commands(allow_dms=allow_dms)
    print_of = hashlib.sha256(json.dumps([wanted, application, dev_guild], sort_keys=True).encode()).hexdigest()
    told, _, told_guild = (await notes.notes(NOTE)).get(NOTE, "").partition(" ")
    if told == print_of:
        return
    if told_guild and told_guild != dev_guild:
        with suppress(DiscordRefusedError):  # the bot may have left it
            await rest.call("PUT", OF_GUILD, json=[], application_id=application, guild_id=told_guild)
    if dev_guild:  # there they appear at once
        await rest.call("PUT", OF_GUILD, json=wanted, application_id=application, guild_id=dev_guild)
    else:
        await rest.call("PUT", "/applications/{application_id}/commands", json=wanted, application_id=application)
    await notes.put_note(NOTE, f"{print_of} {dev_guild}")
    log.info("discord_commands_told", commands=len(wanted), guild=dev_guild)


async def keep_synced(
    rest: Rest, notes: Notes, *, application: str, allow_dms: bool, dev_guild: str = "", retry_s: float = RETRY_S
) -> None:
    """Do the same beside what the bot does: where it fails it is logged, and tried again if that can help."""
    while True:
        try:
            await sync(rest, notes, application=application, allow_dms=allow_dms, dev_guild=dev_guild)
        except BotError as error:
            log.warning("discord_commands_not_told", error=str(error))
            if isinstance(error, AdapterError) and error.is_permanent:
                return
            pause_s = error.retry_after_s if isinstance(error, RateLimitError) else 0.0
        else:
            return
        await asyncio.sleep(max(retry_s, pause_s))
        retry_s = min(2 * retry_s, LONGEST_RETRY_S)
