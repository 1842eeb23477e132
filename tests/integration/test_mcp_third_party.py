"""Servers of others and the bundled one, started the way an operator configures them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bot.settings import load_settings
from bot.tools.configured import load_servers
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.processes import QUICK, call


async def test_a_python_server_of_others_works_through_mcp_json_beside_the_bundled_one(tmp_path: Path) -> None:
    servers = {
        "time": {"command": "${PYTHON}", "args": ["-m", "mcp_server_time", "--local-timezone", "Europe/Rome"]},
        "toolbridge": {"bundled": True, "tools": ["calculate", "save_text_file", "list_text_files"]},
    }
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    settings = load_settings(env_file=None, mcp_config=config, toolbridge_home=tmp_path / "home")
    configs = load_servers(settings, environ={"PYTHON": sys.executable})
    async with Toolset(configs, timing=QUICK, offer_wait_s=30) as tools:
        offer = await tools.offer(None)
        assert offer.notes == ()
        assert [spec.name for spec in offer.tools] == [
            "time__convert_time",
            "time__get_current_time",
            "toolbridge__calculate",
            "toolbridge__list_text_files",
            "toolbridge__save_text_file",
        ]
        now = await call(tools, "time__get_current_time", '{"timezone": "Asia/Tokyo"}')
        assert now.outcome == "ok" and "Asia/Tokyo" in now.text
        sum_ = await call(tools, "toolbridge__calculate", '{"operation": "multiply", "a": 15, "b": 8}')
        assert sum_.text == "Result: 15.0 multiply 8.0 = 120.0"
        saved = await call(tools, "toolbridge__save_text_file", '{"filename": "a.txt", "content": "120"}')
        assert saved.outcome == "ok"
        assert [file.read_text() for file in (tmp_path / "home").rglob("a.txt")] == ["120"]
        assert len(await tools.examples()) > 0
