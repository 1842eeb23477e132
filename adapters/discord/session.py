"""The connection to Discord's gateway: discord.py, supervised, its events taken as they come off the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket

from adapters.discord.api import LOGIN_REFUSED, Rest
from adapters.discord.errors import DiscordRefusedError
from bot.domain.errors import AdapterError

log = structlog.stdlib.get_logger(__name__)

GATEWAY_URL = "wss://gateway.discord.gg/"
# What people do, taken by ourselves: the library makes objects of it and keeps them, at ten times the cost.
TAKEN = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "INTERACTION_CREATE")
MAX_BACK_OFF_S = 60.0
BAD_TOKEN = 4004  # https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway

Payload = Mapping[str, Any]
Handle = Callable[[str, Payload], None]  # (name of the dispatch, its data); returns at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the connection is watched; seconds."""

    back_off_s: float = 1.0
    identify_pause_s: float = 5.0  # https://discord.com/developers/docs/events/gateway#rate-limiting
    guild_ready_s: float = 2.0
    heartbeat_timeout_s: float = 60.0  # a connection on which nothing arrives for so long is dead
    # The library takes ever longer pauses, up to 17 minutes, before it resumes a session; by then it is better to begin
    # anew and to look for what was missed.
    give_up_s: float = 60.0


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
        self._shards = 1
        self._connected: set[int] = set()  # shards
        self._gone_since: float | None = None  # seconds of time.monotonic(): a shard that was connected is not
        self.reads_content = wants_content
        self.opened = asyncio.Event()  # it was connected once
        self.began_anew = asyncio.Event()  # a new gateway session: what was sent since the last one is missing

    @property
    def is_connected(self) -> bool:
        """Whether everything that happens arrives now: all shards are connected."""
        return len(self._connected) == self._shards

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
            except discord.PrivilegedIntentsRequired:
                self.reads_content = False
                log.warning(
                    "discord_without_message_content",
                    hint="Messages in threads need a mention. Switch Message Content Intent on in the Developer "
                    "Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false to hide this line.",
                )
                continue
            except Exception as error:  # noqa: BLE001  (a connect that fails at first raises AttributeError, and more)
                if _is_refused(error):
                    raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
                reason = str(error) if isinstance(error, AdapterError) else type(error).__name__
                log.warning("discord_connection_lost", error=reason)
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
        told = cast("dict[str, Any]", await self._rest.call("GET", "/gateway/bot"))
        # One more session than Discord allows a day, and it takes the token away.
        limit = cast("dict[str, Any]", told.get("session_start_limit") or {})
        if limit.get("remaining", 1) <= 0:
            raise AdapterError("Discord lets the bot begin no session more today. Nothing to do: it is tried again.")
        self._shards = int(told.get("shards", 1))
        client = self._client = _make_client(self, self._shards, self._watch, self.reads_content)
        self._take_over(client)
        try:
            await client.login(self._token)
            await self._connect(client)
        finally:
            self._connected.clear()
            self._gone_since = None
            await client.close()

    async def _connect(self, client: discord.Client) -> None:
        """Be connected, until that cannot be had any more."""
        connecting = asyncio.create_task(client.connect(), name="discord:gateway")
        try:
            while not connecting.done():
                await asyncio.wait([connecting], timeout=self._watch.give_up_s / 4)
                if self._gone_since is not None and time.monotonic() - self._gone_since > self._watch.give_up_s:
                    raise AdapterError("The gateway did not come back in time; a new session is begun.")
            await connecting
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

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

    def note_connected(self, shard: int, *, is_new: bool) -> None:
        """Take note that the gateway let the shard in; `is_new`: it did not go on where it was."""
        self._connected.add(shard)
        if is_new:
            self.began_anew.set()
        if self.is_connected:
            self._gone_since = None
            self.opened.set()
        log.info("discord_connected", shard=shard, resumed=not is_new)

    def note_disconnected(self, shard: int) -> None:
        """Take note that the shard's connection is gone."""
        if shard in self._connected:
            self._connected.remove(shard)
            self._gone_since = self._gone_since or time.monotonic()


class _Base(discord.Client):
    """What one shard and many have in common."""

    session: Session
    identify_pause_s: float

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        if not initial:
            await asyncio.sleep(self.identify_pause_s)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        if not self.is_closed():  # what the library still waits for then has no loop to run on
            super().dispatch(event, *args, **kwargs)


class _Client(_Base):
    """One shard, and what the library tells of it."""

    async def on_ready(self) -> None:
        self.session.note_connected(0, is_new=True)

    async def on_resumed(self) -> None:
        self.session.note_connected(0, is_new=False)

    async def on_disconnect(self) -> None:
        self.session.note_disconnected(0)


class _ShardedClient(_Base, discord.AutoShardedClient):
    """As many shards as Discord recommends, and what the library tells of each."""

    async def on_shard_ready(self, shard_id: int) -> None:
        self.session.note_connected(shard_id, is_new=True)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self.session.note_connected(shard_id, is_new=False)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self.session.note_disconnected(shard_id)


def _make_client(session: Session, shards: int, watch: Watch, reads_content: bool) -> discord.Client:
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody misses voice here
    options: dict[str, Any] = {
        "intents": discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=reads_content),
        "max_messages": None,  # the bot keeps its own history
        "member_cache_flags": discord.MemberCacheFlags.none(),
        "chunk_guilds_at_startup": False,
        "guild_ready_timeout": watch.guild_ready_s,
        "heartbeat_timeout": watch.heartbeat_timeout_s,
        "allowed_mentions": discord.AllowedMentions.none(),
    }
    # With the number given, shards use the gateway's URL that is set, as a single one does.
    client = _ShardedClient(shard_count=shards, **options) if shards > 1 else _Client(**options)
    client.session = session
    client.identify_pause_s = watch.identify_pause_s
    return client


def _is_refused(error: Exception) -> bool:
    """Tell whether Discord does not accept the token, at its API or its gateway."""
    match error:
        case discord.LoginFailure():
            return True
        case DiscordRefusedError():
            return error.status == 401
        case discord.ConnectionClosed():
            return error.code == BAD_TOKEN
        case _:
            return False
