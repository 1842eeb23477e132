"""Commands on two machines, each with a home of its own, that share a PostgreSQL database."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.fakes import postgres
from tests.scenarios.conftest import Toolbridge

SAVE = 'call toolbridge__save_text_file with {"filename": "a.txt", "content": "MARKERWORD"}'
READ = 'call toolbridge__read_text_file with {"filename": "a.txt"}'


@pytest.fixture
def settings() -> dict[str, str]:
    name = postgres.new_schema()
    postgres.server().run(f"CREATE DATABASE {name}")
    url = postgres.server().url.removesuffix("postgres") + name
    return {"DATABASE_URL": url, "TOOLBRIDGE_SECRET_KEY": Fernet.generate_key().decode()}


async def test_a_file_that_was_saved_at_one_is_read_cleared_and_purged_at_the_other(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    one, other = [machine(tmp_path / name, settings) for name in ("one", "other")]
    assert "Saved a.txt" in (await one.ask(SAVE)).out
    read = await other.ask(READ)
    assert read.code == 0 and "MARKERWORD" in read.out
    purged = await other.run("purge", "--person", f"console:{getpass.getuser()}", "--yes")
    assert purged.code == 0 and "files saved in their direct messages: 1" in purged.out
    assert "Saved a.txt (10 bytes)." in (await one.ask(SAVE)).out
    deleted = await other.run("history", "--delete", "main")
    assert deleted.code == 0 and "1 saved file kept" in deleted.out
    assert "1 saved file deleted." in (await other.ask("/clear files")).out
    stranger = machine(tmp_path / "stranger", settings | {"TOOLBRIDGE_SECRET_KEY": Fernet.generate_key().decode()})
    refused = await stranger.ask(READ)
    assert refused.code == 2 and "TOOLBRIDGE_SECRET_KEY has another key" in refused.err
    assert not [path for path in tmp_path.rglob("*") if path.name in ("workspaces", "conversation.key", "secret-key")]  # noqa: ASYNC240


def machine(home: Path, settings: dict[str, str]) -> Toolbridge:
    home.mkdir()
    return Toolbridge(home=home / "home", folder=home, settings=dict(settings))
