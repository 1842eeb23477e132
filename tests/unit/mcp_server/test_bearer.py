"""The token of the bundled server: which files can be used, which addresses need one, which requests have it."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from mcp_server.bearer import BearerGate, TokenError, is_loopback, read_token

TOKEN = "a" * 15 + "-1"


def file_with(folder: Path, content: bytes, *, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_token_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    assert read_token(file_with(tmp_path, f" {TOKEN}\r\n".encode())) == TOKEN


@pytest.mark.parametrize("content", [b"", b" \n", b"short", b"two words, long enough", "ü".encode() * 20, bytes(20)])
def test_what_is_no_token_is_refused_with_the_cure_and_not_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TokenError, match="openssl rand -hex 32") as refused:
        read_token(file_with(tmp_path, content))
    assert not content.strip() or content.decode("latin-1") not in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(TokenError, match="chmod 600"):
        read_token(file_with(tmp_path, TOKEN.encode(), mode=mode))


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path):
        with pytest.raises(TokenError, match="cannot be read"):
            read_token(file)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.1.5", "localhost.example.org", "tools", "2130706433"])
def test_others_may_reach_any_other_address(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([f"Bearer {TOKEN}"], 200),
        ([f"bearer {TOKEN}"], 200),
        ([], 401),
        ([""], 401),
        (["Bearer "], 401),
        ([f"Bearer {TOKEN}x"], 401),
        ([f"Bearer {TOKEN[:-1]}"], 401),
        ([f"Basic {TOKEN}"], 401),
        ([TOKEN], 401),
        (["Bearer \xff"], 401),
        ([f"Bearer {TOKEN}", "Bearer x"], 401),
    ],
)
async def test_only_a_request_with_the_token_is_passed_on(headers: list[str], status: int) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    scope = {"type": "http", "headers": [(b"authorization", each.encode("latin-1")) for each in headers]}
    await BearerGate(app, TOKEN)(scope, receive, send)
    assert sent[0]["status"] == status
    assert status == 200 or dict(sent[0]["headers"])[b"www-authenticate"].startswith(b"Bearer")
    assert TOKEN not in str(sent)
