"""The bot as a process that serves a platform, and what a person and an operator see of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.fakes import folder_platform
from tests.fakes.children import kill_all
from tests.fakes.mcp_servers.processes import lines

WAIT_S = 60.0


@dataclass(frozen=True)
class Serving:
    """One process; see `serving_folder`."""

    process: asyncio.subprocess.Process
    folder: Path
    log: Path

    async def ask(self, text: str, *, key: str = "", room: str = "room") -> dict[str, Any]:
        """Send a message and return its receipt: then it is stored."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"text": text, "key": key or text, "room": room}).encode() + b"\n")
        return await self.next_line()

    async def next_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            return json.loads(await self.process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Return its exit code once it has ended."""
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    def children(self) -> list[psutil.Process]:
        """Return every process that it has started and that lives."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in map(json.loads, lines(self.log)) if entry["event"] == event]


@asynccontextmanager
async def serving_folder(
    folder: Path, *, environment: Mapping[str, str], drain_s: float = 10.0, lease_s: float = 15.0
) -> AsyncGenerator[Serving]:
    """Start a process that serves the folder; it is killed at the end, with all that it started."""
    log = folder / f"log-{uuid.uuid4()}.jsonl"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # its folder holds fakes with the names of libraries
            folder_platform.__file__,
            str(folder),
            *("--drain-s", str(drain_s), "--lease-s", str(lease_s)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=dict(environment),
        )
    serving = Serving(process, folder, log)
    try:
        assert "ready" in await serving.next_line()
        yield serving
    finally:
        if process.returncode is None:
            children = serving.children()
            process.kill()
            kill_all(children)
        await process.communicate()


def posts(folder: Path) -> list[dict[str, Any]]:
    """Return what the platform shows."""
    return [json.loads(line) for line in lines(folder / "posts.jsonl")]


def shown(folder: Path) -> list[dict[str, Any]]:
    """Return what was shown of running turns."""
    return [json.loads(line) for line in lines(folder / "shown.jsonl")]
