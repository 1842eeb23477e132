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
