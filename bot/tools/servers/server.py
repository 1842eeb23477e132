"""One tool server: its replicas, and which of them gets the next call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.domain.answers import Example
from bot.ports.store import NoteStore
from bot.ports.tools import ServerStatus
from bot.tools.config import ServerConfig
from bot.tools.servers.calls import Outcome
from bot.tools.servers.errors import CallRefusedError, CallUnsentError, SessionLostError
from bot.tools.servers.lists import Listed
from bot.tools.servers.live import LiveCall
from bot.tools.servers.replica import Replica
from bot.tools.servers.timing import StateChanges, Timing


class Server:
    """One tool server with all its replicas."""

    def __init__(
        self, config: ServerConfig, *, timing: Timing, changes: StateChanges, notes: NoteStore | None = None
    ) -> None:
        self.config = config
        self.replicas = [
            Replica(config, endpoint, timing=timing, changes=changes, notes=notes) for endpoint in config.endpoints
        ]
        self._timing = timing
        self._changes = changes
        self._picks = 0

    @property
    def is_settled(self) -> bool:
        """Whether the first try of each replica is over, or one is ready."""
        return self._ready() != [] or all(replica.state == "down" for replica in self.replicas)

    @property
    def is_offered(self) -> bool:
        """Whether its tools can be called, now or as soon as it is reconnected."""
        return any(replica.is_ready or replica.was_ready_lately for replica in self.replicas)

    @property
    def listed(self) -> Listed:
        """The tools that it listed last, also while it is down."""
        return known.listed if (known := self._known()) is not None else Listed()

    @property
    def instructions(self) -> str:
        """Its own words on how to use it."""
        return known.instructions if (known := self._known()) is not None else ""

    @property
    def has_resources(self) -> bool:
        """Whether there is anything that links in its answers can point to."""
        return any(replica.has_resources for replica in self.replicas)

    @property
    def reason(self) -> str:
        """Why it cannot be called."""
        reasons = [self.config.problem, *(replica.reason for replica in self.replicas)]
        return next(filter(None, reasons), "it is still starting")

    def retry_soon(self) -> None:
        """Try to reconnect soon, if no replica is ready."""
        if not self._ready():
            for replica in self.replicas:
                replica.retry_soon()

    def stop(self) -> None:
        """Keep every replica from connecting again."""
        for replica in self.replicas:
            replica.stop()

    async def call(self, tool: str, arguments: Mapping[str, Any], live: LiveCall) -> Outcome:
        """Send the call to its own replica or else to the next healthy one; where that cannot be reached, to others.

        Raises:
            CallError: There is no result; its class says whether the tool may have run.
        """
        deadline = asyncio.get_running_loop().time() + self._timing.reconnect_wait_s
        lost_sessions = 0
        while True:
            replica = await self._pick(tool, deadline, wanted=live.replica)
            try:
                return await replica.call(tool, arguments, live)
            except SessionLostError as error:
                lost_sessions += 1
                if lost_sessions > len(self.replicas):  # it says so of a session that has just begun
                    raise CallRefusedError(f"The server {self.config.name!r} refused the call: {error}") from error
            except CallUnsentError:  # that replica is not ready any more
                continue

    def is_complete(self, elicitation_id: str) -> bool:
        """Return whether the server said that what a page was opened for is done."""
        return any(replica.is_complete(elicitation_id) for replica in self.replicas)

    async def examples(self) -> tuple[Example, ...]:
        """Return the prompts that need no arguments; none where the server cannot be asked."""
        ready = self._ready()
        return await ready[0].examples() if ready else ()

    def status(self) -> list[ServerStatus]:
        """Return the state of each replica; of a server that cannot be set up, why."""
        if self.config.problem:
            return [ServerStatus(server=self.config.name, replica="", state="down", detail=self.config.problem)]
        statuses = [replica.status() for replica in self.replicas]
        warnings = "; ".join(self.config.warnings)
        return [replace(status, detail="; ".join(filter(None, [status.detail, warnings]))) for status in statuses]

    def _known(self) -> Replica | None:
        known = self._ready() or [replica for replica in self.replicas if replica.listed.tools]
        return known[0] if known else None

    def _ready(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.is_ready]

    async def _pick(self, tool: str, deadline: float, *, wanted: str) -> Replica:
        def is_reachable() -> bool:
            self.retry_soon()
            return self._ready() != []

        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0 or not await self._changes.wait_for(is_reachable, timeout_s=left_s):
            raise CallUnsentError(
                f"The tool server {self.config.name!r} cannot be reached ({self.reason}). "
                f"The call was not sent. It is tried again in the background."
            )
        ready = self._ready()
        able = [replica for replica in ready if replica.label == wanted]
        able = able or [replica for replica in ready if replica.has(tool)] or ready
        self._picks += 1
        return able[self._picks % len(able)]
