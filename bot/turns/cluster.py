"""This process among those that share its database, as its adapters see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Any, TypeVar

import structlog

from bot.domain.errors import StoreError
from bot.ports.cluster import Member, Slot
from bot.ports.cluster_store import ClusterStore
from bot.ports.tasks import running
from bot.turns.lease import WorkerLease, log_failure

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

LOOK_S = 2.0  # how old what is known of the others may be
STORE_S = 2.0  # for an answer of the store to what a post, or an answer to a person, waits for
REST_S = 5.0  # after a failure of the store, in which the process keeps to its own rates
UNUSED_S = 3_600.0


@dataclass(slots=True)
class _Seen:
    """The others as they were at the last look. Times are seconds of the loop's clock."""

    others: Sequence[Member] | None = None  # None: there was none
    look_at: float = 0.0
    rests_until: float = 0.0
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCluster:
    """See `bot.ports.cluster.Cluster`. Without a lease the process counts as alive for good."""

    store: ClusterStore
    worker: str
    lease: WorkerLease | None = None
    _seen: _Seen = field(default_factory=_Seen, init=False)

    def is_held(self) -> bool:
        return self.lease is None or self.lease.is_held()

    def on_gap(self, after: Callable[[], Awaitable[None]]) -> None:
        if self.lease is not None:
            self.lease.on_gap(after)

    async def members(self, platform: str) -> Sequence[Member]:
        return [
            member
            for member in await self.store.members()
            if member.worker == self.worker or (platform in member.about.platforms and not member.about.is_draining)
        ]

    async def take(self, name: str, *, rest_s: float = 0.0) -> Slot | None:
        return await self.store.take_slot(name, self.worker, rest_s=rest_s)

    async def note(self, slot: Slot, note: str) -> bool:
        return await self.store.note_slot(slot, note)

    async def give(self, slot: Slot) -> None:
        await self.store.give_slot(slot)

    async def slots(self, prefix: str) -> Sequence[Slot]:
        return await self.store.slots(prefix)

    async def has_company(self, platform: str = "") -> bool:
        now = asyncio.get_running_loop().time()
        if self._seen.others is None:
            async with self._seen.looking:  # all wait for the first look; later ones hold up only the caller
                if self._seen.others is None:
                    await self._look(now)
        elif now >= self._seen.look_at:
            await self._look(now)
        return now >= self._seen.rests_until and any(_serves(one, platform) for one in self._seen.others or ())

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        reserving = self.store.reserve(name, calls=calls, period_s=period_s, amount=amount, within_s=within_s)
        return await self._tried(reserving, otherwise=0.0)

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        holding = self.store.hold_back(name, calls=calls, period_s=period_s, for_s=for_s)
        await self._tried(holding, otherwise=None)

    async def pause(self, name: str, *, for_s: float) -> None:
        await self.hold_back(name, calls=1, period_s=1.0, for_s=for_s)  # one that ends later stays

    async def paused_s(self, name: str) -> float:
        told = await self._tried(self.store.announced(name), otherwise=None)
        return told.for_s if told else 0.0

    async def is_first(self, name: str, *, within_s: float, platform: str = "", is_lasting: bool = False) -> bool:
        if not is_lasting and not await self.has_company(platform):
            return True
        telling = self.store.spend(f"said/{digest(name)}", calls=1, period_s=within_s, key=self.worker)
        return await self._tried(telling, otherwise=0.0) == 0.0

    async def _look(self, now: float) -> None:
        self._seen.look_at = now + LOOK_S
        members = await self._tried(self.store.members(), otherwise=self._seen.others or ())
        self._seen.others = [member for member in members if member.worker != self.worker]

    async def _tried(self, asking: Awaitable[T], *, otherwise: T) -> T:
        """Return what the store answers; after a failure it is left alone for a while."""
        try:
            return await bounded(asking)
        except StoreError as error:
            self._seen.rests_until = asyncio.get_running_loop().time() + REST_S
            log.warning("rates_not_shared", error=str(error), for_s=REST_S)
            return otherwise


def forgetting_rates(store: ClusterStore, *, every_s: float = UNUSED_S) -> AbstractAsyncContextManager[None]:
    """Forget what processes counted together and nobody has used for an hour, while the context is open."""
    return running(_forget_rates(store, every_s), name="rates")


async def _forget_rates(store: ClusterStore, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await store.forget_rates(unused_s=UNUSED_S)
        except Exception as error:  # noqa: BLE001  (a loop that ends would let the rows grow)
            log_failure("rates_not_forgotten", error)


async def bounded(asking: Awaitable[T], *, timeout_s: float = STORE_S) -> T:
    """Return what the store answers in time. Raises StoreError; what was asked may still be done later."""
    task = asyncio.ensure_future(asking)
    done, _ = await asyncio.wait([task], timeout=timeout_s)
    if not done:
        task.add_done_callback(_leave)
        raise StoreError(f"The database did not answer within {timeout_s:g} s. Try again in a moment.")
    return task.result()


def _leave(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # retrieved: nobody waits for it any more


def digest(name: str) -> str:
    """Return a short name in which neither words nor addresses can be read."""
    return blake2s(name.encode(errors="replace"), digest_size=12).hexdigest()


def _serves(member: Member, platform: str) -> bool:
    """Return whether it may serve the platform: one that says nothing of itself yet may."""
    return not platform or not member.about.platforms or platform in member.about.platforms
