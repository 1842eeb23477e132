"""How long connections to tool servers may take, and how tasks wait for their state to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds for each wait."""

    connect_process_s: float = 60.0  # the first start of a packaged server downloads it
    connect_http_s: float = 15.0  # the SDK waits 10 s for a server of the older era that ignores its first question
    probe_s: float = 10.0  # a server that does not list its tools within this time is restarted
    page_s: float = 5.0  # for each further page of a list
    list_pause_s: float = 1.0  # before lists that changed are read once more
    first_retry_s: float = 0.1
    last_retry_s: float = 30.0
    retry_soon_s: float = 1.0  # after the last try, when a call waits for the server
    stable_s: float = 5.0  # a connection that lasted this long resets the back-off
    reconnect_wait_s: float = 5.0  # for a call that was not sent yet
    grace_s: float = 1.0  # for calls in progress on a connection that is given up
    keep_s: float = 60.0  # tools of a server that is reconnecting stay offered, so that prompt caches still hit


class StateChanges:
    """Wakes every task that waits for a state of the servers, at each change of any of them."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify_all(self) -> None:
        """Make all waiting tasks check their condition again."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait_for(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Return True as soon as the condition holds, False when it did not within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._event.wait()
        except TimeoutError:
            return False
        return True
