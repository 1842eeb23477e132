import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import RequestParamsMeta

from bot.settings import Settings
from bot.tools.configured import load_servers
from bot.tools.conversation_ids import open_conversation_ids
from bot.tools.toolset import Toolset
from mcp_server.server import CONVERSATION_KEY
from mcp_server.workspace import folder_name
from tests.fakes.mcp_servers.processes import CONVERSATION, call
from tests.fakes.open_meteo import FakeOpenMeteo

HOUSE = Path(__file__).resolve().parents[2]
COMMAND = ("-m", "mcp_server")
MODES = ["auto", "legacy"]
ERAS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
ANNOUNCED = "listening on "
TOKEN = "correct-horse-battery"


def token_file(folder: Path) -> tuple[str, str]:
    """The option for a file with the token."""
    file = folder / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return "--token-file", str(file)


async def start(*options: str, **environment: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        *options,
        cwd=HOUSE,
        env=os.environ | environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )


async def run(*options: str) -> tuple[int | None, str, str]:
    """Run the command to its end with standard input closed: status, stdout, stderr."""
    process = await start(*options)
    async with asyncio.timeout(30):
        output, errors = await process.communicate(b"")
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def serving(*options: str, **environment: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """The process serving HTTP on an ephemeral port, and its URL."""
    process = await start("--transport", "streamable-http", "--port", "0", *options, **environment)
    try:
        async with asyncio.timeout(30):
            assert process.stderr is not None
            line = (await process.stderr.readline()).decode().strip()
            assert line.startswith(ANNOUNCED), line
            yield process, line.removeprefix(ANNOUNCED)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def stdio(workspace: Path, **environment: str) -> StdioServerParameters:
    arguments = [*COMMAND, "--workspace", str(workspace)]
    return StdioServerParameters(command=sys.executable, args=arguments, cwd=HOUSE, env=environment)


async def work_with(client: Client) -> None:
    """What every transport has to carry: a tool, an error, a file of one conversation, a prompt."""
    result = await client.call_tool("calculate", {"operation": "divide", "a": 50, "b": 2})
    assert result.structured_content is not None
    assert result.structured_content["result"] == 25
    assert (await client.call_tool("calculate", {"operation": "divide", "a": 50, "b": 0})).is_error
    file = {"filename": "summary.txt", "content": "25 π"}
    conversation = cast(RequestParamsMeta, {CONVERSATION_KEY: "one"})
    assert not (await client.call_tool("save_text_file", file, meta=conversation)).is_error
    assert len((await client.list_tools()).tools) == 9
    assert len((await client.list_prompts()).prompts) == 6


@pytest.mark.parametrize("mode", MODES)
async def test_a_process_serves_both_eras_over_stdio(tmp_path: Path, mode: str) -> None:
    async with asyncio.timeout(30), Client(stdio(tmp_path), mode=mode) as client:
        assert client.protocol_version == ERAS[mode]
        await work_with(client)
    assert (tmp_path / folder_name("one") / "summary.txt").read_text(encoding="utf-8") == "25 π"


async def test_a_process_serves_both_eras_over_http_at_once(tmp_path: Path) -> None:
    async with serving("--workspace", str(tmp_path)) as (_, url):
        for mode in MODES:
            async with Client(url, mode=mode) as client:
                assert client.protocol_version == ERAS[mode]
                await work_with(client)
        async with AsyncExitStack() as stack:
            for mode in MODES * 2:
                await work_with(await stack.enter_async_context(Client(url, mode=mode)))
    assert (tmp_path / folder_name("one") / "summary.txt").read_text(encoding="utf-8") == "25 π"


async def test_a_file_of_the_largest_size_passes_however_json_writes_it(tmp_path: Path) -> None:
    async with serving("--workspace", str(tmp_path)) as (_, url), Client(url) as client:
        result = await client.call_tool("save_text_file", {"filename": "a.txt", "content": "\x01" * 1024 * 1024})
        assert not result.is_error


async def test_the_environment_names_the_folder_and_the_weather_services(tmp_path: Path) -> None:
    async with FakeOpenMeteo() as service:
        environment = {
            "TOOLBRIDGE_HOME": str(tmp_path),
            "WEATHER_API_URL": service.forecast_url,
            "GEOCODING_API_URL": service.geocoding_url,
        }
        async with serving(**environment) as (_, url), Client(url) as client:
            assert not (await client.call_tool("get_weather", {"city": "NYC"})).is_error
            assert not (await client.call_tool("save_text_file", {"filename": "a.txt", "content": "x"})).is_error
    assert (tmp_path / "workspaces" / "shared" / "a.txt").read_text() == "x"


async def post(url: str, *, host: str, origin: str | None = None) -> int:
    """The status that a request gets which comes under the given Host and Origin."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    headers = {"Host": host, "Accept": "application/json, text/event-stream", "Authorization": f"Bearer {TOKEN}"}
    headers |= {"Origin": origin} if origin else {}
    async with httpx2.AsyncClient() as client:
        return (await client.post(url, json=hello, headers=headers)).status_code


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
async def test_only_local_and_allowed_hosts_are_answered_whatever_the_address(bound: str, tmp_path: Path) -> None:
    token = token_file(tmp_path)
    async with serving("--host", bound, "--allowed-host", "Tools.example.org", *token) as (_, announced):
        url = announced.replace("0.0.0.0", "127.0.0.1")
        port = httpx2.URL(url).port
        statuses = {
            host: await post(url, host=host)
            for host in (
                f"127.0.0.1:{port}",
                f"localhost:{port}",
                f"[::1]:{port}",
                "localhost",
                "tools.example.org",
                "tools.example.org:8443",
                "evil.example",
                f"evil.example:{port}",
                f"localhost.evil.example:{port}",
                f"10.0.0.1:{port}",
                f"0.0.0.0:{port}",
            )
        }
        assert [host for host, status in statuses.items() if status == 200] == list(statuses)[:6]
        assert {status for host, status in statuses.items() if host in list(statuses)[6:]} == {421}
        assert await post(url, host="localhost", origin="https://evil.example") == 403
        assert await post(url, host="localhost", origin=f"http://localhost:{port}") == 200


@pytest.mark.parametrize("mode", MODES)
async def test_sigterm_stops_an_http_server_cleanly_while_a_client_is_connected(mode: str) -> None:
    async with serving() as (process, url), Client(url, mode=mode) as client:
        await client.list_tools()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, errors = await process.communicate()
        assert process.returncode == 0
        assert "Traceback" not in errors.decode()


async def test_sigterm_stops_a_stdio_server_whose_client_is_still_there() -> None:
    process = await start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
        b'"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
    )
    async with asyncio.timeout(30):
        assert b'"result"' in await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""
    process.stdin.close()


async def test_other_machines_need_the_token_and_the_bot_sends_it_as_mcp_json_says(tmp_path: Path) -> None:
    config, token = tmp_path / "mcp.json", token_file(tmp_path)
    headers = {"Authorization": "Bearer ${TOOLS_TOKEN}"}
    async with serving("--host", "0.0.0.0", *token, "--workspace", str(tmp_path)) as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        async with httpx2.AsyncClient() as client:
            refused = await client.post(url, json={}, headers={"Authorization": "Bearer wrong-horse"})
            elsewhere = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example.org"}
            rebound = await client.post(url, json={}, headers=elsewhere)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
        assert rebound.status_code == 421
        config.write_text(json.dumps({"mcpServers": {"tools": {"url": url, "headers": headers}}}))
        settings = Settings(_env_file=None, mcp_config=config)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        servers = load_servers(settings, environ={"TOOLS_TOKEN": TOKEN})
        old = tmp_path / folder_name(CONVERSATION.opaque_id)  # from before ids were made with a key
        old.mkdir()
        (old / "old.txt").write_text("kept")
        async with Toolset(servers, ids=open_conversation_ids(tmp_path), offer_wait_s=20) as tools:
            await tools.offer(None)
            read = await call(tools, "tools__read_text_file", '{"filename": "old.txt"}')
        assert read.outcome == "ok" and "kept" in read.text
        process.terminate()
        assert process.stderr is not None
        assert b"horse" not in await process.stderr.read()
    assert not old.exists()


async def test_a_stdio_server_ends_when_its_client_leaves() -> None:
    assert await run() == (0, "", "")


@pytest.mark.parametrize(
    "options",
    [
        ["--transport", "carrier-pigeon"],
        ["--transport", "streamable-http", "--port", "65536"],
        ["--transport", "streamable-http", "--port", "-1"],
        ["--transport", "streamable-http", "--allowed-host", "https://tools.example.org/"],
        ["--port", "0"],
        ["--allowed-host", "tools.example.org"],
        ["--token-file", __file__],
        ["--transport", "streamable-http", "--host", "0.0.0.0"],
        ["--transport", "streamable-http", "--token-file", "/nowhere/token"],
        ["--workspace", __file__],
        ["--workspace", ""],
        ["--verbose"],
        ["extra"],
    ],
)
async def test_bad_usage_ends_with_status_2_and_says_what_is_wrong(options: list[str]) -> None:
    status, output, errors = await run(*options)
    assert (status, output) == (2, "")
    assert "error: " in errors


async def test_an_address_that_is_taken_ends_with_an_error_that_says_so() -> None:
    async with serving() as (_, url):
        status, _, errors = await run("--transport", "streamable-http", "--port", str(httpx2.URL(url).port))
    assert status not in (0, None)
    assert "address already in use" in errors
    assert "Traceback" not in errors


async def test_help_names_every_option_and_imports_nothing_heavy() -> None:
    script = "import sys, mcp_server.__main__ as m\ntry: m.main(['--help'])\nfinally: print(sorted(sys.modules))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=HOUSE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        output = (await process.communicate())[0].decode()
    assert all(
        option in output
        for option in ("--transport", "--host", "--port", "--allowed-host", "--token-file", "--workspace")
    )
    assert not any(f"'{module}'" in output for module in ("mcp", "pydantic", "uvicorn", "asyncio"))
