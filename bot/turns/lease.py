"""The lease of this process: renewed while it lives, and known to have run out where it could not be renewed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from bot.domain.errors import BotError
from bot.ports.work_store import WorkStore

log = structlog.stdlib.get_logger(__name__)

BEATS_A_LEASE = 4  # so often it is renewed: three renewals may fail


class WorkerLease:
    """Renews the lease of `worker`."""

    def __init__(self, store: WorkStore, worker: str, *, lease_s: float) -> None:
        self._store = store
        self._worker = worker
        self._lease_s = lease_s
        self._after_gaps: list[Callable[[], Awaitable[None]]] = []
        self._until = 0.0  # in seconds of a clock that is never set

    def on_gap(self, after: Callable[[], Awaitable[None]]) -> None:
        """Have `after` awaited once the lease is held again after a time in which others may have taken its turns."""
        self._after_gaps.append(after)

    def is_held(self) -> bool:
        """Return whether others must think that this process lives: one that was paused may have lost its turns."""
        return _now() < self._until

    async def renew(self) -> None:
        """Renew the lease. Raises StoreError."""
        asked_at = _now()
        is_known = await self._store.heartbeat(self._worker, lease_s=self._lease_s)
        if not is_known or _now() >= self._until:  # also where the answer came after the end of the lease before
            for after in self._after_gaps:
                await after()
        self._until = asked_at + self._lease_s

    async def keep(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / BEATS_A_LEASE)
            try:
                await self.renew()
            except Exception as error:  # noqa: BLE001  (a loop that ends would leave a process that takes no turns)
                log_failure("renewal_failed", error)


def _now() -> float:
    """Return the seconds of a clock that is never set and, where there is one, also runs while the machine sleeps."""
    return time.monotonic() if _AWAKE is None else time.clock_gettime(_AWAKE)


_AWAKE: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux: the monotonic clock stands still then


def log_failure(event: str, error: Exception) -> None:
    """Log what a loop outlives: on one line where we foresaw it, with its traceback where we did not."""
    if isinstance(error, BotError):
        log.warning(event, error=str(error))
    else:
        log.error(event, exc_info=error)
