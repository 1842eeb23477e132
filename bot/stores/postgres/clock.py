"""The database's clock, read without asking it each time: processes on several machines have it in common."""

from __future__ import annotations

import time
from collections.abc import Callable


class DatabaseClock:
    """Gives the seconds since the epoch that the database's clock shows, to about half a round trip.

    Each transaction begins with a reading. It is known to be right by half the time that the reading took; what is
    known better is kept until a reading contradicts it, so that the clock does not tremble.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        # As one value: it is read and written by several threads.
        self._known = (time.time() - steady(), float("inf"))  # seconds ahead of the steady clock, and the error

    def __call__(self) -> float:
        return self._steady() + self._known[0]

    def read(self, shown: float, *, asked_at: float, answered_at: float) -> None:
        """Take in what the database's clock showed between two times of the steady clock."""
        ahead, error = shown - (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
        known_ahead, known_error = self._known
        if error < known_error or abs(ahead - known_ahead) > error + known_error:
            self._known = (ahead, error)
