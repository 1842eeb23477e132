"""An MCP server over stdio, without any SDK, that answers with what a file says, byte for byte.

The file is a JSON object: `tools` is the result of tools/list (left out: a tool for each reply), `replies` maps the
name of a tool to the line that answers its call; `@ID@` in a line is the request's id. Other keys are methods with the
line that answers them ("tools/list more": each further page). A line that is null is never sent; a list holds lines
and pauses in seconds, and `@TOKEN@` in it is the request's progress token. The method of each message is appended to
the file `log`. With the argument `rust`, it exits where the first message is not `initialize`, as servers of the Rust
SDK before version 3 do (https://github.com/modelcontextprotocol/go-sdk/issues/1177).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

Reply = str | None | list[str | float]
INFO = {"name": "player", "version": "1"}
GREETING: dict[str, Any] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": INFO}


def main() -> None:
    script: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    is_first = True
    for line in sys.stdin:
        request = json.loads(line)
        if is_first and "rust" in sys.argv and request["method"] != "initialize":
            sys.exit("expect initialized request")
        is_first = False
        with Path(script.get("log", os.devnull)).open("a", encoding="utf-8") as log:
            log.write(request["method"] + "\n")
        if "id" in request:
            play(script, request)


def play(script: dict[str, Any], request: dict[str, Any]) -> None:
    replies: dict[str, Reply] = script.get("replies", {})
    match request["method"] + (" more" if "cursor" in request.get("params", {}) else ""):
        case method if method in script:
            say(script[method], request)
        case "initialize":
            say(result(GREETING), request)
        case "tools/list":
            named = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in replies]}
            say(result(script.get("tools", named)), request)
        case "tools/call":
            say(replies.get(request["params"]["name"]), request)
        case method:
            error = {"code": -32601, "message": f"Method not found: {method}"}
            say('{"jsonrpc": "2.0", "id": @ID@, "error": ' + json.dumps(error) + "}", request)


def result(value: Any) -> str:
    return '{"jsonrpc": "2.0", "id": @ID@, "result": ' + json.dumps(value) + "}"


def say(reply: Reply, request: dict[str, Any]) -> None:
    token = request.get("params", {}).get("_meta", {}).get("progressToken")
    for line in reply if isinstance(reply, list) else [reply]:
        if isinstance(line, str):
            text = line.replace("@ID@", json.dumps(request["id"])).replace("@TOKEN@", json.dumps(token))
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        elif line is not None:
            time.sleep(line)


if __name__ == "__main__":
    main()
