"""When nothing waits for a platform's rates any longer: a process that ends leaves that to another.

A context variable carries this from an attempt at a turn to where its calls wait, and into tasks started on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

LAST_S = 0.5  # what can be sent within this time still is: an answer that is half through ends where it began

_given_up: ContextVar[asyncio.Event | None] = ContextVar("given_up", default=None)


@contextmanager
def until(given_up: asyncio.Event) -> Generator[None]:
    """Have what is called within the block, and in tasks started there, wait no longer once this is set."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


async def wait_for(what: asyncio.Future[Any], *, timeout_s: float) -> None:
    """Return once it is done or the time is over, and `LAST_S` after waiting was given up; it goes on in any case."""
    given_up = _given_up.get()
    if given_up is None:
        await asyncio.wait([what], timeout=timeout_s)
        return
    over_at = asyncio.get_running_loop().time() + timeout_s
    ending = asyncio.ensure_future(given_up.wait())
    try:
        await asyncio.wait([what, ending], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
    if given_up.is_set() and not what.done():
        await asyncio.wait([what], timeout=min(LAST_S, max(0.0, over_at - asyncio.get_running_loop().time())))


async def sleep(seconds: float) -> bool:
    """Sleep; return False where waiting was given up before."""
    sleeping = asyncio.ensure_future(asyncio.sleep(seconds))
    try:
        await wait_for(sleeping, timeout_s=seconds + 1.0)
        return sleeping.done()
    finally:
        sleeping.cancel()
