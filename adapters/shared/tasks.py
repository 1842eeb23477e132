"""Work that an adapter does beside receiving: tasks with an owner, order per key, and memory of recent keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog
from cachetools import LRUCache

from bot.domain.errors import BotError

log = structlog.stdlib.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Background:
    """Tasks that belong to one owner, who ends them with `drain`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether some of the work is not done yet."""
        return bool(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start the work and return its task, which never raises: failures are logged."""
        task = asyncio.create_task(self._guarded(work, name), name=f"{self._name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, *, timeout_s: float) -> None:
        """Wait up to `timeout_s` for the work under way, then cancel what is left of it."""
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
        except Exception:  # isolates one press or message from the next
            log.exception("task_failed", owner=self._name, task=name)


async def run_together(name: str, **parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of one adapter at once until all have ended or one has failed.

    Raises:
        BotError: The first failure of a part; the other parts are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for part, work in parts.items():
                group.create_task(work, name=f"{name}:{part}")
    except* BotError as failures:
        raise failures.exceptions[0] from None


class Newest(Generic[T]):
    """Of the tasks that are added at most `max_tasks`: older ones that have not ended are left, which `leave` hears."""

    def __init__(self, max_tasks: int, leave: Callable[[T], None]) -> None:
        self._max_tasks = max_tasks
        self._leave = leave
        self._tasks: dict[asyncio.Task[None], T] = {}
        self._is_over = False

    def add(self, task: asyncio.Task[None], about: T) -> None:
        """Keep the task while it is among the newest; `about` is what `leave` gets."""
        self._tasks[task] = about
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if len(self._tasks) > self._max_tasks:
            self._leave_oldest()
        else:
            self._is_over = False

    def _leave_oldest(self) -> None:
        oldest = next(iter(self._tasks))
        about = self._tasks.pop(oldest)
        oldest.cancel()
        if not self._is_over:  # once, for as long as it lasts
            log.warning("too_many_kept", most=self._max_tasks, hint="Older ones are looked for in their places later.")
            self._is_over = True
        self._leave(about)


class KeyedLock(Generic[K]):
    """A lock for each key, which is handed on in the order of arrival; different keys do not wait for each other."""

    def __init__(self) -> None:
        self._locks: dict[K, asyncio.Lock] = {}
        self._holders: dict[K, int] = {}  # those that hold it or wait for it

    @asynccontextmanager
    async def hold(self, key: K) -> AsyncGenerator[None]:
        """Hold the key's lock within the block."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._holders[key] = self._holders.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key], self._locks[key]


class RecentKeys(Generic[K]):
    """A set of at most `max_keys`: it forgets those first that were not added again for longest."""

    def __init__(self, max_keys: int) -> None:
        self._keys: LRUCache[K, None] = LRUCache(max_keys)

    def __contains__(self, key: K) -> bool:
        return key in self._keys

    def add(self, key: K) -> bool:
        """Remember the key; return whether it is new."""
        is_new = key not in self._keys
        self._keys[key] = None
        return is_new

    def discard(self, key: K) -> None:
        """Forget the key, if it is there."""
        self._keys.pop(key, None)
