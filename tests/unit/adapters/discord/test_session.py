"""The connection to the gateway: what is logged of an address that cannot be reached."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.discord.api import DiscordApi
from adapters.discord.session import Session, Watch
from tests.fakes.discord import FakeDiscord

WAIT_S = 60.0

NOWHERE = {
    "closed port": ("ws://127.0.0.1:9/gateway", "127.0.0.1:9: Connection refused"),
    "no such host": ("ws://gateway.invalid/gateway", "gateway.invalid:80: its name cannot be resolved"),
    "no WebSocket": ("{url}/nothing", ": it answered HTTP 404"),
}


@pytest.mark.parametrize(("url", "reason"), NOWHERE.values(), ids=NOWHERE)
async def test_a_gateway_that_cannot_be_reached_is_one_line_with_address_and_reason(
    url: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        await api.log_in()
        session = Session(
            discord.token,
            api=api,
            gateway_url=url.format(url=discord.url.replace("http", "ws")),
            wants_content=True,
            watch=Watch(back_off_s=30.0),
        )
        with capture_logs() as logs:
            running = asyncio.create_task(session.run(lambda name, data: None))
            try:
                async with asyncio.timeout(20):
                    while not lost(logs):  # noqa: ASYNC110  (a log sets no event)
                        await asyncio.sleep(0.01)
                    await asyncio.wait([running], timeout=0.5)  # the pause begins
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    [line] = lost(logs)
    assert reason in line["error"] and "exc_info" not in line
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def lost(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry["log_level"] != "info"]


async def until_opened(session: Session, *, within_s: float) -> None:
    """Run the session until it is connected."""
    running = asyncio.create_task(session.run(lambda name, data: None))
    try:
        async with asyncio.timeout(within_s):
            await session.opened.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def session_of(discord: FakeDiscord, api: DiscordApi, *, guild_ready_s: float) -> Session:
    return Session(
        discord.token,
        api=api,
        gateway_url=discord.gateway_url,
        wants_content=True,
        watch=Watch(guild_ready_s=guild_ready_s),
    )


@pytest.mark.parametrize("servers", [0, 1, 3])
async def test_it_is_connected_as_soon_as_the_last_server_is_described(servers: int) -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        for number in range(servers):
            discord.add_guild(f"server {number}")
        await api.log_in()
        await until_opened(session_of(discord, api, guild_ready_s=600.0), within_s=WAIT_S)


async def test_a_server_in_an_outage_is_waited_for_no_longer_than_the_library_does() -> None:
    async with FakeDiscord() as discord, DiscordApi(discord.token, api_url=discord.api_url) as api:
        discord.add_guild("well")
        discord.lose_guild(discord.add_guild("out"))
        await api.log_in()
        await until_opened(session_of(discord, api, guild_ready_s=0.05), within_s=WAIT_S)
