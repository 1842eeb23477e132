"""Which leases have run out, by a wall clock that may be set while their holders live."""

from __future__ import annotations

from collections.abc import Callable

MAX_LEASE_S = 60.0
JUMP_S = 1.0  # from one look to the next; clocks that are slewed drift by far less


class LeaseClock:
    """Reads a wall clock (`now`, seconds since the epoch) and notices when it is set, by one that never is (`steady`).

    Leases are shared by processes and outlive them, so they need the wall clock.
    """

    def __init__(self, now: Callable[[], float], steady: Callable[[], float]) -> None:
        self._now = now
        self._steady = steady
        self._offset = now() - steady()
        self._grace_s = MAX_LEASE_S
        self._trusted_from = steady()

    def end_of(self, lease_s: float) -> float:
        """Return when a lease ends that is renewed now."""
        self._grace_s = lease_s
        return self._now() + lease_s

    def latest_end(self) -> float:
        """Return the latest time at which a lease can end; one that ends later was given before the clock went back."""
        return self._now() + MAX_LEASE_S

    def cutoff(self) -> float:
        """Return up to when leases have run out: after a jump forwards, none has until all could be renewed."""
        now, steady = self._now(), self._steady()
        if now - steady - self._offset > JUMP_S:
            self._trusted_from = steady + self._grace_s
        self._offset = now - steady
        return now if steady >= self._trusted_from else 0.0
