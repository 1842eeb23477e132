"""The bell: tells the loops of this process at once that there is something for them, which they would find later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bell:
    """Rung by intake, heard by the runner."""

    work: asyncio.Event = field(default_factory=asyncio.Event)  # a turn may be claimed
    signals: asyncio.Event = field(default_factory=asyncio.Event)  # something was asked of a running turn

    def ring_for_work(self) -> None:
        """Have the runner look for turns."""
        self.work.set()

    def ring_for_signals(self) -> None:
        """Have the runner read its signals, and look for turns that were woken."""
        self.signals.set()
        self.work.set()


async def heard(event: asyncio.Event, *, within_s: float) -> None:
    """Wait for the ring, at most so long, and be ready for the next one."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
