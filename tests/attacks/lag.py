"""How long one event loop is held in one go, by the work of this process: not by a busy machine."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from bot.cli.footprint import exempt_what_stays

MAX_HOLD_MS = 50.0  # by the data of one person
_TICK_S = 0.005


@contextmanager
def as_served() -> Generator[None]:
    """Spare the garbage collector what is there already, as `toolbridge run` does."""
    exempt_what_stays()
    try:
        yield
    finally:
        gc.unfreeze()


class LoopLag:
    """Within `async with`, a task sleeps for 5 ms again and again; `worst_ms` is the longest that it came late.

    What counts is the smaller of two: how late it came, and the CPU time that this process spent meanwhile, in
    whichever thread: one call of a library in C holds the loop from another thread too. So neither a machine that has
    no time for us counts, nor work elsewhere that leaves the loop alone.
    """

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self.holds_ms: list[float] = []  # those beyond the bound
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="loop-lag")
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        await asyncio.sleep(2 * _TICK_S)  # what was held last is seen
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            due, spent = time.monotonic() + _TICK_S, time.process_time()
            await asyncio.sleep(_TICK_S)
            held_ms = 1000 * min(time.monotonic() - due, time.process_time() - spent)
            self.worst_ms = max(self.worst_ms, held_ms)
            if held_ms > MAX_HOLD_MS:
                self.holds_ms.append(held_ms)
