"""The connection to Discord's gateway: this process's share of the shards, evened out with the other processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import chain
from typing import Any

import discord
import structlog

from adapters.discord.api import LOGIN_REFUSED, DiscordApi
from adapters.discord.errors import DiscordRefusedError
from adapters.discord.private_parts import Place, event_parsers, hide_voice_warnings, use_gateway
from adapters.discord.shards import Handle, Shard, Watch, WrongCountError
from adapters.discord.shares import Seen, Share, Shares
from adapters.discord.snowflakes import as_number
from adapters.discord.starts import Starts
from adapters.shared.payloads import Payload
from bot.domain.errors import AdapterError, BotError
from bot.ports.cluster import Cluster, LoneCluster

log = structlog.stdlib.get_logger(__name__)

GATEWAY_URL = "wss://gateway.discord.gg/"
LOGINS_AT_ONCE = 4  # each is two calls
LEAVE_S = 1.0
OTHER_COUNT = "Discord wants another number of shards; the bot asks for it again once no process holds one."
NOTE_EVERY_S = 60.0  # how far a shard has come, even where nothing has happened


class Session:
    """Receives from the gateway while it runs; knows the servers and channels that the gateway named last."""

    def __init__(
        self,
        token: str,
        *,
        api: DiscordApi,
        gateway_url: str,
        wants_content: bool,
        watch: Watch,
        cluster: Cluster | None = None,
    ) -> None:
        self.token = token
        self.watch = watch
        self.reads_content = wants_content
        self._cluster = cluster or LoneCluster()
        self.starts = Starts(api, self._cluster, rest_s=watch.identify_pause_s)
        self.logins = asyncio.Semaphore(LOGINS_AT_ONCE)
        self.opened = asyncio.Event()  # all shards of this process were connected once
        self.has_gap = asyncio.Event()  # something is to be looked for: what was sent since the last session, say
        self._api = api
        self._gateway_url = gateway_url
        self._shares = Shares(self._cluster, application="")
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._places: dict[int, tuple[int, Place]] = {}  # of shards whose slot may be lost: its fence, where to go on
        self._seen = Seen()
        self._count = 0  # of all shards; 0: not known
        self._handle: Handle = lambda _, __: None
        self._is_behind: Callable[[], bool] = lambda: False
        self._is_refused = False  # Discord does not serve that many shards any more
        self._wake = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None
        hide_voice_warnings()
        self._cluster.on_gap(self._let_go)

    # --- what is known ---

    @property
    def is_connected(self) -> bool:
        """Whether everything that happens in this process's shards arrives now."""
        return self._count > 0 and all(shard.is_connected for shard in self._shards.values())

    @property
    def is_alone(self) -> bool:
        """Whether no other process takes shards."""
        return len(self._seen.processes) < 2

    @property
    def tick_s(self) -> float:
        """How often it is to be noted how far things have come, in seconds."""
        return self.watch.look_alone_s if self.is_alone else self.watch.look_s

    def channel(self, channel_id: str) -> Any:
        """Return the channel or thread as the gateway described it; None where it did not."""
        number = as_number(channel_id)
        known = (shard.client.get_channel(number) for shard in self._shards.values())
        return next((channel for channel in known if channel is not None), None)

    def guild(self, guild_id: str) -> discord.Guild | None:
        """Return the server as the gateway described it; None where it did not."""
        shard = self._shard_of(guild_id)
        return shard.client.get_guild(as_number(guild_id)) if shard is not None else None

    def channels(self, shards: Collection[int]) -> list[Any]:
        """Return all channels and open threads of these shards that the gateway named."""
        clients = [self._shards[number].client for number in shards if number in self._shards]
        threads = chain.from_iterable(guild.threads for client in clients for guild in client.guilds)
        return [*chain.from_iterable(client.get_all_channels() for client in clients), *threads]

    def describe(self, guild_id: str, payload: Payload) -> None:
        """Learn of a server that the gateway did not describe, as this process has resumed another's session."""
        shard = self._shard_of(guild_id)
        if shard is not None and shard.is_connected and self.guild(guild_id) is None:
            event_parsers(shard.client)["GUILD_CREATE"](payload)

    def _shard_of(self, guild_id: str) -> Shard | None:
        """https://docs.discord.com/developers/events/gateway#sharding"""
        return self._shards.get((as_number(guild_id) >> 22) % self._count) if self._count else None

    # --- what was missed ---

    def gaps(self) -> dict[int, float]:
        """Return the shards of which something is missing, with the time since when it is; 0 where that is not known.

        In seconds since the epoch.
        """
        return {number: shard.alive_at for number, shard in self._shards.items() if shard.has_gap}

    def has_taken_over(self, shards: Collection[int]) -> bool:
        """Return whether any of these shards was another process's, or this one's before."""
        return any(self._shards[number].share.slot.fence > 1 for number in shards if number in self._shards)

    def close_gaps(self, shards: Collection[int]) -> None:
        """Note that what was missed in these shards was found, unless another session began meanwhile."""
        for number in shards:
            if number in self._shards:
                self._shards[number].has_gap = False

    async def settle(self) -> float:
        """Note that all that arrived is dealt with, also for other processes.

        Returns until when it is so in all shards, in seconds since the epoch; 0 where that is not for this process to
        say. Raises StoreError.
        """
        for shard in self._shards.values():
            shard.settle()
        if self.is_alone:
            return time.time() if self.is_connected and len(self._shards) == self._count else 0.0
        for shard in list(self._shards.values()):
            await self._note(shard)
        if 0 not in self._shards:
            return 0.0
        shares = self._seen.of(self._count)
        others = [share.note.at for share in shares if share.number not in self._shards]
        all_at = [*others, *(shard.alive_at for shard in self._shards.values())]
        return min(all_at) if len(all_at) == self._count else 0.0

    async def _note(self, shard: Shard) -> None:
        note, before = shard.note, shard.noted
        if note.place is None or (note.place == before.place and note.at - before.at < NOTE_EVERY_S):
            return
        shard.noted = note
        if not await self._shares.note(shard.share, note):
            self._wake.set()  # another process holds it

    # --- for the shards ---

    def is_held(self) -> bool:
        """Return whether this process may act for its shards; see `Keeper`."""
        is_held = self._cluster.is_held()
        if not is_held:
            self._wake.set()
        return is_held

    def is_behind(self) -> bool:
        """Return whether something that arrived is not dealt with yet."""
        return self.has_gap.is_set() or self._is_behind()

    def handle(self, name: str, data: Payload) -> None:
        """Take a dispatch; returns at once."""
        self._handle(name, data)

    def note_connected(self, shard: Shard, *, is_new: bool) -> None:
        """Note that the shard is connected, by a new session (`is_new`) or a resumed one."""
        if is_new:
            self.has_gap.set()
        self._note_opened()
        log.info("discord_connected", shard=shard.share.number, resumed=not is_new)

    def _note_opened(self) -> None:
        if self.is_connected:
            self.opened.set()

    # --- running ---

    async def run(self, handle: Handle, *, is_behind: Callable[[], bool] = lambda: False) -> None:
        """Hand each dispatch in TAKEN to `handle` until cancelled; reconnects by itself.

        While `is_behind`, something that was handed over may have to be handed over again after a restart.

        Raises:
            AdapterError: Discord does not let the bot in.
        """
        use_gateway(self._gateway_url)
        self._handle, self._is_behind = handle, is_behind
        self._shares = Shares(self._cluster, application=self._api.identity.application)
        self._failure = asyncio.get_running_loop().create_future()
        evening = asyncio.create_task(self._keep_even(), name="discord:shares")
        try:
            await asyncio.wait([evening, self._failure], return_when=asyncio.FIRST_COMPLETED)
            await (self._failure if self._failure.done() else evening)
        finally:
            evening.cancel()
            await asyncio.gather(evening, return_exceptions=True)
            self._failure.cancel()
            await self._leave()

    async def _keep_even(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self._even_out()
            except Exception as error:  # noqa: BLE001  (isolates a round from the next)
                if isinstance(error, DiscordRefusedError) and error.status == 401:
                    raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
                failures += 1
                _log_failure(error)
                pause_s = self.watch.backoff.wait_s(failures)
            else:
                failures, pause_s = 0, self._pause_s
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    @property
    def _pause_s(self) -> float:
        if not self._cluster.is_held():
            return self.watch.back_off_s
        is_short = len(self._shards) < self._seen.quota(self._cluster.worker, self._count)
        look_s = self.watch.look_alone_s if self.is_alone and not is_short else self.watch.look_s
        return look_s * random.uniform(0.8, 1.0)  # noqa: S311  (no secret)

    async def _even_out(self) -> None:
        """Take or give up what is too little or too much. Raises StoreError, AdapterError."""
        if not self._cluster.is_held():
            await self._let_go()
            return
        if self._is_refused:
            await asyncio.gather(*(self._release(shard) for shard in list(self._shards.values())))
            self._is_refused, self._count = False, 0
            raise AdapterError(OTHER_COUNT)
        seen = self._seen = await self._shares.look()
        await self._drop_lost(seen)
        quota = seen.quota(self._cluster.worker, self._count)
        if len(self._shards) > quota:
            await self._give_up(len(self._shards) - quota)
        elif not self._count or len(self._shards) < quota or (seen.count and seen.count != self._count):
            await self._take_more()
        self._note_opened()

    async def _take_more(self) -> None:
        for share in await self._shares.take(self._shards, self._recommended):
            self._note_count(share.count)
            self._start(share)
        seen = self._seen = await self._shares.look()
        if seen.count:
            self._note_count(seen.count)

    async def _recommended(self) -> int:
        return (await self.starts.allowance()).shards

    def _note_count(self, count: int) -> None:
        if self._count not in (0, count):
            log.warning("discord_shards_changed", before=self._count, now=count)
        self._count = count

    def _start(self, share: Share) -> None:
        fence, place = self._places.pop(share.number, (0, None))
        is_own = share.slot.fence == fence + 1  # nobody else has held it meanwhile
        shard = Shard(share, self, root=self._shares.root, place=place if is_own else None)
        self._shards[share.number] = shard
        task = self._tasks[share.number] = asyncio.create_task(shard.run(), name=f"discord:shard {share.number}")
        task.add_done_callback(self._note_ended)

    def _note_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, WrongCountError):
            log.warning("discord_shards_refused", error=str(error), hint="Restart all processes of the bot.")
            self._is_refused = True
            self._wake.set()
        elif error is not None and self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    # --- giving up ---

    async def _give_up(self, too_many: int) -> None:
        """Give up so many shards, first those that are not connected, while enough sessions may be begun today."""
        if (await self.starts.allowance()).is_short:
            return
        order = sorted(self._shards.values(), key=lambda shard: (shard.is_connected, -shard.share.number))
        await asyncio.gather(*(self._release(shard) for shard in order[:too_many]))

    async def _release(self, shard: Shard) -> None:
        """Give the shard up, so that the next holder can resume its session. Raises StoreError."""
        if not self.is_behind():
            shard.settle()
        await self._stop(shard, is_resumable=True)
        self._shards.pop(shard.share.number, None)
        await self._shares.give(shard.share, shard.note if shard.settled else None)
        log.info("discord_shard_given_up", shard=shard.share.number)

    async def _stop(self, shard: Shard, *, is_resumable: bool) -> None:
        task = self._tasks.pop(shard.share.number, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await shard.close(is_resumable=is_resumable)

    async def _drop_lost(self, seen: Seen) -> None:
        """Stop the shards that another process has taken, and free what this one holds and does not run."""
        fences = {(share.number, share.count): share.slot.fence for share in seen.shares}
        for number, shard in list(self._shards.items()):
            share = shard.share
            if fences.get((share.number, share.count)) != share.slot.fence:
                await self._stop(shard, is_resumable=True)
                del self._shards[number]
        for share in seen.shares:
            is_own = share.slot.is_held and share.slot.worker == self._cluster.worker
            if is_own and share.number not in self._shards:
                await self._shares.give(share, None)

    async def _let_go(self) -> None:
        """Close all connections, as others may have taken the shards; where they have not, this process goes on."""
        shards, self._shards = list(self._shards.values()), {}
        for shard in shards:
            if shard.place is not None:
                self._places[shard.share.number] = (shard.share.slot.fence, shard.place)
        await asyncio.gather(*(self._stop(shard, is_resumable=True) for shard in shards))

    async def _leave(self) -> None:
        """Give everything up within a second; a process that is alone ends its sessions."""
        with suppress(TimeoutError, BotError):
            async with asyncio.timeout(LEAVE_S):
                if self.is_alone:
                    await asyncio.gather(*(self._end(shard) for shard in list(self._shards.values())))
                else:
                    await asyncio.gather(*(self._release(shard) for shard in list(self._shards.values())))
                await self._shares.leave()

    async def _end(self, shard: Shard) -> None:
        await self._stop(shard, is_resumable=False)
        await self._shares.give(shard.share, None)


def _log_failure(error: Exception) -> None:
    if isinstance(error, BotError):
        log.warning("discord_shards_not_evened_out", error=str(error))
    else:
        log.exception("discord_shards_not_evened_out", exc_info=error)
