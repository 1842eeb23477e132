"""Tokens of Entra ID as passwords, from an identity endpoint on loopback."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import unquote

import pytest

from mcp_server.connection import LoginError
from mcp_server.entra import entra_passwords
from tests.fakes.openai.raw import Answer, serve_answers

JSON = {"content-type": "application/json"}


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The machine has a managed identity, as App Service gives it one.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
    """
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    return monkeypatch


@pytest.mark.parametrize(
    ("host", "resource"),
    [
        ("x.postgres.database.azure.com", "https://ossrdbms-aad.database.windows.net"),
        ("x.postgres.database.usgovcloudapi.net", "https://ossrdbms-aad.database.usgovcloudapi.net"),
    ],
)
async def test_a_token_for_the_databases_of_the_hosts_cloud_is_the_password(
    identity: pytest.MonkeyPatch, host: str, resource: str
) -> None:
    body = {"access_token": "token", "expires_on": int(time.time() + 9_999), "token_type": "Bearer"}
    async with serve_answers(Answer(headers=JSON, pieces=(json.dumps(body).encode(),))) as endpoint:
        identity.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/identity")
        password = entra_passwords(f"postgresql://bot@{host}/files")
        assert [await asyncio.to_thread(password) for _ in range(2)] == ["token"] * 2
    assert len(endpoint.paths) == 1 and f"resource={resource}" in unquote(endpoint.paths[0])


async def test_an_identity_without_a_token_and_a_missing_package_are_errors(identity: pytest.MonkeyPatch) -> None:
    async with serve_answers(Answer(status=400, headers=JSON, pieces=(b"{}",))) as endpoint:
        identity.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/identity")
        with pytest.raises(LoginError, match="Entra ID gave no token"):
            await asyncio.to_thread(entra_passwords("postgresql://h/files"))
    identity.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(LoginError, match=r"pip install 'toolbridge\[azure\]'"):
        entra_passwords("postgresql://h/files")
