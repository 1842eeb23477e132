"""A process of the product that is asked questions and prints its resident bytes: idle, warm, at the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil

from tests.bench.product import Product, open_product
from tests.bench.turn import QUESTION

AT_ONCE = 20


async def main(home: Path, model_url: str, tools_url: str, *, warm: int, turns: int) -> None:
    async with open_product(home=home, model_url=model_url, tools_url=tools_url) as product:
        _print_resident()
        await _ask(product, warm)
        _print_resident()
        await _ask(product, turns - warm)
        _print_resident()


def _print_resident() -> None:
    print(psutil.Process().memory_info().rss, flush=True)


async def _ask(product: Product, turns: int) -> None:
    for start in range(0, turns, AT_ONCE):
        numbers = range(start, min(turns, start + AT_ONCE))
        await asyncio.gather(*(product.ask(QUESTION, conversation=f"room-{number % AT_ONCE}") for number in numbers))


if __name__ == "__main__":
    home, model_url, tools_url, warm, turns = sys.argv[1:]
    asyncio.run(main(Path(home), model_url, tools_url, warm=int(warm), turns=int(turns)))
