"""A tool server without any SDK whose calls can be held: while HOLD_FILE is there, none ends.

`act` changes something and may run once, and takes a note; `look` only reads. So do `draw`, which returns a picture,
`leak`, a file with a secret in it, and `pile`, more than is read. CALLS_FILE gets the name of each call as it begins.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

CALLS_FILE, HOLD_FILE = Path(os.environ.get("CALLS_FILE", os.devnull)), Path(os.environ.get("HOLD_FILE", os.devnull))
READS = ("look", "draw", "leak", "pile")
SECRET = "hunter2hunter2"
PILED = 600  # parts of one result
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            info = {"name": "failures", "version": "1"}
            return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            names = ("act", *READS)
            return {"result": {"tools": [tool(name) for name in names]}}
        case "tools/call":
            return {"result": {"content": call(request["params"]["name"])}}
        case method:
            return {"error": {"code": -32601, "message": f"Method not found: {method}"}}


def tool(name: str) -> dict[str, Any]:
    properties = {"note": {"type": "string"}} if name == "act" else {}
    schema = {"type": "object", "properties": properties}
    return {"name": name, "inputSchema": schema, "annotations": {"readOnlyHint": name in READS}}


def call(name: str) -> list[dict[str, Any]]:
    with CALLS_FILE.open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")
    while HOLD_FILE.is_file():
        time.sleep(0.01)
    text = {"type": "text", "text": f"did {name}"}
    match name:
        case "draw":
            return [text, {"type": "image", "mimeType": "image/png", "data": PICTURE}]
        case "leak":
            kept = base64.b64encode(f"user=ada\npassword={SECRET}\n".encode()).decode()
            resource = {"uri": "file:///access.txt", "mimeType": "text/plain", "blob": kept}
            return [text, {"type": "resource", "resource": resource}]
        case "pile":
            return [{"type": "text", "text": f"part {number} of the pile"} for number in range(PILED)]
        case _:
            return [text]


if __name__ == "__main__":
    main()
