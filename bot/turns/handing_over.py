"""When a process that ends leaves a turn for another to take it up: what waits at once, what is seen or acts later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager


class TurnHandedOver(Exception):  # noqa: N818  (not an error)
    """The process ends, and the turn goes back to the store as it is now."""


class HandOver:
    """Whether one attempt is to be left, and where it can be."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()  # nothing waits for a platform any longer
        self._is_due = False
        self._acting = 0
        self._scopes: dict[asyncio.Timeout, Callable[[], bool]] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether the attempt is to begin nothing new that can be begun elsewhere."""
        return self.asked.is_set()

    @property
    def is_acting(self) -> bool:
        """Whether a call is under way that must not be made twice: nobody may end the attempt now."""
        return self._acting > 0

    def ask(self, *, is_due: bool) -> None:
        """Have the attempt left at once where it waits, and at the next such place where it does not.

        `is_due`: also where it would rather go on.
        """
        self.asked.set()
        self._is_due = self._is_due or is_due
        for scope, goes_on in self._scopes.items():
            if scope.when() is None and self._leaves(goes_on):
                scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def leavable(self, goes_on: Callable[[], bool] = lambda: False) -> AsyncGenerator[None]:
        """Let the attempt be left within the block, which can be begun again; while `goes_on`, only once it is due.

        Raises:
            TurnHandedOver: It was left.
        """
        if self.is_wanted:
            raise TurnHandedOver
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes[scope] = goes_on
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise TurnHandedOver from None
        finally:
            self._scopes.pop(scope, None)

    @contextmanager
    def acting(self) -> Generator[None]:
        """Let nobody end the attempt within the block."""
        self._acting += 1
        try:
            yield
        finally:
            self._acting -= 1

    def _leaves(self, goes_on: Callable[[], bool]) -> bool:
        return self._is_due or not goes_on()
