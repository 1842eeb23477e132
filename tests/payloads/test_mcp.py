"""What MCP servers really answer is the result or the list beside it, over each transport: every file of `mcp/`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from bot.domain.messages import ToolResult
from bot.ports.tools import Offer
from bot.tools.config import ServerConfig
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.http_player import HttpPlayer, answer
from tests.fakes.mcp_servers.processes import QUICK, call, process, web
from tests.payloads.reading import Sample, samples

WAYS = ["process", "http", "http stream"]
SAMPLES = list(samples("mcp"))
RESULTS = [pytest.param(sample, id=sample.name) for sample in SAMPLES if "outcome" in sample.expect]
LISTS = [pytest.param(sample, id=sample.name) for sample in SAMPLES if "tools" in sample.expect]


def on_the_wire(payload: Any) -> str:
    """Return the message as a server writes it, with a place for the request's id."""
    parts = cast("list[dict[str, Any]]", payload if isinstance(payload, list) else [payload])
    for part in parts:
        part["id"] = part["id"] and "@ID@"
    return json.dumps(payload).replace('"@ID@"', "@ID@")


@asynccontextmanager
async def serving(way: str, method: str, line: str, folder: Path) -> AsyncGenerator[ServerConfig]:
    """Serve a server that answers requests of that method with that line."""
    async with AsyncExitStack() as stack:
        if way == "process":
            (folder / "script.json").write_text(json.dumps({method: line, "replies": {"act": None}}), encoding="utf-8")
            yield process("shop", "player", str(folder / "script.json"), timeout_s=5)
        else:
            raw = answer(200, line.encode())
            if way == "http stream":
                raw = answer(200, f"event: message\ndata: {line}\n\n".encode(), content_type="text/event-stream")
            player = await stack.enter_async_context(HttpPlayer(answers={method: raw}).open())
            yield web("shop", player.url, timeout_s=5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sample", RESULTS)
async def test_the_answer_to_a_call_is_the_result_beside_it(sample: Sample, way: str, tmp_path: Path) -> None:
    async with (
        serving(way, "tools/call", on_the_wire(sample.payload), tmp_path) as server,
        Toolset([server], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        result = await call(tools, "shop__act")
    assert described(result) == sample.expect
    result.text.encode()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sample", LISTS)
async def test_a_list_of_tools_is_the_offer_beside_it(sample: Sample, way: str, tmp_path: Path) -> None:
    async with (
        serving(way, "tools/list", on_the_wire(sample.payload), tmp_path) as server,
        Toolset([server], timing=QUICK, offer_wait_s=20) as tools,
    ):
        offer = await tools.offer(None)
        assert [status.state for status in tools.status()] == ["ready"]
    assert_offered(offer, sample.expect)


def described(result: ToolResult) -> dict[str, Any]:
    files = [file.name for file in result.attachments]
    return {"outcome": result.outcome, "text": result.text} | ({"files": files} if files else {})


def assert_offered(offer: Offer, expect: dict[str, Any]) -> None:
    assert [spec.tool for spec in offer.tools] == expect["tools"]
    assert list(offer.notes) == [
        f"The tool {name!r} of server 'shop' is left out: {why}." for name, why in expect["left_out"].items()
    ]
    assert all(spec.parameters["type"] == "object" for spec in offer.tools)
