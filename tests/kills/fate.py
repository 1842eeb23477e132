"""When a life ends: at a point that it reaches by itself, or when it is told to while it runs."""

from __future__ import annotations

import json
import mmap
import os
import signal
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Literal

BEFORE_COMMIT = "commit: before, held"
IN_COMMIT = "commit: in its middle"
COMMITTED = "commit: after, not told"
# The one pause that no bot can make good is that between its last look at its own lease and the post itself.
LAST_LOOKS = ("post: before", "about to post again: after", "ask: before it is shown")
OVER, BROKEN = 0, 1  # exit codes of lives
LEFT = 3  # of one that was told to end, and may have left something
_ORDER_BYTES = 4096

How = Literal["kill", "pause", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a life ends by its own hand: at a point, or after so many points of any name."""

    point: str = ""
    nth: int = 0
    total: int = 0
    at_s: float = 0.0  # from outside, so long after the start
    how: How = "kill"  # a pause stops it, as a debugger or a laptop's lid does; who leaves is told to, by SIGTERM
    seat: int = 0  # whose life it is, where there are several at once
    rest_s: float = 0.0  # from there to the next life at that seat, or to its waking up


class Orders:
    """A page that the processes of a herd share: whoever starts them tells one that runs when it is to die."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _ORDER_BYTES)  # shared with all that are forked from here on

    def give(self, death: Death) -> None:
        """Tell the process at the death's seat; its points are counted from here on."""
        text = json.dumps(asdict(death)).encode()
        self._page[1 : len(text) + 2] = text + b"\0"
        self._page[0:1] = bytes([death.seat + 1])  # last, for from now on it is read

    def take(self, seat: int) -> Death | None:
        """Return what the process at this seat is told now, once."""
        if self._page[0] != seat + 1:
            return None
        text = self._page[1 : self._page.find(b"\0", 1)]
        self.withdraw()
        return Death(**json.loads(text))

    def withdraw(self) -> None:
        """Tell nobody anything any more."""
        self._page[0:1] = b"\0"


@dataclass(slots=True)
class Fate:
    """Counts the points that are reached, in whichever thread, and kills the process at the one that it is told."""

    death: Death
    seat: int = 0
    orders: Orders | None = None
    no_pause_at: tuple[str, ...] = ()  # beginnings of the names of points at which a pause comes at the next point
    reached: Counter[str] = field(default_factory=Counter[str])
    total: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def is_next(self, point: str) -> bool:
        """Tell whether the process dies when it reaches this point now."""
        is_there = point == self.death.point and self.reached[point] + 1 >= self.death.nth > 0
        return is_there or self.total + 1 >= self.death.total > 0

    def reach(self, point: str) -> None:
        with self._lock:
            self._obey()
            is_spared = self.death.how == "pause" and point.startswith(self.no_pause_at)
            dies = self.is_next(point) and not is_spared
            self.reached[point] += 1
            self.total += 1
            how = self.death.how
            if dies:
                self.death = Death()
        if dies:
            os.kill(os.getpid(), signal.SIGSTOP if how == "pause" else signal.SIGKILL)

    def _obey(self) -> None:
        order = self.orders.take(self.seat) if self.orders else None
        if order is not None:
            self.reached.clear()
            self.total = 0
            self.death = order
