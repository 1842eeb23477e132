"""Tool servers over HTTP: they restart, connections break, replicas share the calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.tools.config import HttpEndpoint, ServerConfig
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.processes import QUICK, Wire, Workshop, call, free_port, lines, until, until_offered, web


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workshops")


@pytest.fixture(scope="module")
def workshops(files: Path) -> Generator[dict[str, Workshop]]:
    """One running server of each era."""
    env = {"CALLS_FILE": str(files / "calls.txt"), "RELEASE_FILE": str(files / "release")}
    with Workshop("modern", env=env) as modern, Workshop("handshake", env=env) as handshake:
        yield {"modern": modern, "handshake": handshake}


@pytest.fixture
def calls(files: Path) -> Path:
    (files / "calls.txt").unlink(missing_ok=True)
    return files / "calls.txt"


class Gate:
    """While it is shut, the tools `act` and `look` wait in the middle of their work."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def shut(self) -> None:
        self._file.unlink(missing_ok=True)

    def open(self) -> None:
        self._file.touch()


@pytest.fixture
def gate(files: Path) -> Gate:
    gate = Gate(files / "release")
    gate.open()
    return gate


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_server_that_restarts_during_a_call_and_between_calls_is_reached_again(
    era: str, workshops: dict[str, Workshop], calls: Path, gate: Gate
) -> None:
    workshop = workshops[era]
    async with Toolset([web("shop", workshop.url)], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        gate.shut()
        broken = asyncio.create_task(call(tools, "shop__act"))
        await until(lambda: len(lines(calls)) == 1)
        workshop.kill()
        result = await broken
        assert result.outcome == "interrupted" and "may have run" in result.text

        gate.open()
        await asyncio.to_thread(workshop.start)
        assert (await call(tools, "shop__act")).outcome == "ok"

        workshop.kill()
        await asyncio.to_thread(workshop.start)
        assert (await call(tools, "shop__act")).outcome == "ok"  # though its session is gone
        assert len(lines(calls)) == 3


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_broken_connection_costs_only_the_calls_that_were_on_it(
    era: str, workshops: dict[str, Workshop], calls: Path, gate: Gate
) -> None:
    async with (
        Wire(workshops[era].port).open() as wire,
        Toolset([web("shop", wire.url, repeatable=("look",))], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        gate.shut()
        acting = asyncio.create_task(call(tools, "shop__act"))
        looking = asyncio.create_task(call(tools, "shop__look"))
        await until(lambda: len(lines(calls)) == 2)
        wire.cut()
        gate.open()
        assert (await acting).outcome == "interrupted"
        assert (await looking).outcome == "ok"
        assert (await call(tools, "shop__act")).outcome == "ok"
        assert sorted(line.split()[0] for line in lines(calls)) == ["act", "act", "look", "look"]


@pytest.mark.usefixtures("calls", "gate")
async def test_replicas_take_turns_and_one_that_dies_leaves_its_calls_to_the_other(
    workshops: dict[str, Workshop],
) -> None:
    first, second = workshops.values()
    async with Toolset([web("shop", first.url, second.url)], timing=QUICK, offer_wait_s=20) as tools:
        await until_offered(tools, "shop__look")
        await until(lambda: [status.state for status in tools.status()] == ["ready", "ready"])
        seen = [(await call(tools, "shop__look")).text for _ in range(4)]
        assert sorted(seen) == sorted([f"looked {first.pid}", f"looked {second.pid}"] * 2)

        first.kill()
        results = [await call(tools, "shop__look") for _ in range(4)]
        assert [result.text for result in results] == [f"looked {second.pid}"] * 4
        assert [status.replica for status in tools.status()] == [first.url, second.url]
        assert (await tools.offer(None)).notes == ()
    await asyncio.to_thread(first.start)


async def test_a_server_that_is_absent_costs_no_time_and_is_found_when_it_comes() -> None:
    workshop = Workshop("modern")
    timing = replace(QUICK, reconnect_wait_s=0.2)
    async with Toolset([web("shop", workshop.url)], timing=timing, offer_wait_s=20) as tools:
        offer = await tools.offer(None)
        assert offer.tools == () and "no connection" in offer.notes[0]
        assert (await call(tools, "shop__act")).outcome == "unavailable"
        await asyncio.to_thread(workshop.start)
        try:
            await until(lambda: tools.status()[0].state == "ready")
            assert (await call(tools, "shop__act")).outcome == "ok"
        finally:
            workshop.kill()


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
        endpoint = HttpEndpoint(url=url, headers={"X-Api-Key": "secret-token"}, label=f"http://127.0.0.1:{port}/mcp")
        config = ServerConfig(name="shop", endpoints=(endpoint,))
        async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
            notes = (await tools.offer(None)).notes
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
        offer = await tools.offer(None)
        assert [status.state for status in tools.status()] == ["starting", "down"]
        assert "still starting" in offer.notes[0]


@asynccontextmanager
async def speaking_modern(results: dict[str, dict[str, object]]) -> AsyncGenerator[str]:
    """Serve these results by method, as they are; yields the URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        request = json.loads(await reader.readexactly(size))
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": results[request["method"]]}).encode()
        headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + headers.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def test_a_result_that_does_not_say_its_type_is_a_complete_one() -> None:
    kept: dict[str, object] = {"ttlMs": 0, "cacheScope": "private"}
    results: dict[str, dict[str, object]] = {
        "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **kept},
        "tools/list": {"tools": [{"name": "act", "inputSchema": {"type": "object"}}], **kept},
        "tools/call": {"content": [{"type": "text", "text": "acted"}]},
    }
    async with speaking_modern(results) as url, Toolset([web("shop", url)], timing=QUICK, offer_wait_s=20) as tools:
        assert (await tools.offer(None)).notes == ()
        result = await call(tools, "shop__act")
    assert (result.outcome, result.text) == ("ok", "acted")
