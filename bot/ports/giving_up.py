"""When nothing waits for a platform's rates any longer: a process that ends leaves that to another.

A context variable carries this from an attempt at a turn to where its calls wait, and into tasks started on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from bot.domain.errors import RateLimitError

T = TypeVar("T")

LAST_S = 0.5  # what can be sent within this time still is: an answer that is half through ends where it began
LOOK_S = 0.1

_given_up: ContextVar[asyncio.Event | None] = ContextVar("given_up", default=None)


@contextmanager
def until(given_up: asyncio.Event) -> Generator[None]:
    """Have what is called within the block, and in tasks started there, wait no longer once this is set."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


async def wait_for(what: asyncio.Future[Any], *, timeout_s: float = float("inf")) -> None:
    """Return once it is done or the time is over, and `LAST_S` after waiting was given up; it goes on in any case."""
    given_up = _given_up.get()
    if given_up is None:
        await asyncio.wait([what], timeout=_timeout(timeout_s))
        return
    over_at = asyncio.get_running_loop().time() + timeout_s
    ending = asyncio.ensure_future(given_up.wait())
    try:
        await asyncio.wait([what, ending], timeout=_timeout(timeout_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
    if given_up.is_set() and not what.done():
        await asyncio.wait([what], timeout=min(LAST_S, max(0.0, over_at - asyncio.get_running_loop().time())))


async def unless_given_up(work: Coroutine[Any, Any, T], *, may_be_left: Callable[[], bool]) -> T:
    """Return what the work returns. Where waiting is given up it is cancelled, as soon as it may be left.

    Raises:
        RateLimitError: It was left.
    """
    if _given_up.get() is None:
        return await work
    working = asyncio.ensure_future(work)
    try:
        await wait_for(working)
        while not working.done():
            if may_be_left():
                raise RateLimitError(retry_after_s=LAST_S)
            await asyncio.wait([working], timeout=LOOK_S)
        return working.result()
    finally:
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def _timeout(seconds: float) -> float | None:
    return None if seconds == float("inf") else seconds


async def sleep(seconds: float) -> bool:
    """Sleep; return False where waiting was given up before."""
    sleeping = asyncio.ensure_future(asyncio.sleep(seconds))
    try:
        await wait_for(sleeping, timeout_s=seconds + 1.0)
        return sleeping.done()
    finally:
        sleeping.cancel()
