"""The store that a database URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.domain.errors import SettingsError
from bot.stores.factory import open_store


async def test_an_sqlite_url_names_a_file_which_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "home" / "a b.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store.put_note("a", "b")
    async with open_store(f"sqlite:///{path}") as store:
        assert await store.notes("a") == {"a": "b"}
    assert path.is_file()


async def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("sqlite:///a.db"):
        assert (tmp_path / "a.db").is_file()


@pytest.mark.parametrize("url", ["postgresql://db.example.com/toolbridge", "postgres://u:secret@db/toolbridge"])
def test_an_engine_that_this_version_lacks_is_an_error_that_says_what_to_set(url: str) -> None:
    with pytest.raises(SettingsError, match=r"PostgreSQL.*cannot use.*sqlite:///path/to/file\.db") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "toolbridge.db", "sqlite:toolbridge.db", "sqlite://a.db", "sqlite:///", "mysql:///a"]
)
def test_any_other_url_is_an_error_that_shows_how_one_looks(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL must look like sqlite:///path/to/file\.db"):
        open_store(url)
