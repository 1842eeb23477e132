"""What a process may still show of turns: nothing, once it was paused so long that others have taken them over.

A context variable carries this from where a turn is shown to the moment when a request is sent, which may be long
after: requests wait for their rates. What belongs to no turn is not held up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from bot.domain.errors import AdapterError
from bot.ports.cluster import Cluster


class OutdatedError(AdapterError):
    """What was to be shown is not to be shown any more, at least not by this process; nothing was done."""


_is_held: ContextVar[Callable[[], bool] | None] = ContextVar("is_held", default=None)


@contextmanager
def only_while(is_held: Callable[[], bool]) -> Generator[None]:
    """Send what is called for within the block, and in tasks started there, only while `is_held`.

    A block within another one keeps to both.
    """
    outer = _is_held.get()
    token = _is_held.set(is_held if outer is None else lambda: outer() and is_held())
    try:
        yield
    finally:
        _is_held.reset(token)


class Hold:
    """Whether this process holds its lease, and has held it all the time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._gaps = 0
        cluster.on_gap(self._note_gap)  # which is awaited before the lease counts as held again

    async def _note_gap(self) -> None:
        self._gaps += 1

    def from_now(self) -> Callable[[], bool]:
        """Return a function that says whether the lease is held and has never run out since this call."""
        gaps = self._gaps
        return lambda: self._gaps == gaps and self._cluster.is_held()


def check_held() -> None:
    """Raise OutdatedError where the request that is about to be sent must not be."""
    is_held = _is_held.get()
    if is_held is not None and not is_held():
        raise OutdatedError(
            "It is over, or this process was paused or cut off from its database, so another may show it by now."
        )
