"""Tasks that end with what began them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncGenerator[None]:
    """Do the work in a task of that name while the context is open, then cancel what is left of it and wait for it.

    What it raises is not raised here: asyncio logs it.
    """
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> Sequence[T]:
    """Do all of it at once, and return the results in that order; where one fails, the others are cancelled.

    Raises:
        Exception: What the first one raised that failed.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_all(tasks)


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until they have ended. What they raise is dropped."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
