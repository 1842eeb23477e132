"""Keeps to the endpoint's own limits, and shares them fairly: people take turns, however much each has asked.

How many requests run at once has no bound of its own but the places of turns, which are shared likewise (the store's
`claim`); the connections of the client are more than those.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.domain.rota import Rota, Share
from bot.models.common_pace import BURST_SHARE, MINUTE_S, CommonPace
from bot.models.wordings import duration_s
from bot.ports.cluster import Cluster, LoneCluster

_MAX_HOLD_S = 60.0  # of what an endpoint's headers say; later it is asked, and says itself how long to wait
_ROUNDING_S = 0.01
_PLENTY = 200_000  # tokens; more than most requests have


@dataclass(slots=True)
class _Bucket:
    """A rate that a minute refills; it may be overdrawn by one request."""

    per_minute: float
    capacity: float
    level: float
    at: float

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much is there; of more than the capacity, until it is full."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / MINUTE_S)
        self.at = now
        missing = min(amount, self.capacity) - self.level
        return max(0.0, missing * MINUTE_S / self.per_minute)

    def take(self, amount: float) -> None:
        self.level -= amount


@dataclass(slots=True)
class _Told:
    """What the endpoint said is left of a limit until it is reset."""

    left: float
    resets_at: float

    def wait_s(self, amount: float, now: float) -> float:
        return max(0.0, self.resets_at - now) if self.left < amount else 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    on_wait: Callable[[float], None]
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pacer:
    """Admits requests as the limits allow: those that are set, and those that the endpoint's headers tell.

    The limits that are set, and the pauses that the endpoint asks for, hold for all processes of `cluster`, which know
    the endpoint by `name`: the next request here then takes a place among those of all. What headers say is learnt
    by each process from its own answers: the endpoint counts the requests of all of them.
    """

    def __init__(
        self,
        *,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        cluster: Cluster | None = None,
        name: str = "",
    ) -> None:
        self._common = CommonPace(
            cluster or LoneCluster(), name, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute
        )
        self._booking: asyncio.Task[None] | None = None  # of a place among the requests of all
        self._booked_at = 0.0  # when that place begins
        self._limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._buckets: dict[str, _Bucket] = {}
        self._told: dict[str, _Told] = {}
        self._waiting: dict[Share, deque[_Waiter]] = {}
        self._rota = Rota()  # who of them is next
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether a request's size matters: counting a long conversation takes time."""
        told = self._told.get("tokens")
        return self._limits["tokens"] is not None or (told is not None and told.left < _PLENTY)

    async def admit(self, asker: str, *, tokens: int, on_wait: Callable[[float], None], conversation: str = "") -> None:
        """Return when the request may be sent; `on_wait` is called with the seconds that it will at least take.

        Askers take turns, and so do the conversations of each. Large requests count for more: an asker who sends many
        tokens waits for others to send as many.
        """
        await self._common.look()
        if not self._waiting and self._booking is None and not self._common.are_shared:
            wait_s = self._wait_s(tokens)
            if wait_s <= _ROUNDING_S:
                self._take(tokens)
                return
        waiter, share = _Waiter(tokens, on_wait), Share(asker, conversation)
        self._waiting.setdefault(share, deque()).append(waiter)
        self._rota.join(share)
        wait_s = self._serve()
        if not waiter.admitted.done() and wait_s > _ROUNDING_S:
            on_wait(wait_s)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._forget(share, waiter)
            raise

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take note of `x-ratelimit-remaining-*` and `x-ratelimit-reset-*`, where the endpoint sends both."""
        for what in ("requests", "tokens"):
            left, reset = headers.get(f"x-ratelimit-remaining-{what}"), headers.get(f"x-ratelimit-reset-{what}")
            reset_s = duration_s(reset) if reset else None
            if left is not None and left.isdecimal() and len(left) < 12 and reset_s is not None and reset_s >= 0:
                resets_at = asyncio.get_running_loop().time() + min(reset_s, _MAX_HOLD_S)
                self._told[what] = _Told(left=float(left), resets_at=resets_at)

    def settle(self, *, estimated: int, used: int) -> None:
        """Correct the tokens of a request by those that the endpoint counted."""
        if (bucket := self._buckets.get("tokens")) is not None and used:
            bucket.take(used - estimated)
            self._common.owe(used - estimated)

    async def pause(self, pause_s: float) -> None:
        """Tell the other processes of a pause that the endpoint asks for."""
        await self._common.pause(min(pause_s, _MAX_HOLD_S))

    # --- who is next ---

    def _serve(self) -> float:
        """Admit all who can be, in turn; return the seconds until the next one can."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self._booking is not None:
                return max(0.0, self._booked_at - asyncio.get_running_loop().time())
            share = min(self._waiting, key=self._rota.rank)
            waiters = self._waiting[share]
            wait_s = self._wait_s(waiters[0].tokens)
            if wait_s > _ROUNDING_S:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._serve)
                return wait_s
            waiter = waiters.popleft()
            if not waiters:
                del self._waiting[share]
            self._rota.serve(share, cost=max(1, waiter.tokens))
            self._take(waiter.tokens)
            if self._common.are_shared:
                self._booking = asyncio.create_task(self._book(waiter), name="model place")
            else:
                waiter.admitted.set_result(None)
        return 0.0

    async def _book(self, waiter: _Waiter) -> None:
        """Admit it once its place among the requests of all processes begins; then it is the next one's turn."""
        try:
            wait_s = await self._common.reserve(waiter.tokens)
            if wait_s > _ROUNDING_S and not waiter.admitted.done():
                self._booked_at = asyncio.get_running_loop().time() + wait_s
                waiter.on_wait(wait_s)
                await asyncio.wait([waiter.admitted], timeout=wait_s)  # it may wait no longer
        finally:
            if not waiter.admitted.done():
                waiter.admitted.set_result(None)
            self._booking = None
            self._serve()

    def _forget(self, share: Share, waiter: _Waiter) -> None:
        waiters = self._waiting.get(share)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self._rota.leave(share)
            if not waiters:
                del self._waiting[share]
        self._serve()

    # --- what is left ---

    def _wait_s(self, tokens: int) -> float:
        now = asyncio.get_running_loop().time()
        amounts = {"requests": 1, "tokens": tokens}
        waits = [told.wait_s(amounts[what], now) for what, told in self._told.items()]
        waits += [bucket.wait_s(amounts[what], now) for what, bucket in self._open_buckets(now).items()]
        return max(waits, default=0.0)

    def _open_buckets(self, now: float) -> Mapping[str, _Bucket]:
        for what, limit in self._limits.items():
            if limit is not None and what not in self._buckets:
                capacity = max(1.0, limit * BURST_SHARE) if what == "requests" else float(limit)
                self._buckets[what] = _Bucket(per_minute=limit, capacity=capacity, level=capacity, at=now)
        return self._buckets

    def _take(self, tokens: int) -> None:
        for what, amount in (("requests", 1), ("tokens", tokens)):
            if what in self._buckets:
                self._buckets[what].take(amount)
            if what in self._told:
                self._told[what].left -= amount
                if self._told[what].resets_at <= asyncio.get_running_loop().time():
                    del self._told[what]  # out of date: the next answer tells more
