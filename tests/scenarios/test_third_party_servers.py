"""Servers of other people, set up in mcp.json as their READMEs say."""

from __future__ import annotations

import os
import sys

import pytest

from tests.scenarios.conftest import Toolbridge

EVERYTHING = os.environ.get("SERVER_EVERYTHING_JS", "")


async def test_the_time_server_from_pypi_works_through_mcp_json(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({"time": {"command": sys.executable, "args": ["-m", "mcp_server_time"]}})
    arguments = '{"source_timezone": "Europe/Paris", "time": "12:00", "target_timezone": "Asia/Tokyo"}'
    ran = await toolbridge.ask(f"call time__convert_time with {arguments}")
    assert ran.code == 0
    assert "Asia/Tokyo" in ran.out
    assert "time.convert_time" in ran.err


@pytest.mark.skipif(not EVERYTHING, reason="SERVER_EVERYTHING_JS does not name server-everything's index.js")
async def test_the_everything_server_from_npm_works_through_mcp_json(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({"everything": {"command": "node", "args": [EVERYTHING, "stdio"]}})
    ran = await toolbridge.ask('call everything__echo with {"message": "good morning"}')
    assert (ran.code, "good morning" in ran.out) == (0, True)
    image = await toolbridge.ask("call everything__get-tiny-image with {}")
    assert image.code == 0
    assert any((toolbridge.home / "attachments").iterdir())
