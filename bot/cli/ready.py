"""The line of `toolbridge run` that says that it is ready, and for what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from bot.app import App
from bot.ports.platform import Adapter
from bot.ports.tools import ServerStatus
from bot.text.counting import count

log = structlog.stdlib.get_logger(__name__)

LOOK_S = 0.05
OTHERS_S = 15.0  # once one platform is connected, the others and the tool servers get so long


async def announce(app: App) -> None:
    """Log one line once messages are answered: when a platform is connected, and the rest is or has had its time."""
    await _until(lambda: any(adapter.connection.is_open for adapter in app.adapters))
    with suppress(TimeoutError):
        async with asyncio.timeout(OTHERS_S):
            await app.tools.settle(timeout_s=OTHERS_S, tell=lambda _: None)
            await _until(lambda: all(adapter.connection.is_open for adapter in app.adapters))
    log.info(ready_line(app.adapters, app.tools.status(), model=app.model.name))


def ready_line(adapters: Sequence[Adapter], servers: Sequence[ServerStatus], *, model: str) -> str:
    """Return the line; what is not there yet is named as such."""
    return f"ready: {', '.join([*map(_platform, adapters), _tools(servers), f'model {model}'])}"


def _platform(adapter: Adapter) -> str:
    name, connection = adapter.name.capitalize(), adapter.connection
    if not connection.is_open:
        return f"{name} not connected yet"
    return f"{name} {connection.detail}".strip()


def _tools(servers: Sequence[ServerStatus]) -> str:
    names = {status.server for status in servers}
    counts = {
        status.server: status.tool_count for status in servers if status.state == "ready"
    }  # replicas have the same
    of = count(len(names), "server") if len(counts) == len(names) else f"{len(counts)} of {count(len(names), 'server')}"
    return f"{count(sum(counts.values()), 'tool')} of {of}"


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110  (what is looked at belongs to libraries, too)
        await asyncio.sleep(LOOK_S)
