"""What only one of the bot's processes may do at a time, while the others wait a moment for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from bot.domain.errors import StoreError
from bot.ports.cluster import Cluster, Slot

WAIT_S = 10.0
LOOK_S = 0.1


@asynccontextmanager
async def exclusive(cluster: Cluster, name: str, *, wait_s: float = WAIT_S) -> AsyncGenerator[bool]:
    """Hold the slot of that name within the block; False: another process has held it all the time.

    Within one process it keeps nobody out. Raises StoreError.
    """
    slot = await _taken(cluster, name, wait_s=wait_s)
    try:
        yield slot is not None
    finally:
        if slot is not None:
            with suppress(StoreError):  # it is free when this process ends
                await cluster.give(slot)


async def _taken(cluster: Cluster, name: str, *, wait_s: float) -> Slot | None:
    until = asyncio.get_running_loop().time() + wait_s
    while (slot := await cluster.take(name)) is None and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    return slot
