"""The stores that the contract tests run on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bot.ports.store import Store
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.store import open_sqlite
from tests.contracts.stores import HERE, LEASE_S, THERE, Clock, OpenStore
from tests.fakes import postgres


@pytest.fixture
def clock() -> Clock:
    return Clock()


INSTALLED = postgres.installed()
SERVERS = {
    "postgres": postgres.server,
    **({f"postgres-{INSTALLED.parent.name}": postgres.installed_server} if INSTALLED else {}),
}


SMALL = ("test_store_cluster", "test_store_budgets", "test_saved_files")  # run on all servers


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the largest suite to one PostgreSQL server: the installed one differs from it in its version alone."""
    left = [item for item in items if f"[postgres-{INSTALLED and INSTALLED.parent.name}" in item.name]
    left = [item for item in left if item.path.stem not in SMALL]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


@pytest.fixture(params=["sqlite", *SERVERS])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> OpenStore:
    """Opens the one database of this test; opened twice it is as two processes see it."""

    if request.param == "sqlite":
        return lambda: open_sqlite(tmp_path / "store.db", now=clock, steady=clock.steady)
    options = PostgresOptions(schema=postgres.new_schema())
    url = SERVERS[request.param]().url
    return lambda: open_postgres(url, options, now=clock, steady=clock.steady)


@pytest.fixture
async def store(opened: OpenStore) -> AsyncGenerator[Store]:
    """A store in which two workers are alive."""
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        await store.heartbeat(THERE, lease_s=LEASE_S)
        yield store
