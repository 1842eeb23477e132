"""A small MCP server of the handshake era over stdio, without any SDK: it starts at once and can misbehave.

Arguments are faults: `mute` never answers, `dies` says why on standard error and ends, `once` does not start again
after a call, `noisy` writes lines that are no JSON. The name of each call is appended to the file
that CALLS_FILE names, with the call's `mark` where it has one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

CALLS_FILE = Path(os.environ.get("CALLS_FILE", os.devnull))
TOOLS = ["act", "count", "crash", "env", "hang", "learn", "meta", "put", "slow"]
HINTS = {
    "count": {"readOnlyHint": True},
    "put": {"idempotentHint": True},
    "crash_repeatable": {"idempotentHint": True},
}
PAGE = 3
learnt: list[str] = ["crash_repeatable"]


def main() -> None:
    if "dies" in sys.argv:
        sys.exit("cannot open the database, password=hunter2hunter2")
    if "once" in sys.argv and CALLS_FILE.exists():
        sys.exit("I start only once")
    if "noisy" in sys.argv:
        print("Welcome to this server!", flush=True)
    print("the old server is up", file=sys.stderr, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "mute" not in sys.argv and "id" in request:
            answer(request)


def answer(request: dict[str, Any]) -> None:
    match request["method"]:
        case "initialize":
            capabilities = {"tools": {"listChanged": True}}
            info = {"name": "oldtimer", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}
            send({"id": request["id"], "result": result})
        case "tools/list":
            send({"id": request["id"], "result": page(int(request.get("params", {}).get("cursor") or 0))})
        case "tools/call":
            text = call(request["params"])
            send({"id": request["id"], "result": {"content": [{"type": "text", "text": text}]}})
        case method:
            send({"id": request["id"], "error": {"code": -32601, "message": f"Method not found: {method}"}})


def page(start: int) -> dict[str, Any]:
    names = TOOLS + learnt
    tools = [
        {"name": name, "inputSchema": {"type": "object"}, "annotations": HINTS.get(name, {})}
        for name in names[start : start + PAGE]
    ]
    return {"tools": tools, **({"nextCursor": str(start + PAGE)} if start + PAGE < len(names) else {})}


def call(params: dict[str, Any]) -> str:
    name, arguments = params["name"], params.get("arguments", {})
    with CALLS_FILE.open("a", encoding="utf-8") as file:
        file.write(" ".join([name, *([arguments["mark"]] if "mark" in arguments else [])]) + "\n")
    match name:
        case "count" | "act" | "put":
            return f"{name} {arguments.get('text', '')}".strip()
        case "env":
            return os.environ.get(arguments["name"], "not set")
        case "meta":
            return json.dumps(params.get("_meta", {}))
        case "learn":
            learnt.append(arguments["tool"])
            send({"method": "notifications/tools/list_changed"})
            return f"learnt {arguments['tool']}"
        case "slow":
            time.sleep(float(arguments["seconds"]))
            return "at last"
        case "hang":
            time.sleep(3600)
            return "never"
        case "crash" | "crash_repeatable":
            if (marker := CALLS_FILE.with_suffix(".crashed")).exists() and name == "crash_repeatable":
                return "the second time it works"
            marker.touch()
            print("about to crash", file=sys.stderr, flush=True)
            os._exit(3)
        case _:
            return f"did {name}"


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


if __name__ == "__main__":
    main()
