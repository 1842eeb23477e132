"""Runs long work in a thread, so that other conversations go on meanwhile.

A thread gives the event loop its turn between two steps of Python, every few milliseconds, but not within one call into
C, which keeps the interpreter for itself: such work is done piece by piece, or bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

LONG = 1_000  # characters, entries: from here on work in Python may take more than a few milliseconds
PIECE = 256 * 1024  # characters or bytes that one call in C may be given: it takes some milliseconds at most
_T = TypeVar("_T")


async def apart(work: Callable[[], _T], *, size: int) -> _T:
    """Return what `work` returns; where its `size` is long, it runs in a thread and does not hold up the loop."""
    return work() if size < LONG else await asyncio.to_thread(work)
