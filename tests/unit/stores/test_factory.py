"""The store that a database URL names."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bot.domain.errors import SettingsError, StoreError
from bot.stores.factory import open_store, signed_in
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


async def test_a_postgresql_url_names_a_database_in_which_a_schema_is_made() -> None:
    options = PostgresOptions(schema=postgres.new_schema(), name="toolbridge blue")
    async with open_store(postgres.server().url, options) as store:
        await store.put_note("a", "b")
        names = postgres.server().run("SELECT DISTINCT application_name FROM pg_stat_activity")
    assert postgres.server().run(f"SELECT name FROM {options.schema}.note") == [("a",)]
    assert ("toolbridge blue",) in names


async def test_without_its_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bot.stores.postgres.store", None)
    with pytest.raises(SettingsError, match=r"pip install 'toolbridge\[postgres\]'") as caught:
        async with open_store("postgres://u:secret@db/toolbridge"):
            pass
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_down_or_refuses_is_an_error_at_once_that_says_what_to_do() -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"reached.*efused.*Start PostgreSQL, or correct DATABASE_URL") as caught:
        async with open_store("postgresql://u:secret-pw@127.0.0.1:1/toolbridge"):
            pass
    assert "secret-pw" not in str(caught.value)
    assert time.monotonic() - began < 10


def test_with_tokens_the_way_is_encrypted_and_no_password_is_set_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    def url_of(url: str) -> str:
        with signed_in(url, PostgresOptions(), "entra") as (with_tls, options):
            assert options.password is not None
        return with_tls

    assert url_of("postgresql://bot@db.example.com/d") == "postgresql://bot@db.example.com/d?sslmode=require"
    assert url_of("postgresql://bot@db/d?application_name=x").endswith("?application_name=x&sslmode=require")
    assert url_of("postgresql://bot@db/d?sslmode=verify-full") == "postgresql://bot@db/d?sslmode=verify-full"
    assert url_of("postgresql://bot@127.0.0.1/d") == "postgresql://bot@127.0.0.1/d"
    with pytest.raises(SettingsError, match="has a password"):
        url_of("postgresql://bot:secret@db/d")


@pytest.mark.parametrize(
    "url", ["", "toolbridge.db", "sqlite:toolbridge.db", "sqlite://a.db", "sqlite:///", "mysql:///a"]
)
def test_any_other_url_is_an_error_that_shows_how_one_looks(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL must look like sqlite:///path/to/file\.db or postgresql"):
        open_store(url)
