"""What a turn adds to the waiting that nobody can take away: the model's time and the tools'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median

from tests.bench.bare import open_bare
from tests.bench.measure import Row, compare
from tests.bench.product import open_product
from tests.bench.servers import serve_model, serve_slow_tools, serve_tools
from tests.bench.turn import ANSWERS, QUESTION

MODEL_S = 0.5
MODEL_CALLS = 2
SLOW_MODEL_S = 1.0
SLOW_TOOL_S = 0.5
GREETING = "Hello there!"


async def critical_path(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare the wall clock of a turn with the time of its model, and with the bare calls at the same model."""
    model_s, turns = (0.05, 1) if quick else (MODEL_S, 12)
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        open_product(home=folder, model_url=endpoint.url, tools_url=tools_url) as product,
        open_bare(model_url=endpoint.url, tools_url=tools_url) as bare,
    ):
        await endpoint.pace(first_token_s=model_s)

        async def ask() -> None:
            await endpoint.script(ANSWERS)
            await product.ask(QUESTION)

        async def ask_bare() -> None:
            await endpoint.script(ANSWERS)
            await bare.ask(QUESTION, bare.raw)

        costs = await compare({"product": ask, "bare": ask_bare}, rounds=turns, units=1)
    path_s = MODEL_CALLS * model_s
    wall_s, bare_s = costs.wall_s("product"), costs.wall_s("bare")
    what = f"wall clock of a turn ({MODEL_CALLS} model calls of {model_s:g} s, two tools)"
    return [
        Row(
            figure=f"{what} over its critical path, which is the bare calls (raw streaming)",
            value=costs.wall_ratio("product", over="bare"),
            goal=1.02,
            beside=f"{wall_s * 1e3:.0f} ms over {bare_s * 1e3:.0f} ms",
        ),
        Row(
            figure=f"{what} over the model's pauses alone",
            value=wall_s / path_s,
            beside=f"{wall_s * 1e3:.0f} ms over {path_s * 1e3:.0f} ms",
        ),
    ]


async def tools_at_once(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare the time from two calls being asked for to both results with what the slower of them takes by itself."""
    tool_s, turns = (0.05, 1) if quick else (SLOW_TOOL_S, 8)
    faster_s = tool_s * 0.8
    calls = [{"name": "tools__wait", "arguments": {"seconds": seconds}} for seconds in (tool_s, faster_s)]
    async with (
        serve_model() as endpoint,
        serve_slow_tools() as tools_url,
        open_product(home=folder, model_url=endpoint.url, tools_url=tools_url) as product,
    ):
        walls: list[float] = []
        for _ in range(turns + 1):  # the first warms up
            await endpoint.script([{"tool_calls": calls}, {"text": "Both waited."}])
            view = await product.ask("Wait.")
            assert [line.state for line in view.trace] == ["ok", "ok"], view.trace
            walls.append(product.platform.tools_s)
    wall_s = median(walls[1:])
    return [
        Row(
            figure=f"two tools at once ({tool_s:g} s and {faster_s:g} s) over the slower",
            value=wall_s / tool_s,
            goal=1.05,
            beside=f"{wall_s * 1e3:.0f} ms over {tool_s * 1e3:.0f} ms",
        )
    ]


async def many_conversations(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare the wall clock of many conversations at once with that of a single wait for the slow model."""
    model_s, conversations, rounds = (0.1, 5, 1) if quick else (SLOW_MODEL_S, 200, 5)
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        open_product(home=folder, model_url=endpoint.url, tools_url=tools_url) as product,
        open_bare(model_url=endpoint.url, tools_url=tools_url) as bare,
    ):
        await endpoint.pace(first_token_s=model_s)
        ways = {
            "product": lambda: product.ask(GREETING),
            "raw": lambda: bare.ask(GREETING, bare.raw),
            "ordinary": lambda: bare.ask(GREETING, bare.ordinary),
        }
        works = {name: _all_at_once(ask, conversations) for name, ask in ways.items()}
        costs = await compare(works, rounds=rounds, units=1)
    walls = {name: costs.wall_s(name) for name in ways}
    return [
        Row(
            figure=f"{conversations} conversations at once against a model of {model_s:g} s, over that time",
            value=walls["product"] / model_s,
            goal=1.15,
            beside=f"last answer after {walls['product']:.2f} s",
        ),
        *(
            Row(
                figure=f"the same over the bare calls ({baseline} streaming)",
                value=costs.wall_ratio("product", over=baseline),
                beside=f"{walls['product']:.2f} s over {walls[baseline]:.2f} s",
            )
            for baseline in ("raw", "ordinary")
        ),
    ]


def _all_at_once(ask: Callable[[], Awaitable[object]], conversations: int) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        await asyncio.gather(*(ask() for _ in range(conversations)))

    return work
