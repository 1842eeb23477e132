"""The store that a database URL names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bot.domain.errors import SettingsError, StoreError
from bot.stores.factory import open_store
from bot.stores.postgres.options import PostgresOptions
from tests.fakes import postgres


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


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_postgresql_url_names_a_database_with_libpqs_parameters(scheme: str) -> None:
    options = PostgresOptions(schema=postgres.new_schema())
    port = postgres.server().port
    async with open_store(f"{scheme}:///postgres?host=127.0.0.1&port={port}&user=postgres", options) as store:
        await store.put_note("a", "b")
        assert await store.notes("a") == {"a": "b"}


def test_a_driver_that_is_not_installed_is_an_error_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bot.stores.postgres.store", None)  # as if its imports failed
    with pytest.raises(SettingsError, match=r"PostgreSQL.*pip install '\.\[postgres\]'") as caught:
        open_store("postgres://u:secret@db/toolbridge")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", r"cannot be reached.*Connection refused.*DATABASE_URL"),
        ("postgresql://u:secret@127.0.0.1/db?what=that", r"DATABASE_URL is no address.*postgresql://user@host"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_an_error_at_once_without_the_password(url: str, said: str) -> None:
    with pytest.raises((StoreError, SettingsError), match=said) as caught:
        async with open_store(url):
            pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "toolbridge.db", "sqlite:toolbridge.db", "sqlite://a.db", "sqlite:///", "mysql:///a"]
)
def test_any_other_url_is_an_error_that_shows_how_one_looks(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL must look like sqlite:///path/to/file\.db"):
        open_store(url)
