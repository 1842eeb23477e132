"""The store that a database URL names."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psycopg
import pytest

from bot.domain.errors import SettingsError, StoreError, StoreUnreachableError
from bot.stores.factory import open_store, signed_in
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.refusals import unreachable
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


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("sslmod=require", r"DATABASE_URL has a parameter that PostgreSQL does not know; sslmode may be meant"),
        ("frobnicate=secret-pw", r"DATABASE_URL has a parameter that PostgreSQL does not know"),
        ("password=secret-pw&x", r"DATABASE_URL has a parameter without a value"),
        ("sslmode=requir", r"DATABASE_URL cannot be used \(invalid sslmode value: \"requir\"\)"),
        ("target_session_attrs=primry", r"DATABASE_URL cannot be used \(invalid target_session_attrs value"),
        ("connect_timeout=abc", r"DATABASE_URL cannot be used \(bad value for connect_timeout"),
        ("keepalives_idle=abc", r"DATABASE_URL cannot be used \(.*invalid integer value"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named_and_not_waited_for(parameters: str, said: str) -> None:
    url = postgres.server().url.replace("postgres@", "postgres:secret-pw@")
    with pytest.raises(SettingsError, match=said) as caught:
        async with open_store(f"{url}?{parameters}"):
            pass
    assert "secret-pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ('password authentication failed for user "bot"', "Correct its user or password"),
        ("fe_sendauth: no password supplied", "Correct its user or password"),
        ('database "toolbridge" does not exist', "Make it, as docs/scale.md shows"),
        ('role "bot" does not exist', "Make it, as docs/scale.md shows"),
        ('permission denied for database "d"', "GRANT CONNECT, CREATE ON DATABASE"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "bot", database "d", no encryption', "pg_hba.conf"),
        ("SSL error: certificate verify failed", "sslrootcert"),
        ('root certificate file "/nowhere.pem" does not exist', "sslrootcert"),
        ('server certificate for "db" does not match host name "10.0.0.1"', "by the name in its certificate"),
        ("server does not support SSL, but SSL was required", "Switch TLS on in PostgreSQL"),
    ],
)
def test_a_server_that_refuses_the_bot_is_told_from_one_that_is_down_with_the_cure(said: str, cure: str) -> None:
    refusal = f'connection to server at "10.0.0.9", port 5432 failed: {"" if "SSL" in said else "FATAL:  "}{said}'
    error = unreachable(psycopg.OperationalError(f"connection failed: {refusal}"))
    assert type(error) is StoreError
    assert str(error).startswith("The database does not let the bot in (") and said in str(error)
    assert cure in str(error)
    assert "Start PostgreSQL" not in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "sorry, too many clients already",
        "remaining connection slots are reserved for non-replication superuser connections",
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'too many connections for role "bot"',
        'too many connections for database "d"',
    ],
)
def test_a_server_without_room_is_waited_for_and_the_cure_says_how_to_make_some(said: str) -> None:
    error = unreachable(psycopg.OperationalError(f"connection failed: connection to server failed: FATAL:  {said}"))
    assert type(error) is StoreUnreachableError
    assert "raise max_connections" in str(error) and "DATABASE_POOL_MAX" in str(error)


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
