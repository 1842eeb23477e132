"""The connection to Discord's gateway: discord.py, supervised, its events taken as they come off the wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket

from adapters.discord.rest import Rest
from bot.errors import AdapterError

log = structlog.stdlib.get_logger(__name__)

GATEWAY_URL = "wss://gateway.discord.gg/"
# What people do, taken by ourselves: the library makes objects of it and keeps them, at ten times the cost.
TAKEN = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "INTERACTION_CREATE")
MAX_BACK_OFF_S = 60.0

Payload = Mapping[str, Any]
Handle = Callable[[str, Payload], None]  # (name of the dispatch, its data); returns at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the connection is watched; seconds."""

    back_off_s: float = 1.0
    identify_pause_s: float = 5.0  # https://discord.com/developers/docs/events/gateway#rate-limiting
    guild_ready_s: float = 2.0


class Session:
    """Receives from the gateway until it is cancelled."""

    def __init__(
        self,
        token: str,
        *,
        rest: Rest,
        gateway_url: str,
        wants_content: bool,
        handle: Handle,
        watch: Watch | None = None,
    ) -> None:
        self._token = token
        self._rest = rest
        self._gateway_url = gateway_url
        self._handle = handle
        self._watch = watch or Watch()
        self._client: discord.Client | None = None
        self.reads_content = wants_content
        self.is_connected = False
        self.opened = asyncio.Event()  # it was connected once
        self.began_anew = asyncio.Event()  # a new gateway session: what was sent since the last one is missing

    async def run(self) -> None:
        """Receive; reconnects by itself.

        Raises:
            AdapterError: Discord does not let the bot in.
        """
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self._gateway_url)
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began_at = loop.time()
            try:
                await self._live()
            except discord.LoginFailure:
                raise AdapterError(
                    "Discord does not accept DISCORD_BOT_TOKEN. Make a new one in the Developer Portal under Bot.",
                    is_permanent=True,
                ) from None
            except discord.PrivilegedIntentsRequired:
                self.reads_content = False
                log.warning(
                    "discord_without_message_content",
                    hint="Messages in threads need a mention. Switch Message Content Intent on in the Developer "
                    "Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false to hide this line.",
                )
                continue
            except Exception as error:  # noqa: BLE001  (a connect that fails at first raises AttributeError, and more)
                log.warning("discord_connection_lost", error=type(error).__name__)
            failures = 0 if loop.time() - began_at > MAX_BACK_OFF_S else failures + 1
            await asyncio.sleep(min(self._watch.back_off_s * 2 ** min(max(failures - 1, 0), 10), MAX_BACK_OFF_S))

    def channel(self, channel_id: str) -> Any:
        """Return what the gateway told of the channel or thread; None where it told nothing."""
        return self._client.get_channel(int(channel_id)) if self._client is not None else None

    def channels(self) -> list[Any]:
        """Return all channels and open threads that the gateway told of."""
        if self._client is None:
            return []
        threads = [thread for guild in self._client.guilds for thread in guild.threads]
        return [*self._client.get_all_channels(), *threads]

    async def _live(self) -> None:
        """Live with one client from its login to its end."""
        bot = cast("dict[str, Any]", await self._rest.call("GET", "/gateway/bot"))
        shards = int(bot.get("shards", 1))
        client = self._client = _make_client(self, shards, self._watch, self.reads_content)
        self._take_over(client)
        try:
            await client.login(self._token)
            await client.connect()
        finally:
            self.is_connected = False
            await client.close()

    def _take_over(self, client: discord.Client) -> None:
        """Take the events in TAKEN before the library does, and let no malformed one end the connection."""
        parsers: dict[str, Callable[[Any], None]] = client._connection.parsers  # pyright: ignore[reportPrivateUsage]
        for name, parse in list(parsers.items()):
            parsers[name] = self._guarded(name, self._taking(name) if name in TAKEN else parse)

    def _taking(self, name: str) -> Callable[[Any], None]:
        def take(data: Any) -> None:
            self._handle(name, data)

        return take

    def _guarded(self, name: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(data: Any) -> None:
            try:
                parse(data)
            except Exception:  # one event must not take the others with it
                log.exception("discord_event_malformed", dispatch=name)

        return guarded

    def note_connected(self, *, is_new: bool) -> None:
        """Take note that the gateway let the bot in; `is_new`: it did not go on where it was."""
        self.is_connected = True
        self.opened.set()
        if is_new:
            self.began_anew.set()
        log.info("discord_connected", resumed=not is_new)

    def note_disconnected(self) -> None:
        """Take note that the connection is gone."""
        self.is_connected = False


class _Events:
    """What the library tells of the connection."""

    session: Session
    identify_pause_s: float

    async def on_ready(self) -> None:
        self.session.note_connected(is_new=True)

    async def on_resumed(self) -> None:
        self.session.note_connected(is_new=False)

    async def on_disconnect(self) -> None:
        self.session.note_disconnected()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        if not initial:
            await asyncio.sleep(self.identify_pause_s)


class _Client(_Events, discord.Client):
    """One shard."""


class _ShardedClient(_Events, discord.AutoShardedClient):
    """As many shards as Discord recommends."""


def _make_client(session: Session, shards: int, watch: Watch, reads_content: bool) -> discord.Client:
    logging.getLogger("discord").setLevel(logging.WARNING)  # below that it tells what people wrote
    intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=reads_content)
    kind = _ShardedClient if shards > 1 else _Client
    client = kind(
        intents=intents,
        max_messages=None,  # the bot keeps its own history
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        guild_ready_timeout=watch.guild_ready_s,
        allowed_mentions=discord.AllowedMentions.none(),
    )
    client.session = session
    client.identify_pause_s = watch.identify_pause_s
    return client
