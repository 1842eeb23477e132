"""What a process may still show of turns: nothing, once it was paused for so long that others have taken them over.

A context variable carries this from where a turn is shown to the moment when a request is sent, which may be long
after: requests wait for their rates. What belongs to no turn is not held up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from bot.domain.errors import AdapterError

_is_held: ContextVar[Callable[[], bool] | None] = ContextVar("is_held", default=None)


@contextmanager
def only_while(is_held: Callable[[], bool]) -> Generator[None]:
    """Send what is called for within the block, and in tasks started there, only while `is_held`."""
    token = _is_held.set(is_held)
    try:
        yield
    finally:
        _is_held.reset(token)


def check_held() -> None:
    """Raise AdapterError where the request that is about to be sent must not be; nothing was done."""
    is_held = _is_held.get()
    if is_held is not None and not is_held():
        raise AdapterError("This process was paused or cut off from its database, so another may show this by now.")
