"""Where calls wait: until a bucket allows one more, or until the call before them has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from adapters.shared.buckets import Bucket, Caller, Line, Queue, Rate
from bot.domain.errors import RateLimitError
from bot.ports.giving_up import wait_for

BUSY_S = 5.0  # the pause asked of a caller whose turn did not come


class Gate:
    """One bucket and the callers that wait for it. Belongs to one event loop."""

    def __init__(self, rate: Rate) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(Bucket(rate, self._loop.time()))
        self._admitted: dict[Caller, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_spare(self) -> bool:
        """Whether it can be dropped: a new one would be in the same state."""
        return self._queue.is_idle and self._queue.bucket.is_full(self._loop.time())

    async def passed(self, caller: Caller, deadline: float) -> None:
        """Wait until the caller's call may be made, and count it.

        Raises:
            RateLimitError: It may not be made before `deadline`, in seconds of the loop's clock. Or waiting was given
                up.
        """
        now = self._loop.time()
        if now + (wait_s := self._queue.wait_s(caller, now)) > deadline:
            raise RateLimitError(retry_after_s=wait_s)
        admitted = self._admitted[caller] = self._loop.create_future()
        self._queue.join(caller)
        self._advance()
        try:
            if not admitted.done():
                await wait_for(admitted, timeout_s=deadline - now)
        finally:
            del self._admitted[caller]
            if not admitted.done():
                self._queue.leave(caller)
        if not admitted.done():
            raise RateLimitError(retry_after_s=self._queue.wait_s(caller, self._loop.time()))

    def refuse(self, *, sent_at: float, retry_after_s: float) -> None:
        """Admit no caller for `retry_after_s` seconds; see `Bucket.refuse`."""
        self._queue.bucket.refuse(self._loop.time(), sent_at=sent_at, retry_after_s=retry_after_s)
        self._advance()

    def _advance(self) -> None:
        """Admit those whose turn it is, and come back when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        for caller in self._queue.admit(now):
            self._admitted[caller].set_result(None)
        next_s = self._queue.next_s(now)
        self._timer = None if next_s is None else self._loop.call_later(next_s, self._advance)


class Turnstile:
    """Admits one caller of each key at a time, in the order of `Line`. Belongs to one event loop.

    It is for limits that a library enforces first come, first served: at most one other call is ever ahead there.
    """

    def __init__(self, *, hold_s: float) -> None:
        """A call that takes longer than `hold_s` holds up no other."""
        self._hold_s = hold_s
        self._lines: dict[str, Line] = {}  # by key, where there is a caller
        self._admitted: dict[Caller, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def passed(self, key: str, caller: Caller, *, wait_s: float) -> AsyncGenerator[None]:
        """Run the block when it is the caller's turn.

        Raises:
            RateLimitError: The turn did not come within `wait_s` seconds, or waiting was given up.
        """
        await self._wait(key, caller, wait_s=wait_s)
        loop = asyncio.get_running_loop()
        release = loop.call_later(self._hold_s, self._next, key)
        try:
            yield
        finally:
            if loop.time() < release.when():  # otherwise the timer has admitted the next one, or is about to
                release.cancel()
                self._next(key)

    async def _wait(self, key: str, caller: Caller, *, wait_s: float) -> None:
        if key not in self._lines:
            self._lines[key] = Line()
            return
        line = self._lines[key]
        admitted = self._admitted[caller] = asyncio.get_running_loop().create_future()
        line.join(caller)
        try:
            await wait_for(admitted, timeout_s=wait_s)
        except asyncio.CancelledError:
            if admitted.done():
                self._next(key)
            raise
        finally:
            del self._admitted[caller]
            if not admitted.done():
                line.leave(caller)
        if not admitted.done():
            raise RateLimitError(retry_after_s=BUSY_S)

    def _next(self, key: str) -> None:
        line = self._lines[key]
        if not line:
            del self._lines[key]
            return
        caller = line.head(asyncio.get_running_loop().time())
        line.serve(caller)
        self._admitted[caller].set_result(None)
