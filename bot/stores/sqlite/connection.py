"""One SQLite connection beside an event loop: its work is done in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Connection:
    """Runs plain functions of a connection, one after the other; a crossing of threads costs more than a statement.

    Transactions are left to the functions. Opening raises sqlite3.Error where the file cannot be opened.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float, thread: str) -> None:
        self._db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=thread)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what the work returns. When its caller is cancelled, work that has begun goes on to its end unseen."""
        return await self._submit(work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await settled(self._submit(sqlite3.Connection.close))
        self._thread.shutdown()

    def _submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)


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
