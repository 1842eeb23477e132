"""Starts the server programs of this folder, and breaks the way to them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import CallDecided, CallWaiting
from bot.ports.tools import Resumed, Tools, Wait
from bot.tools.config import HttpEndpoint, ServerConfig, StdioEndpoint
from bot.tools.servers.timing import Timing

FOLDER = Path(__file__).parent
CONVERSATION = ConversationKey(platform="test", space="", channel="conversation-1")
ACTOR = CONVERSATION.person("U1", "Ada")
# Short waits: a test that waits in vain waits less than the product does.
QUICK = Timing(last_retry_s=0.5, retry_soon_s=0.05, probe_s=5.0, reconnect_wait_s=20.0)


def command(program: str, *args: str, env: Mapping[str, str] | None = None) -> StdioEndpoint:
    """Return how to start one of the programs as a child process."""
    path = FOLDER / f"{program}.py"
    return StdioEndpoint(program=sys.executable, args=(str(path), *args), env=env or {}, label=f"python {path.name}")


def process(name: str, program: str, *args: str, env: Mapping[str, str] | None = None, **options: Any) -> ServerConfig:
    """Return a configuration of one of the programs as a child process."""
    return ServerConfig(name=name, endpoints=(command(program, *args, env=env),), **options)


def web(name: str, *urls: str, transport: Literal["any", "http", "sse"] = "any", **options: Any) -> ServerConfig:
    """Return a configuration of a server over HTTP with these replicas."""
    endpoints = tuple(HttpEndpoint(url=url, label=url, transport=transport) for url in urls)
    return ServerConfig(name=name, endpoints=endpoints, **options)


async def call(tools: Tools, name: str, arguments: str = "{}", *, may_repeat: bool = True) -> ToolResult:
    """Run one call in `CONVERSATION`."""
    call = ToolCall(id="call-1", name=name, arguments=arguments)
    result = await tools.call(call, actor=ACTOR, conversation=CONVERSATION, may_repeat=may_repeat)
    assert not isinstance(result, Wait)
    return result


async def go_on(
    tools: Tools, name: str, wait: Wait, outcome: str, content: Mapping[str, Any] | None = None
) -> ToolResult | Wait:
    """Decide what a call in `CONVERSATION` waits for, as the core does with what it has from the store."""
    call = ToolCall(id="call-1", name=name, arguments="{}")
    waiting = CallWaiting(round=0, call_id=call.id, reason=wait.reason, expires_at=1.0, ask=wait.ask, state=wait.state)
    decided = CallDecided(round=0, call_id=call.id, outcome=outcome, content=json.dumps(content) if content else "")
    resumed = Resumed(wait=waiting, decision=decided)
    return await tools.call(call, actor=ACTOR, conversation=CONVERSATION, resumed=resumed)


async def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Wait until the condition holds; fail after the time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (other processes set no event)
            await asyncio.sleep(0.01)


async def until_offered(tools: Tools, name: str, *, timeout_s: float = 60.0) -> None:
    """Wait until the tool is offered; fail after the time."""
    async with asyncio.timeout(timeout_s):
        while (await tools.offer(None)).find(name) is None:  # noqa: ASYNC110  (a port has no event for it)
            await asyncio.sleep(0.01)


def lines(file: Path) -> list[str]:
    """Return the lines of a file, none where there is no file yet."""
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Workshop:
    """A server on the SDK over HTTP, as a process that can be killed and started again on the same port."""

    def __init__(self, era: str, *, env: Mapping[str, str] | None = None, program: str = "workshop") -> None:
        self.port = free_port()
        self._path = "sse" if era == "sse" else "mcp"
        self._args = [sys.executable, str(FOLDER / f"{program}.py"), "--era", era, "--port", str(self.port)]
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self._path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it accepts connections."""
        self._process = subprocess.Popen(self._args, env=self._env)
        give_up_at = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, "the server ended while it started"
                assert time.monotonic() < give_up_at, "the server does not start"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it as a crash would, and return when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


class Wire:
    """A TCP connection to a server on the way, which can be cut."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def cut(self) -> None:
        """Break all connections that are open now; new ones work."""
        while self._writers:
            self._writers.pop().transport.abort()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Self]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers += [writer, target_writer]
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, target_writer))
            group.create_task(_copy(target_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut
    finally:
        writer.close()
