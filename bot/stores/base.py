"""What the units of all ports run on."""

from __future__ import annotations

from collections.abc import Callable

from bot.stores.db import Engine
from bot.stores.leases import LeaseClock


class Units:
    """An engine, and the clocks; `now` gives seconds since the epoch."""

    def __init__(self, engine: Engine, now: Callable[[], float], *, leases: LeaseClock) -> None:
        self.engine = engine
        self._now = now
        self._leases = leases
