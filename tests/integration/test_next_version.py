"""The next version beside this one: the same code with one migration more, which this code does not know."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.stores.factory import open_store
from bot.stores.postgres.options import PostgresOptions
from tests.contracts.stores import ALL, HERE, LEASE_S, ask, finish
from tests.fakes import postgres

HOUSE = Path(__file__).parents[2]
MIGRATION = """-- usable from: 0013
ALTER TABLE turn ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT '';
CREATE TABLE tomorrow (text TEXT NOT NULL);
"""
OPEN = """
import asyncio, sys
from bot.stores.factory import open_store
from bot.stores.postgres.options import PostgresOptions

async def main(url, schema):
    async with open_store(url, PostgresOptions(schema=schema)) as store:
        print(*sorted(await store.notes("of ")))

asyncio.run(main(*sys.argv[1:]))
"""


def next_version(folder: Path) -> Mapping[str, str]:
    """Make the next version in the folder; return the environment in which it runs."""
    shutil.copytree(HOUSE / "bot", folder / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    for migrations in ("bot/stores/migrations", "bot/stores/postgres/migrations"):
        (folder / migrations / "0099_of_tomorrow.sql").write_text(MIGRATION, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{HOUSE}"}


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_this_version_goes_on_and_starts_again_after_the_next_one_has_migrated(
    engine: str, tmp_path: Path
) -> None:
    environment, schema = next_version(tmp_path / "next"), postgres.new_schema()
    url = f"sqlite:///{tmp_path}/a.db" if engine == "sqlite" else postgres.server().url
    options = PostgresOptions(schema=schema)

    def open_with_next() -> str:
        ran = subprocess.run(
            [sys.executable, "-P", "-c", OPEN, url, schema],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not ran.returncode, ran.stderr
        return ran.stdout.strip()

    async with open_store(url, options) as store:
        await store.put_note("of this", "1")
        await store.heartbeat(HERE, lease_s=LEASE_S)
        await ask(store)
        assert open_with_next() == "of this"
        (turn,) = await store.claim(HERE, serves=ALL, limit=1)  # work goes on, on what it does not know
        await finish(store, turn.lease)
    async with open_store(url, options) as store:
        await store.put_note("of this, started again", "1")
        assert (await store.usage()).turns == 1
    assert open_with_next() == "of this of this, started again"
