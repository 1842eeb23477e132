"""Calls that go on here while their turns wait for a person: servers before 2026-07-28 ask while a call runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from mcp.types import ElicitResult

from bot.domain.messages import ToolResult
from bot.ports.tools import Progress, Wait
from bot.tools.inquiries import EXPIRES_S, Pending
from bot.tools.servers.live import Inquiry, LiveCall

_GRACE_S = 60.0  # after a form's end, for the decision to arrive
_UNSENT = "The bot is stopping. The call was not sent."
_CLOSED = "Interrupted: the bot is stopping. The tool may have run: check that before calling it again."
Outcome = ToolResult | Wait


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A call with the task that makes it."""

    call_id: str
    live: LiveCall
    task: asyncio.Task[Outcome]
    timer: asyncio.TimerHandle | None = None  # while it is parked


class LiveCalls:
    """The running calls of one toolset, and those whose servers wait for a person. The tasks are of the toolset."""

    def __init__(self, owners: asyncio.TaskGroup) -> None:
        self._owners = owners
        self._running: set[asyncio.Task[Outcome]] = set()
        self._parked: dict[str, _Kept] = {}
        self._is_closed = False

    async def run(self, call_id: str, live: LiveCall, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Return the outcome of the work, or what its server asks meanwhile; the work then goes on.

        Cancelling this cancels the work.
        """
        if self._is_closed:
            work.close()
            return ToolResult(call_id=call_id, text=_UNSENT, outcome="unavailable")
        task = self._owners.create_task(work, name="tool-call")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: live.news.set())
        return await self._next(_Kept(call_id=call_id, live=live, task=task))

    async def resume(self, pending: Pending, result: ElicitResult, *, progress: Progress) -> Outcome | None:
        """Give the server its answer and return how the call goes on; None where it is not a call of this process."""
        kept = self._unpark(pending)
        if kept is None:
            return None
        kept.live.progress = progress
        kept.live.answer(pending.inquiries[0].key, result)
        return await self._next(kept)

    async def end(self, pending: Pending) -> None:
        """End a call that nobody waits for any more; its server learns that."""
        if (kept := self._unpark(pending)) is not None:
            kept.live.answer(pending.inquiries[0].key, ElicitResult(action="cancel"))
            kept.task.cancel()
            await asyncio.wait({kept.task})

    def close(self) -> None:
        """Cancel all calls, and take no more; their tasks' owner waits for them."""
        self._is_closed = True
        for kept in self._parked.values():
            if kept.timer is not None:
                kept.timer.cancel()
        self._parked.clear()
        for task in self._running:
            task.cancel()

    async def _next(self, kept: _Kept) -> Outcome:
        try:
            while not kept.task.done():
                if (inquiry := kept.live.question) is not None:
                    return self._park(kept, inquiry)
                kept.live.news.clear()
                await kept.live.news.wait()
        except asyncio.CancelledError:
            kept.task.cancel()
            await asyncio.wait({kept.task})
            raise
        if kept.task.cancelled():
            return ToolResult(call_id=kept.call_id, text=_CLOSED, outcome="interrupted")
        return kept.task.result()

    def _park(self, kept: _Kept, inquiry: Inquiry) -> Outcome:
        live = kept.live
        live.progress = _ignore
        kept.timer = asyncio.get_running_loop().call_later(EXPIRES_S + _GRACE_S, self._give_up, live.id)
        self._parked[live.id] = kept
        wait = Pending(kind="live", server=live.server, tool=live.tool, inquiries=(inquiry,), live=live.id).wait()
        assert wait is not None  # it has a question without an answer
        return wait

    def _unpark(self, pending: Pending) -> _Kept | None:
        kept = self._parked.pop(pending.live, None)
        if kept is not None and kept.timer is not None:
            kept.timer.cancel()
        return kept

    def _give_up(self, live_id: str) -> None:
        if (kept := self._parked.pop(live_id, None)) is not None:
            kept.task.cancel()


def _ignore(_said: str) -> None:
    pass
