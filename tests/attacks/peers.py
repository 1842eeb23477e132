"""Peers that hold connections to a port without ever sending a whole request, in a process of their own.

`python -m tests.attacks.peers PORT NUMBER` prints a line when all have come, and at the end of its input how many
connections they made. Their process is not the one that measures how long others wait, so they do not slow that down.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.02
START_S = 60.0
BITE_S = 1.0  # between two bytes of a slow peer
BACK_S = 0.5  # until one that was closed is back
HEAD = b"POST /slack/events HTTP/1.1\r\nHost: bot\r\n"
# What each kind of peer sends at first; then one byte after the other.
SLOW: dict[str, bytes] = {
    "head": HEAD,
    "body": HEAD + b"Content-Length: 4000000\r\n\r\n",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    "silent": b"",
    "idle": b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n",
    "pipelined": b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n" * 500,
}


@dataclass
class Peers:
    """Slow peers, who come back when they are closed."""

    port: int
    kinds: tuple[str, ...] = tuple(SLOW)
    came: int = 0

    @asynccontextmanager
    async def holding(self, number: int) -> AsyncGenerator[None]:
        """Keep so many at it while the context is open; all have come once before it is entered."""
        tasks = [asyncio.create_task(self._hold(each), name=f"peer:{each}") for each in range(number)]
        try:
            while self.came < number:  # noqa: ASYNC110  (each of a thousand would set it)
                await asyncio.sleep(LOOK_S)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hold(self, index: int) -> None:
        kind = self.kinds[index % len(self.kinds)]
        while True:
            with suppress(OSError):
                await self._once(kind)
            await asyncio.sleep(BACK_S)

    async def _once(self, kind: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1)
        try:
            self.came += 1
            writer.write(SLOW[kind])
            while not writer.is_closing() and not (reader.at_eof() or reader.exception()):
                await asyncio.sleep(BITE_S)
                if kind in ("head", "body"):
                    writer.write(b"a")
        finally:
            writer.close()


@dataclass(slots=True)
class Attack:
    """Peers at it in another process; `came` is how many connections they made, known at the end."""

    came: int = 0


@asynccontextmanager
async def attacking(port: int, number: int) -> AsyncGenerator[Attack]:
    """Have so many at it while the context is open; all have come once before it is entered."""
    attack = Attack()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.attacks.peers", str(port), str(number)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            await process.stdout.readline()
        yield attack
        process.stdin.close()
        async with asyncio.timeout(START_S):
            attack.came = int(await process.stdout.readline())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def main(port: int, number: int) -> None:
    async with (peers := Peers(port)).holding(number):
        print("all have come", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(peers.came, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
