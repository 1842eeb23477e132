"""Long work on data of one person, done so that everybody else's goes on meanwhile.

A thread gives the event loop its turns between two steps of Python, every few milliseconds, but not within one call of
a library in C, which keeps the interpreter for itself: what is long there is done piece by piece, or bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

LONG = 1_000  # characters, entries: from here on work in Python may take more than a few milliseconds
PIECE = 256 * 1024  # characters or bytes that one call in C may be given: it takes some milliseconds at most
_T = TypeVar("_T")


async def apart(work: Callable[[], _T], *, size: int) -> _T:
    """Return what `work` returns; where its `size` is long, it runs in a thread, and the loop goes on."""
    return work() if size < LONG else await asyncio.to_thread(work)
