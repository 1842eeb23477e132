"""What a turn costs over the same calls made bare."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.bare import open_bare
from tests.bench.measure import Comparison, Row, compare
from tests.bench.product import open_product
from tests.bench.servers import Endpoint, serve_model, serve_tools

GOAL = 1.5
AT_ONCE = 50
QUESTION = "What is 6 times 7, and what time is it in Tokyo?"
ANSWERS: Sequence[dict[str, Any]] = (
    {
        "tool_calls": [
            {"name": "tools__calculate", "arguments": {"operation": "multiply", "a": 6, "b": 7}},
            {"name": "tools__get_current_time", "arguments": {"timezone": "Asia/Tokyo"}},
        ]
    },
    {"text": " ".join(f"Six times seven is forty-two, and here is the time in Tokyo ({part})." for part in range(5))},
)

Ask = Callable[[], Awaitable[object]]


async def turn_cost(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare a turn (two model calls, two tools over HTTP) with the bare calls, alone and with many at once."""
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        open_product(home=folder, model_url=endpoint.url, tools_url=tools_url) as product,
        open_bare(model_url=endpoint.url, tools_url=tools_url) as bare,
    ):
        ways: dict[str, Ask] = {
            "product": lambda: product.ask(QUESTION),
            "raw": lambda: bare.ask(QUESTION, bare.raw),
            "ordinary": lambda: bare.ask(QUESTION, bare.ordinary),
        }
        await _check_same_requests(list(ways.values()), endpoint)
        rounds, turns = (1, 2) if quick else (15, 20)
        alone = await compare(
            {name: _one_by_one(ask, turns, endpoint) for name, ask in ways.items()}, rounds=rounds, units=turns
        )
        at_once = 4 if quick else AT_ONCE
        together = await compare(
            {name: _together(ask, at_once) for name, ask in ways.items()}, rounds=rounds, units=at_once
        )
    return [*_rows(alone, "one at a time"), *_rows(together, f"{at_once} at once")]


async def _check_same_requests(ways: Sequence[Ask], endpoint: Endpoint) -> None:
    """Fail unless all ways send the same: otherwise there is nothing to compare."""
    sent: list[Sequence[Any]] = []
    for ask in ways:
        await endpoint.script(ANSWERS)
        await ask()
        first, second = (await endpoint.requests())[-2:]
        sent.append((first, [message["role"] for message in second["messages"]]))
    assert all(other == sent[0] for other in sent), sent


def _one_by_one(ask: Ask, turns: int, endpoint: Endpoint) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        for _ in range(turns):
            await ask()

    async def scripted() -> None:
        await endpoint.script([*ANSWERS] * turns)
        await work()

    return scripted


def _together(ask: Ask, turns: int) -> Callable[[], Awaitable[None]]:
    """Without a script, whose order would get mixed up: the rehearsal model answers this question just so by itself."""

    async def work() -> None:
        await asyncio.gather(*(ask() for _ in range(turns)))

    return work


def _rows(costs: Comparison, how: str) -> Sequence[Row]:
    return [
        row
        for baseline, goal in (("ordinary", GOAL), ("raw", None))
        for row in (
            Row(
                figure=f"CPU of a turn over the bare calls ({baseline} streaming), {how}",
                value=costs.cpu_ratio("product", over=baseline),
                goal=goal,
                beside=f"{costs.cpu_s('product') * 1e3:.1f} ms over {costs.cpu_s(baseline) * 1e3:.1f} ms",
            ),
            Row(
                figure=f"wall clock of a turn over the bare calls ({baseline} streaming), {how}",
                value=costs.wall_ratio("product", over=baseline),
                goal=goal,
                beside=f"{costs.wall_s('product') * 1e3:.1f} ms over {costs.wall_s(baseline) * 1e3:.1f} ms",
            ),
        )
    ]
