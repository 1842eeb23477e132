"""Waiting for what goes on in a thread."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def settled(result: asyncio.Future[T]) -> T:
    """Return the future's result; a cancellation is passed on only after the future is done."""
    cancelled: asyncio.CancelledError | None = None
    while not result.done():
        try:
            await asyncio.shield(result)
        except asyncio.CancelledError as error:
            if result.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001  (raised below, by result())
            break
    if cancelled is not None:
        raise cancelled
    return result.result()
