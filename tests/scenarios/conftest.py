"""Toolbridge as a user starts it: the command as a process, in a home folder and a working folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.openai import serve_openai
from tests.fakes.rights import allow_all
from tests.scenarios.drivers import ALL_DRIVERS, DRIVERS, Driver
from tests.scenarios.forge import HAS_FORK, run_forked

WAIT_S = 60.0
NOWHERE = "http://127.0.0.1:9/none"  # the discard port: nothing answers


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass
class Toolbridge:
    """The command line, with its own data and settings; the files that a test puts into its folder are trusted."""

    home: Path
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    trusts: bool = True

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        weather = {"WEATHER_API_URL": NOWHERE, "GEOCODING_API_URL": NOWHERE}
        return {
            **clean,
            **weather,
            "TOOLBRIDGE_HOME": str(self.home),
            "PYTHONUTF8": "1",
            "HTTP_PORT": "0",
            **self.settings,
        }

    async def start(self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *self._trusting(arguments)),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )

    def _trusting(self, arguments: Sequence[str]) -> Sequence[str]:
        takes_it = self.trusts and arguments and arguments[0] not in ("run", "health", "--help")
        return (arguments[0], "--trust", *arguments[1:]) if takes_it else arguments

    @asynccontextmanager
    async def serving(self, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
        """Start `toolbridge run`; it is killed at the end where it has not ended by itself."""
        process = await self.start("run", *arguments)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *arguments: str, stdin: str | None = None) -> Ran:
        if HAS_FORK:
            code, out, err = await run_forked(
                self._trusting(arguments),
                environment=self.environment,
                folder=self.folder,
                stdin=(stdin or "").encode(),
                wait_s=WAIT_S,
            )
            return Ran(code, out.decode(), err.decode())
        process = await self.start(
            *arguments, stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def ask(self, question: str, *arguments: str) -> Ran:
        return await self.run("chat", "-m", question, *arguments)

    def write_mcp_json(self, servers: Mapping[str, Any]) -> None:
        """Use these servers; without rules of its own, everyone may run all of their tools."""
        (self.folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        if servers:
            allow_all(self.home)

    def files(self) -> dict[str, str]:
        """Return the text of all files that tools saved, by name."""
        return {path.name: path.read_text() for path in (self.home / "workspaces").rglob("*") if path.is_file()}


@pytest.fixture
def toolbridge(tmp_path: Path) -> Toolbridge:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Toolbridge(home=tmp_path / "home", folder=folder)


@dataclass(frozen=True)
class Endpoint:
    """A model endpoint that can be told what to do."""

    url: str

    async def post(self, path: str, body: object) -> None:
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            answer = await client.post(self.url.removesuffix("/v1") + path, json=body)
            answer.raise_for_status()

    async def fail(self, kind: str, **details: Any) -> None:
        await self.post("/control/faults", {"faults": [{"kind": kind, **details}]})

    async def script(self, *answers: object) -> None:
        await self.post("/control/script", {"answers": list(answers)})

    async def requests(self) -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            answer = await client.get(self.url.removesuffix("/v1") + "/control/requests")
            return answer.json()["requests"]

    async def next_request(self, *, count: int = 1) -> None:
        """Wait until so many requests have arrived in all."""
        while len(await self.requests()) < count:  # noqa: ASYNC110  (another process sets no event)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving() -> AsyncIterator[Endpoint]:
    async with serve_openai(control=True) as url:
        yield Endpoint(url)


@pytest.fixture
async def endpoint(toolbridge: Toolbridge) -> AsyncIterator[Endpoint]:
    """The rehearsal model as an OpenAI-compatible endpoint that the command is set up to use."""
    async with serving() as endpoint:
        toolbridge.settings |= {"OPENAI_BASE_URL": endpoint.url, "OPENAI_MODEL": "rehearsal"}
        yield endpoint


@pytest.fixture(params=list(DRIVERS))
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """The people of a chat platform and a model, for each platform in turn; the bot is not there yet."""
    async with ALL_DRIVERS[request.param](tmp_path) as driver:
        yield driver
