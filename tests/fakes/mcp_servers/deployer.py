"""An MCP server over stdio, without any SDK, whose tools act: each call is a line of the file that CALLS_FILE names.

A line is a JSON array of the tool's name and of the arguments as they came. Every tool takes the same arguments.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

CALLS_FILE = Path(os.environ.get("CALLS_FILE", os.devnull))
TOOLS = ("deploy", "restart", "scale", "wipe", "wait")
SCHEMA = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "enum": ["test", "prod"]},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["env"],
}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            info = {"name": "deployer", "version": "1"}
            return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            tools = [{"name": name, "description": f"{name.capitalize()} it.", "inputSchema": SCHEMA} for name in TOOLS]
            return {"result": {"tools": tools}}
        case "tools/call":
            name, arguments = request["params"]["name"], request["params"].get("arguments", {})
            with CALLS_FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, arguments]) + "\n")
            return {"result": {"content": [{"type": "text", "text": f"{name}: done"}]}}
        case method:
            return {"error": {"code": -32601, "message": f"Method not found: {method}"}}


if __name__ == "__main__":
    main()
