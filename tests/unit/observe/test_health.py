"""Whether the process lives and is ready, asked over HTTP by `toolbridge health`'s own question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.cli.health import ask
from bot.domain.errors import StoreError
from bot.http.listener import open_listener
from bot.observe.health import DRAINING, STARTING, Health, Parts
from bot.ports.observer import ModelCall
from bot.ports.platform import Connection
from bot.ports.tools import ServerState, ServerStatus
from bot.settings import Settings, load_settings

SECRET = "postgresql://bot:hunter2@db.internal"


@dataclass
class World:
    """A process whose parts can be broken, with its listener."""

    settings: Settings
    health: Health = field(default_factory=Health)
    platforms: dict[str, Connection] = field(default_factory=lambda: {"slack": Connection(is_open=True)})
    store_error: str = ""
    writes: int = 0
    store_stalls: asyncio.Event | None = None
    servers: dict[str, ServerState] = field(default_factory=dict[str, ServerState])
    is_draining: bool = False

    def start(self) -> None:
        self.health.watch(
            Parts(
                adapters=[Platform(self, name) for name in self.platforms],
                check_writing=self.write,
                servers=lambda: [
                    ServerStatus(server=name, replica="", state=is_) for name, is_ in self.servers.items()
                ],
                is_draining=lambda: self.is_draining,
            )
        )

    async def write(self) -> None:
        self.writes += 1
        if self.store_stalls is not None:
            await self.store_stalls.wait()
        if self.store_error:
            raise StoreError(self.store_error)

    async def answer(self) -> dict[str, Any]:
        return await ask(self.settings)


@dataclass
class Platform:
    world: World
    name: str

    @property
    def connection(self) -> Connection:
        return self.world.platforms[self.name]


@asynccontextmanager
async def process(*, starts: bool = True) -> AsyncGenerator[World]:
    async with open_listener("127.0.0.1", 0) as listener:
        world = World(load_settings(env_file=None, http_port=listener.port, http_host="127.0.0.1"))
        with listener.serve(*world.health.routes):
            if starts:
                world.start()
            yield world


async def get(world: World, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.settings.http_port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bot\r\nconnection: close\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_a_process_with_all_its_parts_is_alive_and_ready() -> None:
    async with process() as world:
        assert await get(world, "/readyz") == (
            200,
            '{"status":"ready","checks":{"store":{"status":"ok"},"slack":{"status":"ok"},'
            '"model":{"status":"ok"},"tools":{"status":"ok"}}}',
        )
        status, body = await get(world, "/healthz")
        assert status == 200 and '"status":"ok"' in body


async def test_a_process_that_starts_is_alive_and_not_ready_which_is_no_refusal_in_the_log() -> None:
    with capture_logs() as logs:
        async with process(starts=False) as world:
            assert (await get(world, "/healthz"))[0] == 200
            status, _ = await get(world, "/readyz")
            assert status == 503
            assert await world.answer() == {"status": "not_ready", "reason": STARTING, "checks": {}}
    assert "http_refused" not in [line["event"] for line in logs]


async def test_one_platform_of_two_that_is_away_degrades_and_both_make_it_not_ready() -> None:
    async with process() as world:
        world.platforms = {"slack": Connection(is_open=True), "discord": Connection(is_open=False)}
        world.start()
        answer = await world.answer()
        assert (answer["status"], answer["reason"]) == ("degraded", "Discord is not connected. The log says why.")
        world.platforms["slack"] = replace(world.platforms["slack"], is_open=False)
        assert (await world.answer())["status"] == "not_ready"


async def test_a_database_that_takes_no_writes_makes_it_not_ready_and_the_reason_shows_no_secret() -> None:
    async with process() as world:
        world.store_error = f"{SECRET} is gone"
        status, body = await get(world, "/readyz")
        assert status == 503 and "The database takes no writes." in body
        assert "hunter2" not in body and "db.internal" not in body


async def test_a_database_that_does_not_answer_is_asked_once_and_no_question_waits_for_it_for_long() -> None:
    async with process() as world:
        world.store_stalls = asyncio.Event()
        answers = await asyncio.gather(*(world.answer() for _ in range(5)))
        assert {answer["status"] for answer in answers} == {"not_ready"}
        assert world.writes == 1
        world.store_stalls.set()


async def test_however_many_ask_the_database_is_written_to_once_a_second_at_most() -> None:
    async with process() as world:
        begun_at = asyncio.get_running_loop().time()
        for _ in range(10):
            await world.answer()
        assert world.writes <= 1 + int(asyncio.get_running_loop().time() - begun_at)


async def test_a_model_that_is_down_degrades_because_messages_are_still_taken() -> None:
    async with process() as world:
        world.health.model.called(ModelCall(model="m", purpose="answer", seconds=1.0, error="ModelAccessError"))
        status, body = await get(world, "/readyz")
        assert status == 200 and '"status":"degraded"' in body and "does not accept the key" in body


@pytest.mark.parametrize(("states", "is_degraded"), [(("ready", "down"), True), (("ready", "starting"), False)])
async def test_a_tool_server_that_is_down_degrades(states: tuple[ServerState, ...], is_degraded: bool) -> None:
    async with process() as world:
        world.servers = {f"server-{number}": state for number, state in enumerate(states)}
        answer = await world.answer()
        assert (answer["status"] == "degraded") == is_degraded
        assert not is_degraded or answer["reason"].startswith("1 of 2 tool servers cannot be reached.")
        assert "server-1" not in str(answer)


async def test_a_process_that_hands_over_takes_nothing_new() -> None:
    async with process() as world:
        world.is_draining = True
        answer = await world.answer()
        assert (answer["status"], answer["reason"]) == ("not_ready", DRAINING)
