"""A collector of traces in a process of its own, so that its work is not counted: prints its address."""

from __future__ import annotations

import asyncio

from tests.fakes.otlp import collecting


async def main() -> None:
    async with collecting() as collector:
        print(collector.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
