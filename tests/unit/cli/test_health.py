"""`toolbridge health`: what it says, and that it says it in time."""

from __future__ import annotations

import asyncio
import json
import time
from argparse import Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.cli.health import health
from bot.cli.main import command_parser
from bot.http.listener import open_listener
from bot.observe.health import Health

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path))


def arguments(*more: str) -> Namespace:
    return command_parser().parse_args(["health", *more])


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncGenerator[int]:
    """Something that is not the bot; None: it never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_it_asks_where_the_settings_have_run_listen(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_listener(host, 0) as listener:
        monkeypatch.setenv("HTTP_HOST", host)
        monkeypatch.setenv("HTTP_PORT", str(listener.port))
        capsys.readouterr()  # the listener's own line
        with listener.serve(*Health().routes):
            assert await health(arguments()) == 1
            assert capsys.readouterr().out == "not ready: It is still starting.\n"
            assert await health(arguments("--json")) == 1
            assert json.loads(capsys.readouterr().out)["status"] == "not_ready"


async def test_where_nothing_listens_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(None) as port:
        pass
    monkeypatch.setenv("HTTP_PORT", str(port))
    assert await health(arguments()) == 1
    assert capsys.readouterr().out == (
        f"not ready: Nothing answers on 127.0.0.1:{port} (Connection refused). Start `toolbridge run`, or give this "
        f"command the HTTP_HOST and HTTP_PORT that it has.\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nNot Found",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + b"[" * 60_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_something_else_that_listens_there_is_not_taken_for_the_bot(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(answer) as port:
        monkeypatch.setenv("HTTP_PORT", str(port))
        assert await health(arguments()) == 1
    assert "is not toolbridge" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.7\r\n", b""])
async def test_what_speaks_no_http_there_is_no_answer(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(answer) as port:
        monkeypatch.setenv("HTTP_PORT", str(port))
        assert await health(arguments()) == 1
    assert f"Nothing answers on 127.0.0.1:{port}" in capsys.readouterr().out


async def test_a_host_that_can_be_no_name_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTP_HOST", "bot..internal")
    assert await health(arguments()) == 1
    assert "not ready: Nothing answers on bot..internal:8080 (" in capsys.readouterr().out


async def test_a_process_that_hangs_is_given_up_in_less_than_five_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(None) as port:
        monkeypatch.setenv("HTTP_PORT", str(port))
        begun_at = time.monotonic()
        assert await health(arguments()) == 1
    assert time.monotonic() - begun_at < 5
    assert "did not answer within 3.5 s" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "text"), [("HTTP_PORT", "off"), ("HTTP_PORT", "0"), ("HTTP_PORT", "many")])
async def test_settings_that_name_no_port_are_exit_1_with_what_to_do(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, text)
    assert await health(arguments()) == 1
    assert "HTTP_PORT" in capsys.readouterr().out
