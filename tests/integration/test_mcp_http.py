"""Tool servers over HTTP: they restart, connections break, replicas share the calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.tools.config import ServerConfig, Url
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.processes import QUICK, Wire, Workshop, call, free_port, lines, until, web

ERAS = ["modern", "handshake"]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls.txt"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The file for whose appearance the tools `act` and `look` wait."""
    return tmp_path / "release"


def open_gate(release: Path) -> None:
    release.touch()


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_restarts_during_a_call_and_between_calls_is_reached_again(
    era: str, calls: Path, release: Path
) -> None:
    env = {"CALLS_FILE": str(calls), "RELEASE_FILE": str(release)}
    with Workshop(era, env=env) as workshop:
        async with Toolset([web("shop", workshop.url)], timing=QUICK, offer_wait_s=20) as tools:
            await tools.offer()
            broken = asyncio.create_task(call(tools, "shop__act"))
            await until(lambda: len(lines(calls)) == 1)
            workshop.kill()
            result = await broken
            assert result.outcome == "interrupted" and "may have run" in result.text

            open_gate(release)
            await asyncio.to_thread(workshop.start)
            assert (await call(tools, "shop__act")).outcome == "ok"

            workshop.kill()
            await asyncio.to_thread(workshop.start)
            assert (await call(tools, "shop__act")).outcome == "ok"  # though its session is gone
            assert len(lines(calls)) == 3
        assert [status.state for status in tools.status()] == ["idle"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_broken_connection_costs_only_the_calls_that_were_on_it(era: str, calls: Path, release: Path) -> None:
    env = {"CALLS_FILE": str(calls), "RELEASE_FILE": str(release)}
    with Workshop(era, env=env) as workshop:
        async with (
            Wire(workshop.port).open() as wire,
            Toolset([web("shop", wire.url, repeatable=("look",))], timing=QUICK, offer_wait_s=20) as tools,
        ):
            await tools.offer()
            acting = asyncio.create_task(call(tools, "shop__act"))
            looking = asyncio.create_task(call(tools, "shop__look"))
            await until(lambda: len(lines(calls)) == 2)
            open_gate(release)
            wire.cut()
            assert (await acting).outcome in ("interrupted", "ok")  # the answer may have been faster than the cut
            assert (await looking).outcome == "ok"
            assert (await call(tools, "shop__act")).outcome == "ok"


async def test_replicas_take_turns_and_one_that_dies_leaves_its_calls_to_the_other(calls: Path) -> None:
    env = {"CALLS_FILE": str(calls)}
    with Workshop("modern", env=env) as first, Workshop("handshake", env=env) as second:
        async with Toolset([web("shop", first.url, second.url)], timing=QUICK, offer_wait_s=20) as tools:
            await tools.offer()
            await until(lambda: [status.state for status in tools.status()] == ["ready", "ready"])
            seen = [(await call(tools, "shop__look")).text for _ in range(4)]
            assert sorted(seen) == sorted([f"looked {first.pid}", f"looked {second.pid}"] * 2)

            first.kill()
            results = [await call(tools, "shop__look") for _ in range(4)]
            assert [result.text for result in results] == [f"looked {second.pid}"] * 4
            assert [status.replica for status in tools.status()] == [first.url, second.url]


async def test_a_server_that_is_absent_costs_no_time_and_is_found_when_it_comes() -> None:
    workshop = Workshop("modern")
    async with Toolset([web("shop", workshop.url)], timing=QUICK, offer_wait_s=20) as tools:
        offer = await tools.offer()
        assert offer.tools == () and "no connection" in offer.notes[0]
        assert (await call(tools, "shop__act")).outcome == "unavailable"
        with workshop:
            await until(lambda: tools.status()[0].state == "ready")
            assert (await call(tools, "shop__act")).outcome == "ok"


@asynccontextmanager
async def answering(raw: bytes, heard: list[bytes]) -> AsyncGenerator[int]:
    """Serve the same bytes to every request and keep what was asked; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(raw)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "HTTP 401 Unauthorized"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "HTTP 404 Not Found"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"jsonrpc"', "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "text/html"),
        (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.2/x\r\nContent-Length: 0\r\n\r\n", "Redirect"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "broke"),
        (b"", "broke"),
    ],
    ids=["unauthorized", "not found", "cut short", "a web page", "moved", "not HTTP", "nothing"],
)
async def test_what_is_no_mcp_server_is_said_in_words_without_secrets(raw: bytes, reason: str) -> None:
    heard: list[bytes] = []
    async with answering(raw, heard) as port:
        url = f"http://user:pass-word@127.0.0.1:{port}/mcp?key=secret-key"
        endpoint = Url(url=url, headers={"X-Api-Key": "secret-token"}, label=f"http://127.0.0.1:{port}/mcp")
        config = ServerConfig(name="shop", endpoints=(endpoint,))
        async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
            notes = (await tools.offer()).notes
            (status,) = tools.status()
    shown = f"{notes} {status}"
    assert status.state == "down" and reason in status.detail
    assert b"secret-token" in heard[0]
    assert not any(secret in shown for secret in ("pass-word", "secret-key", "secret-token"))


async def test_a_server_that_accepts_and_never_answers_holds_up_no_other() -> None:
    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    servers = [web("silent", f"http://127.0.0.1:{port}/mcp"), web("absent", f"http://127.0.0.1:{free_port()}/mcp")]
    async with silent, Toolset(servers, timing=QUICK, offer_wait_s=0.5) as tools:
        offer = await tools.offer()
        assert [status.state for status in tools.status()] == ["starting", "down"]
        assert "still starting" in offer.notes[0]
