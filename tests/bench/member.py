"""A process of the product on a database of several, that is told what to do by lines and prints what it took.

`turns N CONVERSATIONS` has questions answered, `accept N` has them only acknowledged, `hang NAME` has one asked of a
model that falls silent, and prints when it was stopped. Times are those of the monotonic clock, which is one for all
processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from bot.domain.answers import Queued
from tests.bench.product import Product, open_product, question
from tests.bench.turn import QUESTION


async def main(home: Path, model_url: str, tools_url: str, database_url: str) -> None:
    async with open_product(home=home, model_url=model_url, tools_url=tools_url, database_url=database_url) as product:
        await product.ask(QUESTION)  # warms up
        _print({"ready": True})
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().split():
            _print(await _do(product, *line))


def _print(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


async def _do(product: Product, what: str, argument: str, at_once: str = "1") -> dict[str, Any]:
    match what:
        case "turns":
            return await _turns(product, int(argument), int(at_once))
        case "accept":
            return await _accept(product, int(argument))
        case "hang":
            return await _hang(product, argument)
        case _:
            raise ValueError(what)


async def _turns(product: Product, turns: int, at_once: int) -> dict[str, Any]:
    """Answer so many questions, so many at once."""
    left = iter(range(turns))

    async def one_after_the_other() -> None:
        for _ in left:
            await product.ask(QUESTION)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


async def _accept(product: Product, deliveries: int) -> dict[str, Any]:
    """Take so many deliveries at once, and wait for their turns too."""
    took: list[float] = []

    async def deliver() -> int:
        began = time.perf_counter()
        outcome = await product.app.host.accept(question("How are you?", number=product.next_number()))
        took.append(time.perf_counter() - began)
        assert isinstance(outcome, Queued), outcome
        return outcome.turn_id

    turns = await asyncio.gather(*(deliver() for _ in range(deliveries)))
    for turn in turns:
        await product.platform.ended(turn)
    return {"took_s": took}


async def _hang(product: Product, conversation: str) -> dict[str, Any]:
    """Ask a model that says nothing; tell when the turn runs, and return when it was stopped."""
    event = question(QUESTION, number=product.next_number(), conversation=conversation)
    outcome = await product.app.host.accept(event)
    assert isinstance(outcome, Queued), outcome
    _print({"by": event.author_id})
    view = await product.platform.ended(outcome.turn_id)
    at = time.monotonic()
    assert view.state == "stopped", view
    return {"stopped_at": at}


if __name__ == "__main__":
    home_, model_url_, tools_url_, database_url_ = sys.argv[1:]
    asyncio.run(main(Path(home_), model_url_, tools_url_, database_url_))
