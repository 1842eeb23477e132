"""The tools of a bot under test, as settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORKSHOP = Path(__file__).parents[1] / "fakes" / "mcp_servers" / "workshop.py"
WAREHOUSE = WORKSHOP.with_name("warehouse.py")


def without_tools(home: Path) -> Mapping[str, Any]:
    """Return the settings of a bot that starts no tool server."""
    return _mcp_config(home, {})


def with_workshop(home: Path, **environment: str) -> Mapping[str, Any]:
    """Return the settings of a bot whose only tools are those of `tests/fakes/mcp_servers/workshop.py`."""
    server = {"command": sys.executable, "args": [str(WORKSHOP)], "env": environment}
    return _mcp_config(home, {"shop": server})


def _mcp_config(home: Path, servers: Mapping[str, Any]) -> Mapping[str, Any]:
    file = home / f"{'-'.join(servers) or 'none'}.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return {"mcp_config": file}
