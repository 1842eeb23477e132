"""What `toolbridge run` imports before it starts the tool servers, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import gc, json, sys
from bot.cli.footprint import exempt_what_stays, start_lean

start_lean()
import bot.cli.run

said = {"imported": list(sys.modules), "collects": gc.isenabled()}
exempt_what_stays()
import rich  # nothing stands in its way any more
print(json.dumps(said | {"collects_later": gc.isenabled(), "exempt": gc.get_freeze_count()}))
"""


def test_a_start_imports_no_platform_and_no_model_before_the_tool_servers_and_collects_nothing_meanwhile() -> None:
    process = subprocess.run((sys.executable, "-c", PROGRAM), capture_output=True, text=True, timeout=120, check=True)
    said = json.loads(process.stdout)
    imported = set(said["imported"])
    assert {"structlog", "mcp"} <= imported
    assert imported.isdisjoint({"rich", "pygments", "prompt_toolkit", "discord", "slack_sdk", "slack_bolt", "openai"})
    assert not said["collects"] and said["collects_later"]
    assert said["exempt"] > 100_000
