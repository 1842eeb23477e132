"""On which database the processes are: PostgreSQL where that can be had, otherwise a file that they share."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator

from tests.failures.world import World
from tests.kills.database import new_database, serving

_SERVERS: list[str] = []  # of the engine that is in use


@contextlib.contextmanager
def engine(name: str) -> Generator[None]:
    """Play rows on this engine while the context is open."""
    with serving(name) as server:
        _SERVERS.append(server)
        try:
            yield
        finally:
            _SERVERS.pop()


async def on_engine(
    scene: Callable[[World, str], Awaitable[None]], world: World, *, needs_server: bool = False
) -> None:
    """Play a scene on a database of its own."""
    server = _SERVERS[-1] if _SERVERS else ""
    if needs_server and not server:
        raise AssertionError("This row is about PostgreSQL; play it with --engine postgres.")
    with new_database(server) as url:
        await scene(world, url)
