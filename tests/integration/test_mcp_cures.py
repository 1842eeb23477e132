"""Tool servers that cannot be reached: each failure has its own words and its own cure."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest

from bot.ports.tools import ServerStatus
from bot.tools.config import ServerConfig, StdioEndpoint
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.http_player import HttpPlayer, answer
from tests.fakes.mcp_servers.processes import QUICK, Workshop, call, free_port, process, until, until_offered, web


async def status_of(config: ServerConfig) -> ServerStatus:
    """Return the state in which the first try of a server ends."""
    timing = replace(QUICK, first_retry_s=600.0, last_retry_s=600.0)
    async with Toolset([config], timing=timing, offer_wait_s=20) as tools:
        await tools.offer(None)
        (status,) = tools.status()
        return status


OAUTH = 'WWW-Authenticate: Bearer resource_metadata="https://h/.well-known/oauth-protected-resource"\r\n'
PAGE = b"<html><body>Welcome</body></html>"


@pytest.mark.parametrize(
    ("raw", "reason", "cure"),
    [
        (answer(401, b"", headers="WWW-Authenticate: Bearer\r\n"), "HTTP 401", "wants a sign-in: put its token into"),
        (answer(401, b"", headers=OAUTH), "HTTP 401", "sign-in by OAuth, which is not supported yet"),
        (answer(403, PAGE, content_type="text/html"), "HTTP 403", "check the rights of the token"),
        (answer(404, b""), "HTTP 404", "Check the path of the URL"),
        (answer(405, b""), "HTTP 405", "type: sse"),
        (answer(429, b""), "HTTP 429", "asks for a pause"),
        (answer(500, b""), "HTTP 500", "The fault is at the server"),
        (answer(503, b""), "HTTP 503", "The fault is at the server"),
        (answer(200, PAGE, content_type="text/html"), "text/html instead of MCP", "Check the path of the URL"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the connection broke", "that of an MCP server over HTTP"),
    ],
    ids=["401", "401 with OAuth", "403", "404", "405", "429", "500", "503", "a page", "no HTTP"],
)
async def test_each_refusal_over_http_has_its_cure(raw: bytes, reason: str, cure: str) -> None:
    async with HttpPlayer(answers={"server/discover": raw, "initialize": raw}).open() as player:
        status = await status_of(web("shop", player.url))
    assert status.state == "down"
    assert reason in status.detail
    assert cure in status.cure


async def test_nothing_at_the_address_is_said_as_that() -> None:
    status = await status_of(web("shop", f"http://127.0.0.1:{free_port()}/mcp"))
    assert "no connection" in status.detail
    assert "Start that server" in status.cure


async def test_a_host_that_does_not_exist_is_said_as_that() -> None:
    status = await status_of(web("shop", "http://no-such-host.invalid/mcp"))
    assert "no connection" in status.detail
    assert "host" in status.cure


async def test_plain_http_at_a_port_where_tls_is_expected_is_said_as_that() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400, b""))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        status = await status_of(web("shop", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"))
    assert "no TLS at that port" in status.detail
    assert "http://" in status.cure


async def test_a_certificate_that_is_not_trusted_is_said_as_that(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    where = ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, [*made, *where], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        status = await status_of(web("shop", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"))
    assert "certificate" in status.detail
    assert "SSL_CERT_FILE" in status.cure or "host name" in status.cure


async def test_a_command_that_does_not_exist_is_said_as_that() -> None:
    endpoint = StdioEndpoint(program="no-such-program", label="no-such-program")
    status = await status_of(ServerConfig(name="shop", endpoints=(endpoint,)))
    assert "cannot be started" in status.detail
    assert "install the program" in status.cure


async def test_a_process_that_exits_shows_the_last_lines_of_its_error_output_without_secrets(tmp_path: Path) -> None:
    script = "import sys\nfor n in range(30): print(f'line {n}', file=sys.stderr)\nsys.exit('password=hunter2hunter2')"
    (tmp_path / "dies.py").write_text(script, encoding="utf-8")
    endpoint = StdioEndpoint(program="python", args=(str(tmp_path / "dies.py"),), label="python dies.py")
    status = await status_of(ServerConfig(name="shop", endpoints=(endpoint,)))
    assert "its process ended" in status.detail
    assert "by hand" in status.cure
    assert len(status.error_output) == 20
    assert status.error_output[:2] == ("line 11", "line 12")
    assert "hunter2" not in str(status)


LAST_WORDS = {
    "says it in each try": "say(); sys.exit(3)",
    "says it only in the first of two ways": "first = not os.path.exists(seen); open(seen, 'w'); first and say()",
    "ends its output first": "os.close(1); time.sleep(0.3); say(); time.sleep(0.3)",
    "leaves a process behind": "subprocess.Popen(['sleep', '5'], stdin=-3, stdout=-3); say()",
    "says no whole line": "say(end='')",
    "has to be killed": "say(); time.sleep(60)",
}


@pytest.mark.parametrize("case", LAST_WORDS)
async def test_the_last_words_of_a_process_are_there_whenever_it_is_said_to_be_down(case: str, tmp_path: Path) -> None:
    begin = "import os, subprocess, sys, time; seen = sys.argv[1]\n"
    say = "def say(end='\\n'): print('cannot open the calendar', file=sys.stderr, end=end, flush=True)\n"
    args = ("-ISc", begin + say + LAST_WORDS[case], str(tmp_path / "seen"))
    endpoint = StdioEndpoint(program="python", args=args, label="python")
    config = ServerConfig(name="shop", endpoints=(endpoint,), connect_timeout_s=0.8)
    states: set[str] = set()
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        for _ in range(100):  # through some tries
            (status,) = tools.status()
            states.add(status.state)
            assert status.error_output == ("cannot open the calendar",)
            assert "cannot open the calendar" in status.detail
            await asyncio.sleep(0.01)
    assert states == {"down"}


async def test_a_server_that_keeps_silent_is_said_to_be_too_slow() -> None:
    status = await status_of(process("shop", "oldtimer", "mute", connect_timeout_s=0.5))
    assert "did not answer in time" in status.detail
    assert "connect_timeout_s" in status.cure


# --- the legacy transport --------------------------------------------------------------------------------------


@pytest.fixture
def legacy(tmp_path: Path) -> Workshop:
    return Workshop("sse", env={"CALLS_FILE": str(tmp_path / "calls.txt")})


async def test_a_server_of_the_legacy_transport_is_found_without_its_type_and_that_is_said(legacy: Workshop) -> None:
    with legacy:
        async with Toolset([web("shop", legacy.url)], timing=QUICK, offer_wait_s=20) as tools:
            assert (await tools.offer(None)).find("shop__act") is not None
            (status,) = tools.status()
            assert status.state == "ready"
            assert "legacy transport (SSE)" in status.detail
            assert (await call(tools, "shop__act")).text == "acted"


async def test_a_legacy_server_that_restarts_during_a_call_and_between_calls_is_reached_again(
    legacy: Workshop, tmp_path: Path
) -> None:
    with legacy:
        config = web("shop", legacy.url, transport="sse", repeatable=("look",))
        async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
            await tools.offer(None)
            legacy.kill()
            await until(lambda: tools.status()[0].state == "down")
            assert "its stream of events ended" in tools.status()[0].detail
            await asyncio.to_thread(legacy.start)
            await until_offered(tools, "shop__act")
            assert (await call(tools, "shop__act")).text == "acted"
            assert (tmp_path / "calls.txt").read_text(encoding="utf-8").count("act ") == 1


async def test_a_legacy_server_that_wants_messages_at_another_host_is_refused() -> None:
    stream = answer(200, b"event: endpoint\ndata: http://127.0.0.2:9/x\n\n", content_type="text/event-stream")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(stream)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse"
        status = await status_of(web("shop", url, transport="sse"))
    assert "another host" in status.detail
