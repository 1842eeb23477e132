"""What the doctor says of a real PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from bot.cli.database_checks import check_server
from bot.cli.doctor import surviving
from bot.database import open_database
from bot.domain.errors import StoreError
from bot.settings import Settings, load_settings
from tests.fakes import postgres
from tests.fakes.pgbouncer import PROGRAM, pgbouncer

PASSWORD = "pw-0f-the-role"


@pytest.fixture
def role() -> Generator[str]:
    """A role of the shared server that has no rights yet."""
    server, name = postgres.server(), f"bot_{postgres.new_schema()}"
    server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    server.run(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def settings_of(home: Path, *, user: str = "postgres", host: str = "127.0.0.1", schema: str = "") -> Settings:
    port = postgres.server().port
    return load_settings(
        env_file=None,
        toolbridge_home=home,
        database_url=f"postgresql://{user}:{PASSWORD}@{host}:{port}/postgres",
        database_schema=schema or postgres.new_schema(),
    )


async def test_it_says_the_version_the_schema_the_connections_and_the_way(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    [line] = await check_server(settings)
    assert line.state == "ok" and line.detail.startswith("PostgreSQL 1")
    assert "no schema yet, which this version brings to" in line.detail
    assert "connections open, up to 6 for a process, not encrypted" in line.detail
    assert line.cure == "fsync is off: a crash of the machine may damage the database. Set it to on."
    async with open_database(settings):
        pass
    [line] = await check_server(settings)
    assert "brings" not in line.detail and ", schema " in line.detail


async def test_the_way_to_another_machine_is_to_be_encrypted_for_certain(tmp_path: Path) -> None:
    port = postgres.server().port
    url = f"postgresql://postgres@db.example:{port}/postgres?hostaddr=127.0.0.1"
    [line] = await check_server(load_settings(env_file=None, toolbridge_home=tmp_path, database_url=url))
    assert "The way to db.example need not be encrypted: add sslmode=require" in line.cure


async def test_on_sqlite_there_is_no_server(tmp_path: Path) -> None:
    assert await check_server(load_settings(env_file=None, toolbridge_home=tmp_path)) == []


async def test_each_right_that_is_missing_is_a_statement_to_run_after_which_it_works(tmp_path: Path, role: str) -> None:
    server, schema = postgres.server(), postgres.new_schema()
    mine, owners = settings_of(tmp_path, user=role, schema=schema), settings_of(tmp_path, schema=schema)
    [line] = await check_server(mine)
    assert (line.state, line.detail) == ("failed", f"the role {role} lacks rights.")
    assert f'run: GRANT CREATE ON DATABASE "postgres" TO "{role}";' in line.cure
    async with open_database(owners):  # another role makes the schema
        pass
    [line] = await check_server(mine)
    assert f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}";' in line.cure
    assert f'GRANT SELECT, INSERT ON "{schema}"."audit" TO "{role}";' in line.cure
    assert f'GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}"."ask", ' in line.cure
    server.run(line.cure.partition("run: ")[2])
    [line] = await check_server(mine)
    assert line.state == "ok"
    async with open_database(mine) as store:
        await store.check()


async def test_where_the_schema_is_to_be_upgraded_its_tables_must_be_the_roles(tmp_path: Path, role: str) -> None:
    server, schema = postgres.server(), postgres.new_schema()
    async with open_database(settings_of(tmp_path, schema=schema)):
        pass
    server.run(
        f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    server.run(f"DELETE FROM {schema}.schema_version; INSERT INTO {schema}.schema_version VALUES (1, 1)")
    [line] = await check_server(settings_of(tmp_path, user=role, schema=schema))
    assert line.state == "failed" and line.cure.endswith(f'run: GRANT "postgres" TO "{role}";')


async def test_what_lowers_commits_and_leaves_no_room_is_said(tmp_path: Path, role: str) -> None:
    postgres.server().run(
        f"ALTER ROLE {role} SET synchronous_commit = off; ALTER ROLE {role} CONNECTION LIMIT 7;"
        f" GRANT CREATE ON DATABASE postgres TO {role}"
    )
    [line] = await check_server(settings_of(tmp_path, user=role))
    assert "synchronous_commit is off: the bot sets it to on for its own commits." in line.cure
    assert "Two processes would not fit" in line.cure and "of 7 connections open" in line.detail


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian's package pgbouncer)")
async def test_a_pooler_wants_the_address_of_postgresql_itself_beside(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.database_url is not None
    itself = postgres.server().url

    def by(url: str, listen: str | None) -> Settings:
        update = {"database_url": url, "database_listen_url": listen}
        return settings.model_copy(update=update)

    with pgbouncer(postgres.server()) as url:
        [_, line] = await check_server(by(url, None))
        assert (line.state, line.detail) == ("failed", "DATABASE_URL leads to a pooler, such as PgBouncer.")
        assert line.cure == "Set DATABASE_LISTEN_URL to the address of PostgreSQL itself."
        [_, line] = await check_server(by(url, url))
        assert (line.state, line.detail[:19]) == ("failed", "DATABASE_LISTEN_URL")
        [line] = await check_server(by(url, itself))
        assert line.state == "ok"
        [_, line] = await check_server(by(url, itself.removesuffix("/postgres") + "/template1"))
        assert line.state == "failed" and line.cure == "Have both lead to the same database."
        with pytest.raises(StoreError, match=r"cannot be reached.*DATABASE_LISTEN_URL"):
            await check_server(by(url, "postgresql://u@127.0.0.1:1/d"))


async def test_a_server_that_is_down_or_refuses_is_a_failure_with_the_cure(tmp_path: Path) -> None:
    down = load_settings(
        env_file=None, toolbridge_home=tmp_path, database_url=f"postgresql://u:{PASSWORD}@127.0.0.1:1/d"
    )
    [line] = await surviving("store", check_server(down))
    assert line.state == "failed" and "Start PostgreSQL, or correct DATABASE_URL" in line.detail
    [line] = await surviving("store", check_server(settings_of(tmp_path, user="nobody_here")))
    assert line.state == "failed" and "nobody_here" in line.detail and "Make it" in line.detail
    assert PASSWORD not in json.dumps([line.detail, line.cure])
