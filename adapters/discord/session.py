"""The connection to Discord's gateway: discord.py, supervised, with its events taken before the library parses them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import discord
import structlog

from adapters.discord.api import LOGIN_REFUSED, DiscordApi
from adapters.discord.errors import DiscordRefusedError
from adapters.discord.private_parts import CONNECTION_LOGGERS, event_parsers, hide_voice_warnings, use_gateway
from adapters.discord.snowflakes import as_number
from adapters.shared.payloads import Payload
from adapters.shared.reaching import unreached
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError

log = structlog.stdlib.get_logger(__name__)

GATEWAY_URL = "wss://gateway.discord.gg/"
# The library would build objects from these and keep them, at ten times the cost.
TAKEN = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "INTERACTION_CREATE")
MAX_BACKOFF_S = 60.0
BAD_TOKEN = 4004  # https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway

Handle = Callable[[str, Payload], None]  # (name of the dispatch, its data); returns at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the connection is watched; seconds."""

    back_off_s: float = 1.0
    identify_pause_s: float = 5.0  # https://discord.com/developers/docs/events/gateway#rate-limiting
    guild_ready_s: float = 2.0
    heartbeat_timeout_s: float = 60.0  # a connection on which nothing arrives for this long is dead
    # Before it resumes a session the library pauses for up to 17 minutes; a new session and a look for what was missed
    # are quicker.
    give_up_s: float = 60.0

    @property
    def backoff(self) -> Backoff:
        """The wait before Discord is asked again after a failure."""
        return Backoff(first_s=self.back_off_s, max_s=MAX_BACKOFF_S)


class Session:
    """Receives from the gateway while it runs; knows the servers and channels that the gateway named last."""

    def __init__(self, token: str, *, api: DiscordApi, gateway_url: str, wants_content: bool, watch: Watch) -> None:
        self._token = token
        self._api = api
        self._gateway_url = gateway_url
        self._watch = watch
        hide_voice_warnings()
        for name in CONNECTION_LOGGERS:
            logging.getLogger(name).addFilter(_without_traceback)
        self._client = discord.Client(intents=discord.Intents(guilds=True))  # knows no channel; `run` replaces it
        self._shards = 1
        self._connected: set[int] = set()  # shards
        self._incomplete_since: float | None = None  # seconds of time.monotonic(); None while no shard was lost
        self.reads_content = wants_content
        self.opened = asyncio.Event()  # all shards were connected once
        self.has_gap = asyncio.Event()  # a new gateway session began: what was sent since the last one is missing

    @property
    def is_connected(self) -> bool:
        """Whether everything that happens arrives now: all shards are connected."""
        return len(self._connected) == self._shards

    async def run(self, handle: Handle) -> None:
        """Hand each dispatch in TAKEN to `handle` until cancelled; reconnects by itself.

        Raises:
            AdapterError: Discord does not let the bot in.
        """
        use_gateway(self._gateway_url)
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began_at = loop.time()
            try:
                await self._run_client(handle)
            except discord.PrivilegedIntentsRequired:
                self.reads_content = False
                log.warning(
                    "discord_without_message_content",
                    hint="Messages in threads need a mention. Switch Message Content Intent on in the Developer "
                    "Portal under Bot, or set DISCORD_MESSAGE_CONTENT=false to hide this line.",
                )
                continue
            except Exception as error:  # noqa: BLE001  (a first connect that fails raises AttributeError, and more)
                if _is_refused(error):
                    raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
                _log_loss(error)
            failures = 1 if loop.time() - began_at > MAX_BACKOFF_S else failures + 1
            await asyncio.sleep(self._watch.backoff.wait_s(failures))

    def channel(self, channel_id: str) -> Any:
        """Return the channel or thread as the gateway described it; None where it did not."""
        return self._client.get_channel(as_number(channel_id))

    def guild(self, guild_id: str) -> discord.Guild | None:
        """Return the server as the gateway described it; None where it did not."""
        return self._client.get_guild(as_number(guild_id))

    def channels(self) -> list[Any]:
        """Return all channels and open threads that the gateway named."""
        threads = [thread for guild in self._client.guilds for thread in guild.threads]
        return [*self._client.get_all_channels(), *threads]

    # --- one client, from its login to its end ---

    async def _run_client(self, handle: Handle) -> None:
        gateway = cast("dict[str, Any]", await self._api.call("GET", "/gateway/bot"))
        # Discord revokes the token of a bot that begins more sessions than it may in a day.
        limit = cast("dict[str, Any]", gateway.get("session_start_limit") or {})
        if limit.get("remaining", 1) <= 0:
            raise AdapterError("The bot has used up Discord's session starts of today. It tries again by itself.")
        self._shards = int(gateway.get("shards", 1))
        client = self._client = _make_client(self, self._shards, self._watch)
        _take_events(client, handle)
        try:
            await client.login(self._token)
            await self._connect(client)
        finally:
            self._connected.clear()
            self._incomplete_since = None
            await client.close()

    async def _connect(self, client: discord.Client) -> None:
        """Stay connected as long as the library manages to, or until it takes too long to come back."""
        connecting = asyncio.create_task(client.connect(), name="discord:gateway")
        try:
            while not connecting.done():
                await asyncio.wait([connecting], timeout=self._watch.give_up_s / 4)
                since = self._incomplete_since
                if since is not None and time.monotonic() - since > self._watch.give_up_s:
                    raise AdapterError("The gateway did not come back in time; a new session begins.")
            await connecting
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    def note_connected(self, shard: int, *, is_new: bool) -> None:
        """Note that the shard is connected, by a new session (`is_new`) or a resumed one."""
        self._connected.add(shard)
        if is_new:
            self.has_gap.set()
        if self.is_connected:
            self._incomplete_since = None
            self.opened.set()
        log.info("discord_connected", shard=shard, resumed=not is_new)

    def note_disconnected(self, shard: int) -> None:
        """Note that the shard's connection is lost."""
        if shard in self._connected:
            self._connected.remove(shard)
            self._incomplete_since = self._incomplete_since or time.monotonic()


# What the library takes for a lost connection.
_LOSSES = (OSError, aiohttp.ClientError, discord.HTTPException, discord.ConnectionClosed)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Give the library's line about a lost connection the address and the reason in place of a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, _LOSSES):
        record.msg = f"{record.getMessage().rstrip('.')} ({_reason(error)})"
        record.args = record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _log_loss(error: Exception) -> None:
    if isinstance(error, AttributeError) and isinstance(error.__context__, _LOSSES):
        return  # a first connect that failed: the library has logged why, then meant to resume what never began
    log.warning("discord_connection_lost", error=str(error) if isinstance(error, AdapterError) else _reason(error))


def _reason(error: BaseException) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return unreached(error, f"wss://{error.host}:{error.port}")
        case aiohttp.WSServerHandshakeError():
            return unreached(error, str(error.request_info.real_url))
        case _:
            return type(error).__name__


def _take_events(client: discord.Client, handle: Handle) -> None:
    """Hand the dispatches in TAKEN to `handle` instead of the library; isolate the connection from malformed ones."""
    parsers = event_parsers(client)
    for name, parse in list(parsers.items()):
        parsers[name] = _guarded(name, _taking(name, handle) if name in TAKEN else parse)


def _taking(name: str, handle: Handle) -> Callable[[Any], None]:
    def take(data: Any) -> None:
        handle(name, data)

    return take


def _guarded(name: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
    def guarded(data: Any) -> None:
        try:
            parse(data)
        except Exception:  # isolates one event from the next: the library would end the connection
            log.exception("discord_event_malformed", dispatch=name)

    return guarded


class _Base(discord.Client):
    """What a single shard and several have in common."""

    session: Session
    identify_pause_s: float

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        if not initial:
            await asyncio.sleep(self.identify_pause_s)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        if not self.is_closed():  # after that, no loop runs what the library still dispatches
            super().dispatch(event, *args, **kwargs)


class _Client(_Base):
    """One shard, which reports to its session."""

    async def on_ready(self) -> None:
        self.session.note_connected(0, is_new=True)

    async def on_resumed(self) -> None:
        self.session.note_connected(0, is_new=False)

    async def on_disconnect(self) -> None:
        self.session.note_disconnected(0)


class _ShardedClient(_Base, discord.AutoShardedClient):
    """As many shards as Discord recommends, each of which reports to the session."""

    async def on_shard_ready(self, shard_id: int) -> None:
        self.session.note_connected(shard_id, is_new=True)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self.session.note_connected(shard_id, is_new=False)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self.session.note_disconnected(shard_id)


def _make_client(session: Session, shards: int, watch: Watch) -> discord.Client:
    intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=session.reads_content)
    options: dict[str, Any] = {
        "intents": intents,
        "max_messages": None,  # the bot keeps its own history
        "member_cache_flags": discord.MemberCacheFlags.none(),
        "chunk_guilds_at_startup": False,
        "guild_ready_timeout": watch.guild_ready_s,
        "heartbeat_timeout": watch.heartbeat_timeout_s,
        "allowed_mentions": discord.AllowedMentions.none(),
    }
    # With an explicit count, shards use the gateway's URL that is set, as a single one does.
    client = _ShardedClient(shard_count=shards, **options) if shards > 1 else _Client(**options)
    client.session = session
    client.identify_pause_s = watch.identify_pause_s
    return client


def _is_refused(error: Exception) -> bool:
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
