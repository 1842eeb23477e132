"""The gateway sessions that may be begun: one at a time over all processes, and a limited number a day."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, cast

from adapters.discord.api import DiscordApi
from bot.domain.errors import AdapterError
from bot.ports.cluster import Cluster, Slot

USED_UP = "The bot has used up Discord's session starts of today. It tries again by itself."
NOT_HELD = "The lease of this process ran out; it connects again once it is renewed."
KEPT_BACK = 0.1  # of a day's starts: what is left is for shards that have lost their session


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What Discord lets the bot begin: https://docs.discord.com/developers/events/gateway#session-start-limit-object"""

    shards: int = 1  # that Discord recommends
    remaining: int = 1
    total: int = 1
    max_concurrency: int = 1

    @property
    def is_short(self) -> bool:
        """Whether so few are left that none may be put at risk."""
        return self.remaining < KEPT_BACK * self.total


class Starts:
    """Lets one shard at a time begin a session, in step with the other processes.

    Shards of the same remainder by `max_concurrency` share a slot, which is free again 5 s after it was used:
    https://docs.discord.com/developers/events/gateway#sharding-max-concurrency
    """

    def __init__(self, api: DiscordApi, cluster: Cluster, *, rest_s: float) -> None:
        self._api = api
        self._cluster = cluster
        self._rest_s = rest_s
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # within this process
        self._known = Allowance()
        self._known_until = 0.0  # seconds of time.monotonic()

    async def allowance(self) -> Allowance:
        """Return what Discord allows now. Raises AdapterError."""
        if time.monotonic() >= self._known_until:
            self._known = _allowance(await self._api.call("GET", "/gateway/bot"))
            self._known_until = time.monotonic() + self._rest_s
        return self._known

    def forget(self) -> None:
        """Ask Discord again at the next `allowance`: its last answer no longer holds."""
        self._known_until = 0.0

    async def wait(self, root: str, shard: int) -> Start:
        """Wait until the shard may connect to begin a session, and return that start, which the caller ends.

        Raises:
            AdapterError: No more may be begun today, or Discord does not answer.
            StoreError: The other processes are not known.
        """
        key = shard % (await self.allowance()).max_concurrency
        lock = self._locks[key]
        await lock.acquire()
        start = Start(self._cluster, f"{root}/identify/{key}", lock)
        try:
            await start.begin(rest_s=self._rest_s)
            # Discord revokes the token of a bot that begins more sessions than it may in a day.
            if (await self.allowance()).remaining <= 0:
                raise AdapterError(USED_UP)
        except BaseException:
            await start.end()
            raise
        return start


class Start:
    """The start of one session. It holds the slot while the shard connects, so that only IDENTIFY is left to send.

    The others' 5 s count from `use`.
    """

    def __init__(self, cluster: Cluster, name: str, lock: asyncio.Lock) -> None:
        self._cluster = cluster
        self._name = name
        self._lock: asyncio.Lock | None = lock
        self._slot: Slot | None = None

    async def begin(self, *, rest_s: float) -> None:
        """Wait for the slot."""
        while (slot := await self._take(rest_s=rest_s)) is None:  # noqa: ASYNC110  (others wait in other processes)
            await asyncio.sleep(rest_s * random.uniform(0.05, 0.25))  # noqa: S311  (no secret)
        self._slot = slot

    async def use(self) -> None:
        """Free the slot: IDENTIFY is sent now. Raises AdapterError where this process may not send it any more."""
        self._slot = await self._take()
        if self._slot is None or not self._cluster.is_held():
            raise AdapterError(NOT_HELD)
        await self.end()

    async def _take(self, *, rest_s: float = 0.0) -> Slot | None:
        """Take the slot. If it is cancelled, it still learns whether it was taken: nobody else could free it."""
        taking = asyncio.ensure_future(self._cluster.take(self._name, rest_s=rest_s))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._slot = await taking or self._slot
            raise

    async def end(self) -> None:
        """Free the slot, unless that is done."""
        slot, self._slot = self._slot, None
        lock, self._lock = self._lock, None
        try:
            if slot is not None:
                await self._cluster.give(slot)
        finally:
            if lock is not None:
                lock.release()


def _allowance(answer: Any) -> Allowance:
    said = cast("dict[str, Any]", answer)
    limit = cast("dict[str, Any]", said.get("session_start_limit") or {})
    return Allowance(
        shards=max(1, int(said.get("shards", 1))),
        remaining=int(limit.get("remaining", 1)),
        total=int(limit.get("total", 1)),
        max_concurrency=max(1, int(limit.get("max_concurrency", 1))),
    )
