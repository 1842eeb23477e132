"""The stores that the contract tests run on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from tests.contracts.stores import HERE, LEASE_S, THERE, Clock, OpenStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> OpenStore:
    """Opens the one database of this test; opened twice it is as two processes see it."""

    def open_one() -> AbstractAsyncContextManager[Store]:
        return open_sqlite(tmp_path / "store.db", now=clock, steady=clock.steady)

    return {"sqlite": open_one}[request.param]


@pytest.fixture
async def store(opened: OpenStore) -> AsyncGenerator[Store]:
    """A store in which two workers are alive."""
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        await store.heartbeat(THERE, lease_s=LEASE_S)
        yield store
