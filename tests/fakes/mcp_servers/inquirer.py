"""An MCP server on the real SDK that asks: forms of every type, several in a row, links; over stdio or HTTP.

`--era handshake` behaves as servers before 2026-07-28 do: it does not know `server/discover`, and asks while a call
runs. What it is answered is appended to the file that ANSWERS_FILE names, one JSON text a line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp.types import ElicitRequestURLParams
from pydantic import BaseModel, Field

if __name__ == "__main__":  # started by its path
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.fakes.mcp_servers.workshop import Handshake

ANSWERS_FILE = Path(os.environ.get("ANSWERS_FILE", os.devnull))
PAGE = "https://pay.example/checkout?order=7"
asked_first: set[str] = set()
server = MCPServer("inquirer", log_level="ERROR")


class Order(BaseModel):
    """Every type of the specification."""

    name: str = Field(title="Name", description="On the cup", min_length=2)
    cups: int = Field(ge=1, le=9)
    sugar: float = 0.5
    to_go: bool = False
    size: Literal["S", "L"] = "S"
    extras: list[Literal["milk", "cream"]] = []


class Name(BaseModel):
    name: str


class City(BaseModel):
    city: str


class Login(BaseModel):
    user: str
    password: str


def note(answer: object) -> None:
    with ANSWERS_FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(answer) + "\n")


Answer = AcceptedElicitation[Any] | DeclinedElicitation | CancelledElicitation


def said(answer: Answer) -> str:
    content = answer.data.model_dump(mode="json") if isinstance(answer, AcceptedElicitation) else None
    note([answer.action, content])
    return json.dumps([answer.action, content])


def ask_order() -> Elicit[Order]:
    return Elicit("What may it be?", Order)


def ask_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


def ask_city() -> Elicit[City]:
    return Elicit("Where do you live?", City)


def ask_login() -> Elicit[Login]:
    return Elicit("Please sign in", Login)


Outcome = AcceptedElicitation[Order] | DeclinedElicitation | CancelledElicitation


@server.tool()
def order(answer: Annotated[Outcome, Resolve(ask_order)]) -> str:
    return said(answer)


@server.tool()
def introduce(
    name: Annotated[AcceptedElicitation[Name] | DeclinedElicitation | CancelledElicitation, Resolve(ask_name)],
    city: Annotated[AcceptedElicitation[City] | DeclinedElicitation | CancelledElicitation, Resolve(ask_city)],
) -> str:
    return f"{said(name)} {said(city)}"


@server.tool()
def sign_in(
    answer: Annotated[AcceptedElicitation[Login] | DeclinedElicitation | CancelledElicitation, Resolve(ask_login)],
) -> str:
    return said(answer)


@server.tool()
async def pay(ctx: Context[Any], page: str = PAGE) -> str:
    """Only in the older era."""
    return (await ctx.elicit_url("Please pay", page, "payment-1")).action


@server.tool()
async def pay_elsewhere(ctx: Context[Any]) -> str:
    """Only in the older era: what the page is for is done before anyone says so."""
    await ctx.session.send_elicit_complete("payment-2", related_request_id=ctx.request_id)
    return (await ctx.elicit_url("Please pay", PAGE, "payment-2")).action


@server.tool()
def pay_first(page: str = PAGE) -> str:
    """Only in the older era: runs at the second call."""
    if page in asked_first:
        return "paid"
    asked_first.add(page)
    raise UrlElicitationRequiredError([ElicitRequestURLParams(message="Please pay", url=page, elicitation_id="first")])


@server.tool()
async def linger(seconds: float) -> str:
    note("lingers")
    await anyio.sleep(seconds)
    return "done"


def without_discovery() -> None:
    """Put a filter in front of standard input that answers what servers of the older era do not know."""
    read_end, write_end = os.pipe()
    source = os.fdopen(os.dup(0), "rb")
    os.dup2(read_end, 0)

    def pump() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as sink:
            for line in source:
                message = json.loads(line)
                if message.get("method") != "server/discover":
                    sink.write(line)
                    continue
                error = {"code": -32601, "message": "Method not found"}
                answer = {"jsonrpc": "2.0", "id": message["id"], "error": error}
                os.write(1, json.dumps(answer).encode() + b"\n")

    threading.Thread(target=pump, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--era", choices=["modern", "handshake"], default="modern")
    options = parser.parse_args()
    if options.port is None:
        if options.era == "handshake":
            without_discovery()
        server.run("stdio")
        return
    app = server.streamable_http_app(host="127.0.0.1")
    uvicorn.run(
        Handshake(app) if options.era == "handshake" else app,
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
