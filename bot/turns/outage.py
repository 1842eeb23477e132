"""While the database cannot be reached: what a turn has in its hands is kept until it can be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.domain.backoff import Backoff
from bot.domain.errors import StoreUnreachableError

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

RETRY = Backoff(first_s=0.5, max_s=5.0)


async def outlasting(store: Callable[[bool], Awaitable[T]]) -> T:
    """Return what `store` returns, which is tried again for as long as the database cannot be reached.

    It gets whether it is tried again: it may have been stored before the database was lost.
    """
    failures = 0
    while True:
        try:
            return await store(failures > 0)
        except StoreUnreachableError as error:
            failures += 1
            if failures == 1:
                log.warning("database_unreachable", error=str(error))
        await asyncio.sleep(RETRY.wait_s(failures))
