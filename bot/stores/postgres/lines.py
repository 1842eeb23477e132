"""Threads next to an event loop, each with one session, and the lines of work in front of them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.domain.errors import BotError, StoreError
from bot.stores.db import Unit
from bot.stores.postgres.session import Session

T = TypeVar("T")

MOST_TOGETHER = 20  # units; bounds how long the first of them waits for the last

Work = Callable[[Session], Any]
Outcome = tuple[Any, BaseException | None]  # the result, or the error in its place
# Runs units as one: returns what became of each; None where nothing was kept and each is to be run by itself.
Together = Callable[[Session, Sequence[Unit[Any]]], Sequence[Outcome] | None]


@dataclass(slots=True)
class _Waiting:
    work: Work
    result: asyncio.Future[Any]
    of: Hashable
    unit: Unit[Any] | None  # where it may be run together with others


class Line:
    """Work that waits for the next of its threads. Of work `of` the same thing, one runs at a time, in order.

    A thread that becomes free takes its share of the units that have gathered by then, to run them `together`.
    """

    def __init__(self, sessions: Sequence[Session], *, name: str, together: Together | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._together = together
        self._idle = 0  # threads that wait for work
        self._waiting: deque[_Waiting] = deque()
        self._behind: dict[Hashable, deque[_Waiting]] = {}  # by what is in the line or runs: what follows it
        self._changed = threading.Condition()
        self._is_closed = False
        self.measure: Callable[[int], None] | None = None  # called, on the event loop, with the size of each batch
        self._threads = [
            threading.Thread(target=self._serve, args=(session,), name=f"store-{name}-{number}", daemon=True)
            for number, session in enumerate(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def put(
        self,
        work: Callable[[Session], T],
        *,
        is_urgent: bool = False,
        of: Hashable = None,
        unit: Unit[T] | None = None,
    ) -> asyncio.Future[T]:
        """Have it run by a thread; urgent work goes before what waits. Raises StoreError once it is closed.

        `unit` is what the work does within a transaction, where that may be one with others.
        """
        result: asyncio.Future[T] = self._loop.create_future()
        waiting = _Waiting(work, result, of, None if self._together is None else unit)
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
        while batch := self._next():
            outcomes = self._outcomes(session, batch)
            if outcomes is None:
                self._put_back(batch)
                continue
            self._loop.call_soon_threadsafe(self._settle, batch, outcomes)
            for waiting in batch:
                self._follow(waiting.of)
        session.close()

    def _settle(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        if self.measure is not None:
            self.measure(len(batch))
        _settle(batch, outcomes)

    def _outcomes(self, session: Session, batch: Sequence[_Waiting]) -> Sequence[Outcome] | None:
        if len(batch) == 1 or self._together is None:
            return [_outcome(waiting.work, session) for waiting in batch]
        return self._together(session, [waiting.unit for waiting in batch if waiting.unit is not None])

    def _next(self) -> Sequence[_Waiting]:
        """Return what to run next: more than one are all units. Nothing once the line is closed."""
        with self._changed:
            while not self._waiting:
                if self._is_closed and not self._behind:
                    return ()
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            share = min(-(-len(self._waiting) // (1 + self._idle)), MOST_TOGETHER)
            batch = [self._waiting.popleft()]
            while len(batch) < share and batch[0].unit is not None and self._waiting[0].unit is not None:
                batch.append(self._waiting.popleft())
            return batch

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        """Have each run by itself: one that has to wait for others keeps only one thread."""
        for waiting in batch:
            waiting.unit = None
        with self._changed:
            self._waiting.extendleft(reversed(batch))
            self._changed.notify_all()

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


def _outcome(work: Work, session: Session) -> Outcome:
    try:
        return work(session), None
    except BotError as error:
        return None, error
    except BaseException as error:  # noqa: BLE001  (handed to the caller)
        failure = StoreError(f"The database failed: {type(error).__name__}.")
        failure.__cause__ = error
        return None, failure


def _settle(batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    for waiting, (value, error) in zip(batch, outcomes, strict=True):
        if waiting.result.done():  # its caller was cancelled
            continue
        if error is not None:
            waiting.result.set_exception(error)
        else:
            waiting.result.set_result(value)
