"""Many tools: how many tokens their definitions take in a turn, and whether the right one is called first."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from bot.app import open_app
from bot.observe.logs import configure_logs
from bot.settings import load_settings
from bot.turns.selection import FIND_TOOLS
from bot.turns.tokens import estimate_tokens
from tests.bench.measure import Row
from tests.bench.product import Platform, Product
from tests.bench.servers import HOUSE, serve_model
from tests.fakes.mcp_servers.warehouse import THINGS, TOOLS_A_SERVER, Stock, stock
from tests.fakes.rights import allow_all

SERVERS = {
    60: (1, 60),
    235: (5, 47),
    5_000: (len(THINGS), TOOLS_A_SERVER),
}  # of so many tools, so many servers with each
QUESTIONS = 100
START_S = 60.0
GOAL_PERCENT = 90.0
# What people say who do not know the tools' names.
SAID = {
    "list": "enumerate",
    "get": "fetch the fields of",
    "create": "make new",
    "update": "change fields of",
    "delete": "remove for good",
    "search": "look through the text of",
    "export": "write to a spreadsheet",
    "approve": "sign off",
    "assign": "hand over to another team",
    "duplicate": "make copies of",
}


async def finding(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Ask for tools among few and many, half of them by the words of their names, half by other words."""
    rows: list[Row] = []
    for count in list(SERVERS)[:1] if quick else SERVERS:
        home = folder / str(count)
        home.mkdir()
        rows += await _among(count, home, questions=4 if quick else QUESTIONS)
    return rows


async def _among(count: int, home: Path, *, questions: int) -> Sequence[Row]:
    servers, each = SERVERS[count]
    tools = [one for thing in THINGS[:servers] for one in islice(stock(thing), each)]
    wanted = [tools[at * count // questions] for at in range(questions)]
    async with serve_model() as endpoint, _open(home, endpoint.url, THINGS[:servers], each) as product:
        first: list[str] = []
        searches = 0
        for number, one in enumerate(wanted):
            view = await product.ask(_question(one, by_name=number % 2 == 0))
            first.append(next((line.tool for line in view.trace if line.tool != FIND_TOOLS), ""))
            searches += any(line.tool == FIND_TOOLS for line in view.trace)
        sent = [body["tools"] for body in await endpoint.requests()]
    right = sum(tool == one.name for tool, one in zip(first, wanted, strict=True))
    largest = max(map(len, sent))
    return [
        Row(
            figure=f"tokens of tools in a turn, of {count:,} tools",
            value=sum(map(_tokens, sent)) / questions,
            unit="tokens",
            beside=f"{len(sent) / questions:.3g} requests a turn, at most {largest} tools in one;"
            f" all definitions are {_tokens([one.definition() for one in tools]):,} tokens",
        ),
        Row(
            figure=f"first calls of the rehearsal model that are right, of {count:,} tools",
            value=100 * right / questions,
            unit="%",
            goal=GOAL_PERCENT,
            is_floor=True,
            beside=f"{questions} questions, {searches} of them with a search",
        ),
    ]


def _question(one: Stock, *, by_name: bool) -> str:
    words = f"{one.verb} {one.kind} {one.thing}" if by_name else f"{SAID[one.verb]} {one.kind} {one.thing}s"
    return f'use a tool to {words} with {{"id": "7"}}'


@asynccontextmanager
async def _open(home: Path, model_url: str, things: Sequence[str], each: int) -> AsyncGenerator[Product]:
    program = str(HOUSE / "tests" / "fakes" / "mcp_servers" / "warehouse.py")
    # No question names a server: their names say nothing of their things.
    servers = {
        f"depot-{number}": {"command": sys.executable, "args": [program, thing, str(each)]}
        for number, thing in enumerate(things)
    }
    allow_all(home)
    file = home / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    settings = load_settings(
        env_file=None,
        model_provider="openai",
        openai_base_url=model_url,
        openai_model="rehearsal",
        mcp_config=file,
        toolbridge_home=home,
        requests_per_minute=10_000_000,
    )
    configure_logs(log_format="json", level="INFO", file=home / "logs" / "toolbridge.log")
    platform = Platform()
    async with open_app(settings, [lambda _host: nullcontext(platform)], drain_s=1) as app:
        await app.tools.settle(timeout_s=START_S, tell=lambda _: None)
        offer = await app.tools.offer(None)
        assert len(offer.tools) == len(things) * each, offer.notes
        yield Product(app, platform)


def _tokens(definitions: Sequence[Any]) -> int:
    return estimate_tokens(json.dumps(definitions))
