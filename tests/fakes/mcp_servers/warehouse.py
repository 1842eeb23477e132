"""MCP servers with many tools, over stdio and without any SDK: `warehouse.py THING COUNT` has that many about a thing.

All things together have 5,000 tools, each with a name of its own, a description and arguments as people write them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

_THINGS = """
invoice ticket contract customer employee shipment product meeting report repository
server alert campaign vehicle patient course library budget recipe flight
"""
_KINDS = """
draft overdue paid annual weekly internal external archived shared urgent recurring regional seasonal
confidential legacy pending disputed partial verified foreign joint hidden local premium trial
"""
THINGS, KINDS = _THINGS.split(), _KINDS.split()
# What each verb does, in words that its name has not.
VERBS = {
    "list": "Enumerates every {} that the caller may see, page by page.",
    "get": "Fetches one {} by its id, with all of its fields.",
    "create": "Makes a new {} and returns its id.",
    "update": "Changes fields of an existing {} and leaves the others as they are.",
    "delete": "Removes a {} for good; it cannot be brought back.",
    "search": "Looks through the text of every {} for some words.",
    "export": "Writes a {} to a spreadsheet and returns the link to it.",
    "approve": "Signs off a {} in the name of the caller.",
    "assign": "Hands a {} over to another person or team.",
    "duplicate": "Copies a {} under a new id.",
}
TOOLS_A_SERVER = len(VERBS) * len(KINDS)


@dataclass(frozen=True)
class Stock:
    """One tool, in parts."""

    verb: str
    kind: str
    thing: str

    @property
    def server(self) -> str:
        return f"{self.thing}s"

    @property
    def name(self) -> str:
        return f"{self.verb}_{self.kind}_{self.thing}"

    @property
    def description(self) -> str:
        return VERBS[self.verb].format(f"{self.kind} {self.thing}")

    def definition(self) -> dict[str, Any]:
        properties = {
            "id": {"type": "string", "description": f"The id of the {self.kind} {self.thing}, as in its address."},
            "team": {"type": "string", "description": "The team in whose name this is done; left out, the caller's."},
            "note": {"type": "string", "description": "A sentence for the log of changes.", "maxLength": 200},
        }
        schema = {"type": "object", "properties": properties, "required": ["id"]}
        return {"name": self.name, "description": self.description, "inputSchema": schema}


def stock(thing: str) -> Iterator[Stock]:
    """Yield the tools about one thing."""
    for kind in KINDS:
        for verb in VERBS:
            yield Stock(verb=verb, kind=kind, thing=thing)


def main() -> None:
    thing, count = sys.argv[1], int(sys.argv[2])
    tools = [one.definition() for one in islice(stock(thing), count)]
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request, tools)}), flush=True)


def answer(request: dict[str, Any], tools: list[dict[str, Any]]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            info = {"name": "warehouse", "version": "1"}
            return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            return {"result": {"tools": tools}}
        case "tools/call":
            did = f"did {request['params']['name']} {json.dumps(request['params'].get('arguments'))}"
            return {"result": {"content": [{"type": "text", "text": did}]}}
        case method:
            return {"error": {"code": -32601, "message": f"Method not found: {method}"}}


if __name__ == "__main__":
    main()
