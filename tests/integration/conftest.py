"""What many of these tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty database of SQLite."""
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        yield store
