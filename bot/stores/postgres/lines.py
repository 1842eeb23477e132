"""Threads beside an event loop, each with one session, and the lines of work in front of them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.domain.errors import BotError, StoreError
from bot.stores.postgres.session import Session

T = TypeVar("T")

Work = Callable[[Session], Any]


@dataclass(slots=True)
class _Waiting:
    work: Work
    result: asyncio.Future[Any]
    of: Hashable


class Line:
    """Work that waits for the next of its threads. Of work `of` the same thing, one runs at a time, in order."""

    def __init__(self, sessions: Sequence[Session], *, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._behind: dict[Hashable, deque[_Waiting]] = {}  # by what is in the line or runs: what follows it
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, args=(session,), name=f"store-{name}-{number}", daemon=True)
            for number, session in enumerate(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Callable[[Session], T], *, is_urgent: bool = False, of: Hashable = None) -> asyncio.Future[T]:
        """Have it run by a thread; urgent work goes before what waits. Raises StoreError once it is closed."""
        result: asyncio.Future[T] = self._loop.create_future()
        waiting = _Waiting(work, result, of)
        with self._changed:
            if self._is_closed:
                raise StoreError("The database is closed.")
            if of is not None and of in self._behind:
                self._behind[of].append(waiting)
                return result
            if of is not None:
                self._behind[of] = deque()
            (self._waiting.appendleft if is_urgent else self._waiting.append)(waiting)
            self._changed.notify()
        return result

    def close(self) -> None:
        """Take no more work; the threads end after what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the threads have ended."""
        for thread in self._threads:
            thread.join()

    def _serve(self, session: Session) -> None:
        while (waiting := self._next()) is not None:
            outcome = _outcome(waiting.work, session)
            self._loop.call_soon_threadsafe(_settle, waiting.result, outcome)
            self._follow(waiting.of)
        session.close()

    def _next(self) -> _Waiting | None:
        with self._changed:
            while not self._waiting:
                if self._is_closed and not self._behind:
                    return None
                self._changed.wait()
            return self._waiting.popleft()

    def _follow(self, of: Hashable) -> None:
        """Put what follows into the line: it has waited longer than what is there."""
        if of is None:
            return
        with self._changed:
            if followers := self._behind[of]:
                self._waiting.appendleft(followers.popleft())
                self._changed.notify()
                return
            del self._behind[of]
            if self._is_closed:
                self._changed.notify_all()


def _outcome(work: Work, session: Session) -> tuple[Any, BaseException | None]:
    try:
        return work(session), None
    except BotError as error:
        return None, error
    except BaseException as error:  # noqa: BLE001  (handed to the caller)
        failure = StoreError(f"The database failed: {type(error).__name__}.")
        failure.__cause__ = error
        return None, failure


def _settle(result: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    value, error = outcome
    if result.done():  # its caller was cancelled
        return
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(value)
