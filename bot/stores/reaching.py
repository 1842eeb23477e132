"""A database that cannot be reached when the process starts, and is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from bot.domain.errors import StoreUnreachableError
from bot.ports.store import Store

TRY_S = 2.0
TELL_S = 60.0


@asynccontextmanager
async def open_when_reached(
    open_store: Callable[[], AbstractAsyncContextManager[Store]],
    tell: Callable[[StoreUnreachableError], None],
    *,
    try_s: float = TRY_S,
    tell_s: float = TELL_S,
) -> AsyncGenerator[Store]:
    """Open the store, however long its database cannot be reached; `tell` gets the reason, at once and every `tell_s`.

    Raises:
        StoreError: The database was reached, and cannot be used.
    """
    clock, told_at = asyncio.get_running_loop().time, float("-inf")
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(open_store())
                break
            except StoreUnreachableError as error:
                if clock() - told_at >= tell_s:
                    told_at = clock()
                    tell(error)
            await asyncio.sleep(try_s)
        yield store
