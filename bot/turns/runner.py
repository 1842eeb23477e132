"""The runner: claims turns for this process, one per conversation at a time, and reads what is asked of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from bot.domain.errors import LeaseLostError, StoreError
from bot.ports.platform import Adapter
from bot.ports.tasks import end_all
from bot.turns.attempt import Attempt
from bot.turns.bell import Bell, heard
from bot.turns.lease import WorkerLease, log_failure
from bot.turns.leaving import tried
from bot.turns.resources import Resources
from bot.turns.summing_up import SummaryWriter
from bot.turns.worker import expire_dead_workers

log = structlog.stdlib.get_logger(__name__)

SWEEP_S = 1.0  # how often turns that other processes left, held up or woke are looked for
SIGNALS_S = 0.5  # how often what other processes ask of running turns is read
RETRY_S = 1.0  # before a failed claim is repeated
HAND_OVER_S = 0.5  # how often a process that ends looks who would take its turns up
LEAVING_S = 0.5  # for a turn to be given back, before it is ended as it is
MAX_EARLY_STOPS = 100


@dataclass(slots=True, kw_only=True)
class Runner:
    """Works on the turns of the conversations that its adapters serve, as the process `worker`."""

    worker: str
    resources: Resources
    adapters: Sequence[Adapter]
    bell: Bell = field(default_factory=Bell)
    lease: WorkerLease | None = None
    _attempts: dict[int, Attempt] = field(default_factory=dict[int, Attempt], init=False)
    _tasks: dict[asyncio.Task[None], Attempt] = field(default_factory=dict[asyncio.Task[None], Attempt], init=False)
    _summing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]], init=False)
    _early_stops: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_EARLY_STOPS), init=False)
    _lease: WorkerLease = field(init=False)
    _summaries: SummaryWriter = field(init=False)
    _claiming: asyncio.Task[None] | None = field(default=None, init=False)
    _has_drained: bool = field(default=False, init=False)
    _may_miss_signals: bool = field(default=False, init=False)  # it is not known what the last look has forgotten

    def __post_init__(self) -> None:
        self._lease = self.lease or WorkerLease(
            self.resources.store, self.worker, lease_s=self.resources.limits.lease_s
        )
        self._lease.on_gap(self._leave_lost_turns)
        self._summaries = SummaryWriter(
            store=self.resources.store,
            model=self.resources.model,
            window=self.resources.window,
            budgets=self.resources.budgets,
        )

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Take turns up while the context is open; at its end running ones get `drain_s`, the rest stays stored.

        Summaries that are being written get `summary_s` more. A cancellation in that time cuts it short. After `drain`
        there is none of this.
        """
        store = self.resources.store
        await self._lease.renew()
        self._claiming = asyncio.create_task(self._take(), name="runner:claims")
        loops = [
            asyncio.create_task(self._lease.keep(), name="runner:lease"),
            asyncio.create_task(self._listen(), name="runner:signals"),
            self._claiming,
        ]
        try:
            yield
        finally:
            try:
                if not self._has_drained:
                    await end_all(loops)
                    await self._wait_for_ends()
            finally:
                await end_all([*loops, *self._tasks, *self._summing])
                await tried("release the worker", store.release(self.worker))

    async def _wait_for_ends(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.resources.limits.drain_s)
        if self._summing:
            await asyncio.wait(self._summing, timeout=self.resources.limits.summary_s)

    # --- the end of the process ---

    async def drain(self) -> None:
        """Take no more turns up, and hand over what others can go on with; return once nothing runs here any more.

        What is seen of an answer, and what no other process would take up, gets `drain_s`. A call that acts is never
        cut. A cancellation ends this at once, for `working` to end the rest.
        """
        self._has_drained = True
        if self._claiming is not None:
            await end_all([self._claiming])
        due_at = asyncio.get_running_loop().time() + self.resources.limits.drain_s
        while True:
            await self._hand_over()
            if not self._tasks:
                break
            if asyncio.get_running_loop().time() >= due_at:
                await self._cut()
            await heard(self.bell.work, within_s=HAND_OVER_S)  # an end rings, and so does what arrived just now
        if self._summing:
            await asyncio.wait(self._summing, timeout=self.resources.limits.summary_s)

    async def _hand_over(self) -> None:
        """Hand over what others can go on with, as far as they are there."""
        heirs = await self._heirs()
        for attempt in self._tasks.values():
            if attempt.adapter.name in heirs:
                attempt.hand_over(is_due=False)
        serves = [adapter.serves for adapter in self.adapters if adapter.name in heirs]
        if serves:
            handed = self.resources.store.hand_over(self.worker, serves=serves, keeps=list(self._attempts))
            await tried("hand the turns over", handed)

    async def _cut(self) -> None:
        """End all but the calls that act."""
        for attempt in self._tasks.values():
            attempt.hand_over(is_due=True)
        await asyncio.wait(self._tasks, timeout=LEAVING_S)
        for task, attempt in self._tasks.items():
            if not attempt.is_acting:
                task.cancel()

    async def _heirs(self) -> Collection[str]:
        """Return the platforms that other processes serve; none where that cannot be known now."""
        try:
            members = await self.resources.store.members()
        except StoreError as error:
            log.warning("members_not_read", error=str(error))
            return ()
        others = (member.about for member in members if member.worker != self.worker)
        return {platform for about in others if not about.is_draining for platform in about.platforms}

    # --- taking turns up ---

    async def _take(self) -> None:
        clock, swept_at, is_sure = asyncio.get_running_loop().time, -SWEEP_S, True
        while True:
            try:
                if not self._lease.is_held():  # what is claimed without a lease is taken over at once
                    await self._lease.renew()
                if clock() - swept_at >= SWEEP_S:  # not at each ring of the bell
                    swept_at = clock()
                    await self._sweep()
                if not is_sure:
                    await self._free_unknown()
                is_sure = False
                for adapter in self.adapters:
                    await self._claim(adapter)
                is_sure = True
            except Exception as error:  # noqa: BLE001  (a loop that ends would leave a process that takes no turns)
                log_failure("claim_failed", error)
                await asyncio.sleep(RETRY_S)
            else:
                await heard(self.bell.work, within_s=SWEEP_S)

    async def _sweep(self) -> None:
        for worker in await expire_dead_workers(self.resources.store):
            log.info("dead_worker_expired", worker=worker)
        await self.resources.store.wake_expired()

    async def _free_unknown(self) -> None:
        """Let turns go that were claimed without an answer: the database may be lost before it can say what it did."""
        serves = [adapter.serves for adapter in self.adapters]
        await self.resources.store.hand_over(self.worker, serves=serves, keeps=list(self._attempts), is_begun=True)

    async def _claim(self, adapter: Adapter) -> None:
        running = sum(attempt.adapter is adapter for attempt in self._attempts.values())
        limits, store = self.resources.limits, self.resources.store
        free = limits.max_running - running
        serves = [adapter.serves]
        for turn in await store.claim(self.worker, serves=serves, limit=free, reserved=limits.reserved):
            attempt = Attempt(turn, adapter=adapter, resources=self.resources, is_alive=self._lease.is_held)
            if turn.lease.turn_id in self._early_stops:
                attempt.stop()
            self._attempts[turn.lease.turn_id] = attempt
            task = asyncio.create_task(self._work(attempt), name=f"turn:{turn.lease.turn_id}")
            self._tasks[task] = attempt
            task.add_done_callback(self._tasks.pop)

    async def _work(self, attempt: Attempt) -> None:
        turn = attempt.turn
        names = {
            "turn": turn.lease.turn_id,
            "conversation": str(turn.event.conversation),
            "actor": str(turn.actor),
        }
        with structlog.contextvars.bound_contextvars(**names), self.resources.enclose(turn):
            try:
                await attempt.run()
            finally:
                del self._attempts[turn.lease.turn_id]
                self.bell.ring_for_work()
                if attempt.has_asked:
                    self.bell.ring_for_asks()
            if attempt.answered is not None:  # a task of its own: it is no part of the turn
                summing = asyncio.create_task(self._summaries.follow(*attempt.answered), name="summary")
                self._summing.add(summing)
                summing.add_done_callback(self._summing.discard)

    # --- what is asked of running turns ---

    async def _listen(self) -> None:
        while True:
            await heard(self.bell.signals, within_s=SIGNALS_S)
            while self.bell.stops:
                if (attempt := self._attempts.get(self.bell.stops.popleft())) is not None:
                    attempt.stop()
            if not self._attempts:
                continue
            try:
                await self._read_signals()
            except Exception as error:  # noqa: BLE001  (as above)
                log_failure("signals_not_read", error)

    async def _read_signals(self) -> None:
        again, self._may_miss_signals = self._may_miss_signals, True
        signals = await self.resources.store.signals(self.worker, again=again)
        self._may_miss_signals = False
        for signal in signals:
            match signal.kind:
                case "stop":
                    log.info("stop_requested", turn=signal.turn_id, by=signal.by)
                    if (attempt := self._attempts.get(signal.turn_id)) is not None:
                        attempt.stop()
                    else:  # its claim is on the way back from the store
                        self._early_stops.append(signal.turn_id)
                case _:
                    assert_never(signal.kind)

    async def _leave_lost_turns(self) -> None:
        """End the work on turns that others have taken over, without waiting for its next step to be refused."""
        for attempt in list(self._attempts.values()):
            try:
                await self.resources.store.check_lease(attempt.turn.lease)
            except LeaseLostError:
                attempt.abort()
