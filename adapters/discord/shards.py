"""One shard: its connection to the gateway, kept up, with its events taken before the library parses them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import discord
import structlog

from adapters.discord.api import LOGIN_REFUSED
from adapters.discord.assignments import Assignment, Note
from adapters.discord.losses import (
    DISALLOWED_INTENTS,
    INVALID_SHARD,
    LOSSES,
    SHARDING_REQUIRED,
    is_login_refused,
    reason_of,
)
from adapters.discord.private_parts import Position, converse, event_parsers, hang_up, position_of
from adapters.discord.starts import NOT_HELD, Start, Starts
from adapters.shared.payloads import Payload, dict_of, list_of
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError

log = structlog.stdlib.get_logger(__name__)

# The library would build objects from these and keep them, at ten times the cost.
TAKEN = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "INTERACTION_CREATE")
# The last of them ends the wait for a new session's servers; an unavailable one comes as GUILD_DELETE, or not at all.
DESCRIBING = ("READY", "GUILD_CREATE", "GUILD_DELETE")
# Of one shard: https://docs.discord.com/developers/events/gateway#sharding
MAX_SERVERS = 2_500
MAX_BACKOFF_S = 60.0
# A session that nobody is connected to ends after a few minutes; asking for an older one costs a connection.
FRESH_S = 600.0
WITHOUT_CONTENT = (
    "Messages in threads need a mention. Switch Message Content Intent on in the Developer Portal under Bot, or set "
    "DISCORD_MESSAGE_CONTENT=false to hide this line."
)

Handle = Callable[[str, Payload], None]  # (name of the dispatch, its data); returns at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the connections are watched; seconds."""

    back_off_s: float = 1.0
    # 5 s by https://docs.discord.com/developers/events/gateway#rate-limiting, and what the network may make of them
    identify_pause_s: float = 5.25
    guild_ready_s: float = 2.0
    heartbeat_timeout_s: float = 60.0  # a connection on which nothing arrives for this long is dead
    give_up_s: float = 60.0  # a session that could not be resumed for so long is replaced by a new one
    look_s: float = 3.0  # how often each process looks who holds which shard, and notes how far it has come
    look_alone_s: float = 10.0  # the same while there is no other process

    @property
    def backoff(self) -> Backoff:
        """The wait before Discord is asked again after a failure."""
        return Backoff(first_s=self.back_off_s, max_s=MAX_BACKOFF_S)


class Keeper(Protocol):
    """Who runs shards, as each of them sees it."""

    token: str
    watch: Watch
    starts: Starts
    reads_content: bool
    logins: asyncio.Semaphore

    def is_held(self) -> bool:
        """Return whether this process may act for its shards; False has its connections closed soon."""
        ...

    def is_behind(self) -> bool:
        """Return whether something that arrived is not dealt with yet."""
        ...

    def handle(self, name: str, data: Payload) -> None:
        """Take a dispatch; returns at once."""
        ...

    def note_connected(self, shard: Shard, *, is_new: bool) -> None:
        """Note that the shard is connected, by a new session (`is_new`) or a resumed one."""
        ...


class WrongCountError(AdapterError):
    """Discord does not serve that many shards any more."""


class Shard:
    """Receives a shard's events while it runs; knows the servers and channels that the gateway named last."""

    def __init__(self, assignment: Assignment, keeper: Keeper, *, root: str, position: Position | None) -> None:
        note = assignment.note
        self.assignment = assignment
        self.client: discord.Client = discord.Client(intents=discord.Intents(guilds=True))  # knows no channel
        self.is_connected = False
        self.has_gap = False  # a new session has begun, and what was sent since the last one is not looked for yet
        self.alive_at = note.at  # until when all is dealt with, in seconds since the epoch; 0: not known
        self.noted = note
        fresh = note.position if time.time() - note.at < FRESH_S else None
        self.position = position or fresh  # what was handed over
        self.settled = self.position  # what was dealt with
        self._keeper = keeper
        self._root = root
        self._start: Start | None = None
        self._is_closing = False
        self._is_usable = False  # the client, as long as its intents are right
        self._is_live = False  # dispatches arrive
        self._is_told = True  # the keeper knows of the session
        self._undescribed: set[str] = set()  # servers that the session began with and has not described yet
        self._lost_at: float | None = None  # seconds of time.monotonic()

    async def run(self) -> None:
        """Stay connected until cancelled; the connection stays open then, for `close`.

        Raises:
            AdapterError: Discord does not let the bot in, or (WrongCountError) not that shard.
        """
        failures = 0
        while True:
            began_at = time.monotonic()
            try:
                ended_well = await self._connect()
            except Exception as error:  # noqa: BLE001  (isolates a connection from the next)
                ended_well = self._outlive(error)
            failures = 0 if time.monotonic() - began_at > MAX_BACKOFF_S else failures + 1
            if not ended_well or failures > 1:
                await asyncio.sleep(self._keeper.watch.backoff.wait_s(max(1, failures)))

    def settle(self) -> None:
        """Note that all that was handed over is dealt with, unless something is missing from before the session."""
        if self.is_connected and not self.has_gap:
            self.settled, self.alive_at = self.position, time.time()

    @property
    def note(self) -> Note:
        """What the next holder of the shard is to know."""
        return Note(position=self.settled, at=self.alive_at)

    async def close(self, *, is_resumable: bool) -> None:
        """Hang up; nothing is handled from now on."""
        self._is_closing = True
        self.is_connected = False
        await hang_up(self.client, is_resumable=is_resumable)

    # --- one connection ---

    async def _connect(self) -> bool:
        """Be connected once; return whether the connection ended without a failure. Raises AdapterError and more."""
        if not self._keeper.is_held():
            raise AdapterError(NOT_HELD)
        await self._open_client()
        self._give_up_old()
        try:
            if self.position is None:
                self._start = await self._keeper.starts.wait(self._root, self.assignment.number)
            may_resume = await converse(self.client, self.position)
        finally:
            self._note_lost()
            await self._end_start()
        if not may_resume:
            self.position = None
            # https://docs.discord.com/developers/events/gateway#resuming: a random pause
            await asyncio.sleep(self._keeper.watch.identify_pause_s * random.uniform(0.2, 1.0))  # noqa: S311  (no secret)
        return True

    async def _open_client(self) -> None:
        if self._is_usable:
            return
        await hang_up(self.client, is_resumable=False)
        self.client = _make_client(self, self._keeper)
        self._take_events()
        async with self._keeper.logins:
            await self.client.login(self._keeper.token)
        self._is_usable = True

    def _give_up_old(self) -> None:
        lost_at = self._lost_at
        if lost_at is not None and time.monotonic() - lost_at > self._keeper.watch.give_up_s:
            self.position = None

    async def before_identify(self) -> None:
        """Let the next shard start: the library sends IDENTIFY next."""
        if self._start is None:
            raise AdapterError(NOT_HELD)
        await self._start.use()
        self._start = None

    async def _end_start(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            await start.end()

    def note_ready(self) -> None:
        """Note that the gateway has described the servers of a new session, or takes too long to."""
        if self._is_live and not self._is_told:
            self._note_connected()

    def note_resumed(self) -> None:
        """Note that the session goes on."""
        self._is_live = True
        self._note_connected()

    def _note_connected(self) -> None:
        if not self._is_closing:
            is_new, self._is_told = not self._is_told, True
            self.is_connected, self._lost_at = True, None
            self._keeper.note_connected(self, is_new=is_new)

    def _note_lost(self) -> None:
        self.is_connected = self._is_live = False
        self._lost_at = self._lost_at or time.monotonic()

    def _outlive(self, error: Exception) -> bool:
        """Log a failure, or raise what trying again cannot help; return whether to try again at once."""
        if is_login_refused(error):
            raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
        code = error.code if isinstance(error, discord.ConnectionClosed) else 0
        if code in (INVALID_SHARD, SHARDING_REQUIRED):
            count = self.assignment.count
            raise WrongCountError(
                f"Discord refuses to serve {count} shard{'' if count == 1 else 's'} (close code {code})."
            ) from None
        if code == DISALLOWED_INTENTS:
            self._do_without_content()
            return True
        if not isinstance(error, LOSSES):  # a frame that cannot be read would come again
            self._is_usable, self.position = False, None
        log.warning("discord_connection_lost", shard=self.assignment.number, error=reason_of(error))
        return False

    def _do_without_content(self) -> None:
        if self._keeper.reads_content:
            self._keeper.reads_content = False
            log.warning("discord_without_message_content", hint=WITHOUT_CONTENT)
        self._is_usable, self.position = False, None

    # --- dispatches ---

    def _take_events(self) -> None:
        """Hand the dispatches in TAKEN to the keeper instead of the library; isolate them from malformed ones."""
        parsers = event_parsers(self.client)
        for name, parse in list(parsers.items()):
            parsers[name] = self._guarded(name, self._taking(name) if name in TAKEN else parse)

    def _taking(self, name: str) -> Callable[[Any], None]:
        def take(data: Any) -> None:
            self._keeper.handle(name, data)

        return take

    def _guarded(self, name: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(data: Any) -> None:
            # Once others may have taken the shard, nothing of this connection counts: it is resumed from `position`.
            self._is_closing = self._is_closing or not self._keeper.is_held()
            if self._is_closing:
                return
            if name == "READY":
                self._begin(data)
            elif not self.has_gap and not self._keeper.is_behind():
                self.settled = self.position
            try:
                parse(data)
            except Exception:  # isolates one event from the next: the library would end the connection
                log.exception("discord_event_malformed", dispatch=name)
            self.position = position_of(self.client)
            if name in DESCRIBING:
                self._note_described(data)

        return guarded

    def _begin(self, ready: Any) -> None:
        """https://docs.discord.com/developers/events/gateway-events#ready: it lists the servers, described later."""
        self.has_gap = self._is_live = True
        self._is_told = False
        servers = list_of(dict_of(ready).get("guilds"), at_most=MAX_SERVERS)
        self._undescribed = {str(dict_of(server).get("id")) for server in servers}

    def _note_described(self, data: Any) -> None:
        """The library waits two seconds for more after each description; nobody has to wait for that."""
        self._undescribed.discard(str(dict_of(data).get("id")))
        if not self._undescribed:
            self.note_ready()


class _Client(discord.Client):
    """Reports to its shard."""

    shard: Shard

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        await self.shard.before_identify()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        if not self.is_closed():  # after that, no loop runs what the library still dispatches
            super().dispatch(event, *args, **kwargs)

    async def on_ready(self) -> None:
        self.shard.note_ready()

    async def on_resumed(self) -> None:
        self.shard.note_resumed()


def _make_client(shard: Shard, keeper: Keeper) -> discord.Client:
    watch = keeper.watch
    intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=keeper.reads_content)
    client = _Client(
        intents=intents,
        max_messages=None,  # the bot keeps its own history
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        guild_ready_timeout=watch.guild_ready_s,
        heartbeat_timeout=watch.heartbeat_timeout_s,
        allowed_mentions=discord.AllowedMentions.none(),
        shard_id=shard.assignment.number,
        shard_count=shard.assignment.count,
    )
    client.shard = shard
    return client
