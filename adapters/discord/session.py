"""The connection to Discord's gateway: this process's part of the shards, evened out with the other processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from adapters.discord.api import LOGIN_REFUSED, DiscordApi
from adapters.discord.assignments import Assignments, Seen
from adapters.discord.errors import DiscordRefusedError
from adapters.discord.own_shards import OwnShards
from adapters.discord.private_parts import hide_voice_warnings, use_gateway
from adapters.discord.shards import Handle, Shard, Watch, WrongCountError
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
    """Receives from the gateway while it runs. `shards` knows the servers and channels that the gateway named last."""

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
        self._assignments = Assignments(self._cluster, application="")
        self.shards = OwnShards(self, note_ended=self._note_ended)
        self._seen = Seen()
        self._handle: Handle = lambda _, __: None
        self._is_behind: Callable[[], bool] = lambda: False
        self._begun: set[int] = set()  # shards that were connected once
        self.reconnects = 0  # connections of shards that this process had before
        self._is_refused = False  # Discord does not serve that many shards any more
        self._wake = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None
        hide_voice_warnings()
        self._cluster.on_gap(self.shards.interrupt)

    # --- what is known ---

    @property
    def is_alone(self) -> bool:
        """Whether no other process takes shards."""
        return len(self._seen.processes) < 2

    @property
    def tick_s(self) -> float:
        """How often to note how far things have come, in seconds."""
        return self.watch.look_alone_s if self.is_alone else self.watch.look_s

    # --- what was missed ---

    async def settle(self) -> float:
        """Note that all that arrived is dealt with, also for other processes.

        Returns until when it is so in all shards, in seconds since the epoch; 0 where that is not for this process to
        say. Raises StoreError.
        """
        for shard in self.shards:
            shard.settle()
        if self.is_alone:
            return time.time() if self.shards.are_connected and len(self.shards) == self.shards.count else 0.0
        for shard in list(self.shards):
            await self._note(shard)
        if 0 not in self.shards.numbers:
            return 0.0
        assignments = self._seen.of(self.shards.count)
        others = [assignment.note.at for assignment in assignments if assignment.number not in self.shards.numbers]
        all_at = [*others, *(shard.alive_at for shard in self.shards)]
        return min(all_at) if len(all_at) == self.shards.count else 0.0

    async def _note(self, shard: Shard) -> None:
        note, before = shard.note, shard.noted
        if note.position is None or (note.position == before.position and note.at - before.at < NOTE_EVERY_S):
            return
        shard.noted = note
        if not await self._assignments.note(shard.assignment, note):
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
        self.reconnects += shard.assignment.number in self._begun
        self._begun.add(shard.assignment.number)
        if is_new:
            self.has_gap.set()
        self._note_opened()
        log.info("discord_connected", shard=shard.assignment.number, resumed=not is_new)

    def _note_opened(self) -> None:
        if self.shards.are_connected:
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
        self._assignments = Assignments(self._cluster, application=self._api.identity.application)
        self._failure = asyncio.get_running_loop().create_future()
        evening = asyncio.create_task(self._keep_even(), name="discord:assignments")
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
        is_short = len(self.shards) < self._seen.quota(self._cluster.worker, self.shards.count)
        look_s = self.watch.look_alone_s if self.is_alone and not is_short else self.watch.look_s
        return look_s * random.uniform(0.8, 1.0)  # noqa: S311  (no secret)

    async def _even_out(self) -> None:
        """Take the shards that are missing, or give up those that are too many. Raises StoreError, AdapterError."""
        if not self._cluster.is_held():
            await self.shards.interrupt()
            return
        if self._is_refused:
            await asyncio.gather(*(self._release(shard) for shard in list(self.shards)))
            self._is_refused, self.shards.count = False, 0
            self.starts.forget()
            raise AdapterError(OTHER_COUNT)
        seen = self._seen = await self._assignments.look()
        await self._drop_lost(seen)
        quota = seen.quota(self._cluster.worker, self.shards.count)
        if len(self.shards) > quota:
            await self._give_up(len(self.shards) - quota)
        elif not self.shards.count or len(self.shards) < quota or (seen.count and seen.count != self.shards.count):
            await self._take_more()
        self._note_opened()

    async def _take_more(self) -> None:
        for assignment in await self._assignments.take(self.shards.numbers, self._recommended):
            self._note_count(assignment.count)
            self.shards.start(assignment, root=self._assignments.root)
        seen = self._seen = await self._assignments.look()
        if seen.count:
            self._note_count(seen.count)

    async def _recommended(self) -> int:
        return (await self.starts.allowance()).shards

    def _note_count(self, count: int) -> None:
        if self.shards.count not in (0, count):
            log.warning("discord_shards_changed", before=self.shards.count, now=count)
        self.shards.count = count

    def _note_ended(self, error: BaseException) -> None:
        if isinstance(error, WrongCountError):
            log.warning("discord_shards_refused", error=str(error), hint="Restart all processes of the bot.")
            self._is_refused = True
            self._wake.set()
        elif self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    # --- giving up ---

    async def _give_up(self, too_many: int) -> None:
        """Give up that many shards, unconnected ones first, as long as enough sessions may be begun today."""
        if (await self.starts.allowance()).is_short:
            return
        order = sorted(self.shards, key=lambda shard: (shard.is_connected, -shard.assignment.number))
        await asyncio.gather(*(self._release(shard) for shard in order[:too_many]))

    async def _release(self, shard: Shard) -> None:
        """Give the shard up, so that the next holder can resume its session. Raises StoreError."""
        if not self.is_behind():
            shard.settle()
        await self.shards.stop(shard, is_resumable=True)
        await self._assignments.give(shard.assignment, shard.note if shard.settled else None)
        log.info("discord_shard_given_up", shard=shard.assignment.number)

    async def _drop_lost(self, seen: Seen) -> None:
        """Stop the shards that another process has taken, and free what this one holds and does not run."""
        fences = {(assignment.number, assignment.count): assignment.slot.fence for assignment in seen.assignments}
        for shard in list(self.shards):
            assignment = shard.assignment
            if fences.get((assignment.number, assignment.count)) != assignment.slot.fence:
                await self.shards.stop(shard, is_resumable=True)
        for assignment in seen.assignments:
            is_own = assignment.slot.is_held and assignment.slot.worker == self._cluster.worker
            if is_own and assignment.number not in self.shards.numbers:
                await self._assignments.give(assignment, None)

    async def _leave(self) -> None:
        """Give everything up within a second; a process that is alone ends its sessions."""
        with suppress(TimeoutError, BotError):
            async with asyncio.timeout(LEAVE_S):
                if self.is_alone:
                    await asyncio.gather(*(self._end(shard) for shard in list(self.shards)))
                else:
                    await asyncio.gather(*(self._release(shard) for shard in list(self.shards)))
                await self._assignments.leave()

    async def _end(self, shard: Shard) -> None:
        await self.shards.stop(shard, is_resumable=False)
        await self._assignments.give(shard.assignment, None)


def _log_failure(error: Exception) -> None:
    if isinstance(error, BotError):
        log.warning("discord_shards_not_evened_out", error=str(error))
    else:
        log.exception("discord_shards_not_evened_out", exc_info=error)
