"""The bell: tells the loops of this process at once that there is something for them, which they would find later."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

from bot.ports.cluster_store import Topic


@dataclass(frozen=True, slots=True)
class Bell:
    """Rung by intake, turns and other processes, heard by the runner and the ask desk."""

    work: asyncio.Event = field(default_factory=asyncio.Event)  # a turn may be claimed
    asks: asyncio.Event = field(default_factory=asyncio.Event)  # something is asked of people, or was decided
    signals: asyncio.Event = field(default_factory=asyncio.Event)  # something was asked of a running turn
    stops: deque[int] = field(default_factory=deque[int])  # turns to stop, which need not be read from the store

    def ring_for_work(self) -> None:
        """Have the runner look for turns."""
        self.work.set()

    def ring_for_asks(self) -> None:
        """Have the ask desk look for what is asked, and for what was decided."""
        self.asks.set()

    def ring_for_stop(self, turn_id: int) -> None:
        """Have the runner stop the turn, if it runs here, and look for turns that were woken to stop."""
        self.stops.append(turn_id)
        self.signals.set()
        self.work.set()

    def hear(self, topic: Topic) -> None:
        """Ring for what another process may have committed."""
        match topic:
            case "work":
                self.work.set()
            case "signals":
                self.signals.set()
            case "asks":
                self.asks.set()
            case _:
                assert_never(topic)


async def heard(event: asyncio.Event, *, within_s: float) -> None:
    """Wait for the ring, at most so long, and be ready for the next one."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
