"""What a process that died left to be seen of turns that had ended: traces, and signs that the bot works.

A turn that has not ended is gone on with, and shown, by another process. One whose answer was posted needs nobody any
more, but its trace may still say that a tool runs, if its process died in the moment after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

import structlog

from bot.domain.turns import StateChanged, TurnView
from bot.ports.cluster import Cluster
from bot.ports.platform import Adapter, KeptKind, kept_notes
from bot.ports.rights import Policy
from bot.ports.store import Store
from bot.ports.tasks import running
from bot.ports.work_store import ClaimedTurn
from bot.turns.lease import log_failure
from bot.turns.view import ViewObserver

log = structlog.stdlib.get_logger(__name__)

SWEEP_S = 2.0
ENDING_S = 60.0  # for the process that ends one, before another tries


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseEnds:
    """Looks for them in the places that the adapters of this process serve."""

    store: Store
    cluster: Cluster
    adapters: Sequence[Adapter]
    policy: Callable[[], Policy]
    sweep_s: float = SWEEP_S
    _ended: set[int] = field(default_factory=set[int], init=False)  # turns, by this process

    def working(self) -> AbstractAsyncContextManager[None]:
        """Look for them while the context is open."""
        return running(self._keep(), name="loose ends")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self.sweep_s)
            for adapter in self.adapters:
                try:
                    await self._end_all(adapter)
                except Exception as error:  # noqa: BLE001  (a loop that ends would leave traces as they are)
                    log_failure("loose_ends_not_read", error)

    async def _end_all(self, adapter: Adapter) -> None:
        kept = await self._kept(adapter.name, "trace") | await self._kept(adapter.name, "session")
        for turn in await self.store.ended_alone(sorted(kept - self._ended)):
            turn_id = turn.lease.turn_id
            self._ended.add(turn_id)
            if await self.cluster.is_first(f"loose-end/{turn_id}", within_s=ENDING_S, platform=adapter.name):
                await self._end(turn, adapter)

    async def _kept(self, platform: str, kind: KeptKind) -> set[int]:
        """Return the turns of which something is kept."""
        prefix = kept_notes(platform, kind)
        return {int(name.removeprefix(prefix).partition("/")[0]) for name in await self.store.notes(prefix)}

    async def _end(self, turn: ClaimedTurn, adapter: Adapter) -> None:
        """Show the turn once more, as its last attempt would have."""
        log.info("turn_shown_to_its_end", turn=turn.lease.turn_id)
        views: list[TurnView] = []
        style = self.policy().place(turn.event.conversation.place).trace
        observer = ViewObserver(turn, views.append, trace_style=style)
        observer.recall(await self.store.steps(turn.lease.turn_id), is_over=True)
        observer.saw(turn, StateChanged(state=turn.state))
        (last,) = views
        last = replace(last, attempt=last.attempt + 1)  # what is seen of the turn is not this process's
        adapter.show(replace(last, state="delivering"))
        adapter.show(last)
