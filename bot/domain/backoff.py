"""Exponential backoff: the wait before something that failed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MAX_DOUBLINGS = 30  # keeps the power small; every `max_s` is reached before


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from `first_s` up to `max_s` seconds.

    `jitter` is the share of each wait that is random, so that clients that failed together do not all return together.
    """

    first_s: float
    max_s: float = 60.0
    jitter: float = 0.0

    def wait_s(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row; after none, 0."""
        if failures < 1:
            return 0.0
        wait_s = min(self.first_s * 2 ** min(failures - 1, _MAX_DOUBLINGS), self.max_s)
        return wait_s * (1 - self.jitter * random.random())  # noqa: S311  (spreads load, protects nothing)
