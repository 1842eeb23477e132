"""A database that is away when the process starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import pytest

from bot.domain.errors import StoreError, StoreUnreachableError
from bot.ports.store import Store
from bot.stores.reaching import open_when_reached

STORE = cast("Store", object())


def opener(*failures: StoreError) -> Callable[[], AbstractAsyncContextManager[Store]]:
    """Return what opens a store, which fails in these ways before."""
    ahead = list(failures)

    @asynccontextmanager
    async def open_store() -> AsyncGenerator[Store]:
        if ahead:
            raise ahead.pop(0)
        yield STORE

    return open_store


async def test_it_is_waited_for_and_the_reason_is_told_now_and_then() -> None:
    told: list[str] = []
    away = [StoreUnreachableError(f"away {number}") for number in range(5)]
    waiting = open_when_reached(opener(*away), lambda error: told.append(str(error)), try_s=0.001, tell_s=60)
    async with waiting as store:
        assert store is STORE
    assert told == ["away 0"]


async def test_one_that_does_not_let_the_bot_in_is_not_waited_for() -> None:
    waiting = open_when_reached(opener(StoreUnreachableError("away"), StoreError("no")), lambda _: None, try_s=0.001)
    with pytest.raises(StoreError, match="no"):
        async with waiting:
            pass
