"""An MCP server over stdio that talks nonsense: each of its tools is one kind of it, and `sense` is none."""

from __future__ import annotations

import json
import sys
from typing import Any

TEXT = {"content": [{"type": "text", "text": "a clear answer"}]}
TOOLS = ["sense", "noise", "bytes", "shape", "content", "stranger", "list", "flood", "nothing"]


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        match request["method"]:
            case "initialize":
                info = {"name": "babbler", "version": "1"}
                say(request, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
            case "tools/list":
                say(request, {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]})
            case "tools/call":
                babble(request, request["params"]["name"])
            case method:
                if "id" in request:
                    send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": method}})


def babble(request: dict[str, Any], kind: str) -> None:
    match kind:
        case "noise":
            sys.stdout.write("}{ this is no JSON\n\n\n[[[\n")
        case "bytes":
            sys.stdout.flush()
            sys.stdout.buffer.write(b"\xff\xfe\x00\x80" * 100 + b"\n")
        case "shape":
            say(request, "a result is an object")
        case "content":
            say(request, {"content": {"text": "a list was expected"}, "isError": "perhaps"})
        case "stranger":
            send({"jsonrpc": "2.0", "id": 987654, "result": TEXT})
        case "list":
            send([{"jsonrpc": "2.0", "id": request["id"], "result": TEXT}])
        case "flood":
            for number in range(5_000):
                send({"jsonrpc": "2.0", "method": f"notifications/nonsense{number}", "params": {"x": "y" * 50}})
            say(request, TEXT)
        case "nothing":
            send({"jsonrpc": "2.0", "id": request["id"]})
        case _:
            say(request, TEXT)
    sys.stdout.flush()


def say(request: dict[str, Any], result: object) -> None:
    send({"jsonrpc": "2.0", "id": request["id"], "result": result})


def send(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
