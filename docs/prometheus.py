"""A Prometheus of Debian's package, for the picture of the dashboard: started, fed by one process, and asked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import httpx2

EVERY_S = 1
WAIT_S = 60.0
INSTANCE = "bot:8080"  # the name of the process, which has another address each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a query found for one set of labels; `points` are numbers by their times, without those that are none."""

    labels: Mapping[str, str]
    points: Mapping[int, float]


@dataclass(frozen=True)
class Prometheus:
    """The server, which scrapes `bot` every second."""

    client: httpx2.AsyncClient

    async def read(self, query: str, *, start_at: int, end_at: int) -> Sequence[Series]:
        """Return what the query is, second by second."""
        asked = {"query": query, "start": start_at, "end": end_at, "step": EVERY_S}
        answer = (await self.client.get("/api/v1/query_range", params=asked)).json()
        assert answer["status"] == "success", answer
        return [Series(labels=one["metric"], points=_numbers(one["values"])) for one in answer["data"]["result"]]

    async def until_scraped(self) -> None:
        """Wait until the bot has answered it, and its counters begin at what they are now."""
        await self._until("/api/v1/query?query=up==1", lambda found: bool(json.loads(found)["data"]["result"]))

    async def until_ready(self) -> None:
        await self._until("/-/ready", lambda _: True)

    async def _until(self, path: str, is_so: Callable[[str], bool]) -> None:
        ends_at = time.monotonic() + WAIT_S
        while True:
            try:
                answer = await self.client.get(path)
                if answer.status_code == 200 and is_so(answer.text):
                    return
            except httpx2.TransportError:
                pass  # it starts
            assert time.monotonic() < ends_at, f"Prometheus does not answer {path} as it should"
            await asyncio.sleep(0.2)


def _numbers(values: Sequence[tuple[float, str]]) -> Mapping[int, float]:
    return {round(at): float(value) for at, value in values if isfinite(float(value))}


@asynccontextmanager
async def open_prometheus(folder: Path, *, port: int) -> AsyncGenerator[Prometheus]:
    """Start it with its data in `folder`; it scrapes the bot that listens on that port of this machine."""
    program = shutil.which(os.environ.get("PROMETHEUS", "prometheus"))
    if program is None:
        sys.exit("Prometheus is not installed (Debian: prometheus); set PROMETHEUS to the program.")
    targets = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": INSTANCE}}]
    config = {
        "global": {"scrape_interval": f"{EVERY_S}s", "scrape_timeout": f"{EVERY_S}s"},
        "scrape_configs": [{"job_name": "toolbridge", "static_configs": targets}],
    }
    file = folder / "prometheus.yml"  # JSON is YAML, too
    file.write_text(json.dumps(config), encoding="utf-8")
    own_port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own_port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{own_port}", trust_env=False) as client:
            prometheus = Prometheus(client)
            await prometheus.until_ready()
            yield prometheus
    finally:
        process.terminate()
        await process.wait()


def free_port() -> int:
    """Return a port that no one listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
