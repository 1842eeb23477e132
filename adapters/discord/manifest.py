"""The application commands as Discord knows them, and when they have to be registered again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from typing import Any

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.errors import DiscordRefusedError
from bot.domain.backoff import Backoff
from bot.domain.commands import COMMANDS, FILES, Command
from bot.domain.errors import AdapterError, BotError, RateLimitError
from bot.ports.store import NoteStore

log = structlog.stdlib.get_logger(__name__)

ASK_ABOUT = "Ask about this"
RUN = "run"  # opens a form
CLEAR = "clear"
NOTE = "discord/commands"  # a hash of what was registered, and the server that it was registered for
OF_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"
# https://discord.com/developers/docs/interactions/application-commands
CHAT_INPUT, MESSAGE = 1, 3
STRING = 3
IN_SERVERS, IN_DIRECT_MESSAGES = 0, 1
DESCRIPTION_CHARS = 100
RETRY = Backoff(first_s=60.0, max_s=3_600.0)


def commands(*, allow_dms: bool) -> list[dict[str, Any]]:
    """Return the bodies of all commands."""
    contexts = [IN_SERVERS, IN_DIRECT_MESSAGES] if allow_dms else [IN_SERVERS]
    shared = {"contexts": contexts, "integration_types": [0]}
    slash = [
        {
            "type": CHAT_INPUT,
            "name": command.name,
            "description": command.description[:DESCRIPTION_CHARS],
            "options": _options(command),
            **shared,
        }
        for command in COMMANDS
    ]
    return [*slash, {"type": MESSAGE, "name": ASK_ABOUT, **shared}]


def _options(command: Command) -> list[dict[str, Any]]:
    if not command.argument:
        return []
    if command.name == CLEAR:
        choices = [{"name": "delete saved files as well", "value": FILES}]
        return [{**_text("files", "what to forget besides the messages", autocomplete=False), "choices": choices}]
    if command.name != RUN:
        return [_text("word", "only tools that match this word", autocomplete=True)]
    return [
        {**_text("tool", "the tool, as server/tool", autocomplete=True), "required": True},
        _text("arguments", "its arguments as JSON; without them, a form asks for them", autocomplete=False),
    ]


def _text(name: str, description: str, *, autocomplete: bool) -> dict[str, Any]:
    return {
        "type": STRING,
        "name": name,
        "description": description,
        "required": False,
        "autocomplete": autocomplete,
    }


async def sync(api: DiscordApi, notes: NoteStore, *, allow_dms: bool, dev_guild: str = "") -> None:
    """Register the commands if they have changed since the last time: Discord takes 200 creations a day and server.

    A server that had them for development and is not `dev_guild` any more loses them.

    Raises:
        AdapterError: Discord refused.
        StoreError: What was registered could not be noted.
    """
    application = api.identity.application
    wanted = commands(allow_dms=allow_dms)
    fingerprint = hashlib.sha256(json.dumps([wanted, application, dev_guild], sort_keys=True).encode()).hexdigest()
    registered, _, before = (await notes.notes(NOTE)).get(NOTE, "").partition(" ")
    if registered == fingerprint:
        return
    if before and before != dev_guild:
        with suppress(DiscordRefusedError):  # the bot may have left that server
            await api.call("PUT", OF_GUILD, json=[], application_id=application, guild_id=before)
    if dev_guild:  # there they appear at once
        await api.call("PUT", OF_GUILD, json=wanted, application_id=application, guild_id=dev_guild)
    else:
        await api.call("PUT", "/applications/{application_id}/commands", json=wanted, application_id=application)
    await notes.put_note(NOTE, f"{fingerprint} {dev_guild}")
    log.info("discord_commands_registered", commands=len(wanted), guild=dev_guild)


async def keep_synced(
    api: DiscordApi, notes: NoteStore, *, allow_dms: bool, dev_guild: str = "", retry: Backoff = RETRY
) -> None:
    """Call `sync` until it succeeds, or fails in a way that trying again cannot help; failures go to the log."""
    failures = 0
    while True:
        try:
            await sync(api, notes, allow_dms=allow_dms, dev_guild=dev_guild)
        except BotError as error:
            log.warning("discord_commands_not_registered", error=str(error))
            if isinstance(error, AdapterError) and error.is_permanent:
                return
            pause_s = error.retry_after_s if isinstance(error, RateLimitError) else 0.0
        else:
            return
        failures += 1
        await asyncio.sleep(max(retry.wait_s(failures), pause_s))
