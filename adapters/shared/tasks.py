"""Work that an adapter does beside receiving: owned, kept apart, in order where order counts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog

from bot.domain.errors import BotError

log = structlog.stdlib.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Background:
    """Tasks that belong to one owner, who ends them with `drain`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Do the work beside what goes on; whatever goes wrong stays with it, in the log."""
        task = asyncio.create_task(self._guarded(work, name), name=f"{self._name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, *, timeout_s: float) -> None:
        """Give what is under way so long, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except BotError as error:
            log.warning("task_failed", owner=self._name, task=name, error=str(error))
        except Exception:  # one press or one message from the next
            log.exception("task_failed", owner=self._name, task=name)


class Queues(Generic[K]):
    """Lets one at a time through for each key, in the order in which they came."""

    def __init__(self) -> None:
        self._locks: dict[K, asyncio.Lock] = {}
        self._waiting: dict[K, int] = {}

    @asynccontextmanager
    async def turn(self, key: K) -> AsyncGenerator[None]:
        """Wait for the turn of whoever enters."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]


class Recent(Generic[K, V]):
    """A dictionary that keeps the newest entries alone."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return what was put under the key, if that is still kept."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep the value, and forget the oldest where there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Return the value and forget it."""
        return self._entries.pop(key, None)
