"""The other side of a turn, each in a process of its own: the model's endpoint and the tools."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from aiohttp import web

HOUSE = Path(__file__).resolve().parents[2]
START_S = 60.0
CHAT_WAIT_S = 110.0
_ANNOUNCED = "listening on "
_NOWHERE = "http://127.0.0.1:9/none"  # the discard port: nothing answers


@dataclass(frozen=True)
class Endpoint:
    """A model endpoint that can be told what to answer, and how fast."""

    url: str

    async def script(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Give these answers next, in order."""
        await self._post("/control/script", {"answers": answers})

    async def pace(self, *, first_token_s: float) -> None:
        """Let each answer begin so late."""
        await self._post("/control/pace", {"first_token_s": first_token_s})

    async def requests(self) -> list[dict[str, Any]]:
        """Return the bodies of the last thousand requests."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return (await client.get(self._control("/control/requests"))).json()["requests"]

    async def _post(self, path: str, body: object) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            (await client.post(self._control(path), json=body)).raise_for_status()

    def _control(self, path: str) -> str:
        return self.url.removesuffix("/v1") + path


@asynccontextmanager
async def serve_model() -> AsyncGenerator[Endpoint]:
    """Yield a model endpoint."""
    process = await _start("-m", "tests.fakes.openai", "--control", stdout=asyncio.subprocess.PIPE)
    async with _ending(process):
        yield Endpoint(await _first_line(process.stdout))


@asynccontextmanager
async def serve_tools(workspace: Path) -> AsyncGenerator[str]:
    """Yield the URL of the bundled MCP server over streamable HTTP."""
    options = ("--transport", "streamable-http", "--port", "0", "--workspace", str(workspace))
    process = await _start("-m", "mcp_server", *options, stderr=asyncio.subprocess.PIPE)
    async with _ending(process):
        yield (await _first_line(process.stderr)).removeprefix(_ANNOUNCED)


@asynccontextmanager
async def serve_slow_tools() -> AsyncGenerator[str]:
    """Yield the URL of an MCP server whose tool `wait` takes as many seconds as it is told."""
    process = await _start("-m", "tests.bench.slow_tools", stderr=asyncio.subprocess.PIPE)
    async with _ending(process):
        yield (await _first_line(process.stderr)).removeprefix(_ANNOUNCED)


@asynccontextmanager
async def serve_collector() -> AsyncGenerator[str]:
    """Yield the URL of a collector of traces."""
    process = await _start("-m", "tests.bench.collector", stdout=asyncio.subprocess.PIPE)
    async with _ending(process):
        yield await _first_line(process.stdout)


@dataclass(frozen=True, kw_only=True)
class ChatServer:
    """A loopback platform, where somebody asks and looks at a clock."""

    api_url: str
    control_url: str

    async def ask(self, text: str, *, questions: int, at_once: bool) -> dict[str, Any]:
        """Return what was seen of the answers: lists of seconds, and how many calls there were."""
        return await self._ask({"text": text, "questions": questions, "at_once": at_once})

    async def burst(self, text: str, *, questions: int, posts_at_once: int | None) -> dict[str, Any]:
        """Return what was seen of questions at once in one channel, which takes so many messages at once."""
        return await self._ask({"text": text, "questions": questions, "is_burst": True, "posts_at_once": posts_at_once})

    async def _ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        async with httpx2.AsyncClient(trust_env=False, timeout=CHAT_WAIT_S) as client:
            answer = await client.post(f"{self.control_url}/control/ask", json=dict(body))
            return answer.raise_for_status().json()


@dataclass(frozen=True, kw_only=True)
class DiscordServer(ChatServer):
    """The loopback Discord, which tells as well when each question was sent."""

    gateway_url: str


async def serve_control(ask: Callable[[web.Request], Awaitable[web.StreamResponse]], *urls: str) -> None:
    """Let `ask` answer what a `ChatServer` asks, until this process is killed; print `urls` and that of the control."""
    control = web.Application()
    control.router.add_post("/control/ask", ask)
    runner = web.AppRunner(control, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(*urls, f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def serve_slack() -> AsyncGenerator[ChatServer]:
    """Yield a loopback Slack."""
    process = await _start("-m", "tests.bench.slack_server", stdout=asyncio.subprocess.PIPE)
    async with _ending(process):
        api_url, control_url = (await _first_line(process.stdout)).split()
        yield ChatServer(api_url=api_url, control_url=control_url)


@asynccontextmanager
async def serve_discord(*, guilds: int, channels: int) -> AsyncGenerator[DiscordServer]:
    """Yield a loopback Discord with so many guilds and so many channels in each."""
    arguments = ("-m", "tests.bench.discord_server", str(guilds), str(channels))
    process = await _start(*arguments, stdout=asyncio.subprocess.PIPE)
    async with _ending(process):
        api_url, gateway_url, control_url = (await _first_line(process.stdout)).split()
        yield DiscordServer(api_url=api_url, gateway_url=gateway_url, control_url=control_url)


@asynccontextmanager
async def serve_discord_bot(home: Path, *urls: str) -> AsyncGenerator[int]:
    """Yield the process id of a bot that serves a loopback Discord; see `tests.bench.discord` for the addresses."""
    process = await _start("-m", "tests.bench.discord", str(home), *urls, stdout=asyncio.subprocess.PIPE)
    async with _ending(process):
        await _first_line(process.stdout)
        yield process.pid


async def _start(*arguments: str, stdout: int | None = None, stderr: int | None = None) -> asyncio.subprocess.Process:
    weather = {"WEATHER_API_URL": _NOWHERE, "GEOCODING_API_URL": _NOWHERE}
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=HOUSE, env=os.environ | weather, stdout=stdout, stderr=stderr
    )


async def _first_line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(START_S):
        line = (await stream.readline()).decode().strip()
    assert line, "the server ended while it started"
    return line


@asynccontextmanager
async def _ending(process: asyncio.subprocess.Process) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
