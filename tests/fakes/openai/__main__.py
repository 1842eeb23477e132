"""Serves the endpoint in a process of its own until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tests.fakes.openai import serve_openai


def main() -> None:
    """Serve; the base URL is the only line on standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.openai", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--control", action="store_true", help="offer /control/..., which makes it fail on demand")
    options = parser.parse_args()
    asyncio.run(_serve(port=options.port, control=options.control))


async def _serve(*, port: int, control: bool) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(stopped.set))
    async with serve_openai(port=port, control=control) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await stopped.wait()


if __name__ == "__main__":
    main()
