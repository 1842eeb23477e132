"""The lease of a process: when others must have thought that it was dead, all that it holds is looked at again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from bot.ports.work_store import WorkStore
from bot.turns.lease import WorkerLease

WAIT_S = 30.0


@dataclass
class Database:
    """Renews leases as soon as it may."""

    answers: asyncio.Event = field(default_factory=asyncio.Event)
    is_known: bool = True

    async def heartbeat(self, worker: str, *, lease_s: float) -> bool:
        await self.answers.wait()
        return self.is_known


async def until_lost(lease: WorkerLease) -> None:
    async with asyncio.timeout(WAIT_S):
        while lease.is_held():  # noqa: ASYNC110  (the time that passes sets no event)
            await asyncio.sleep(0.01)


async def test_a_renewal_that_is_answered_after_the_lease_has_run_out_is_the_end_of_a_gap() -> None:
    database, gaps = Database(), list[bool]()
    lease = WorkerLease(cast("WorkStore", database), "here", lease_s=0.3)

    async def note_gap() -> None:
        gaps.append(lease.is_held())

    lease.on_gap(note_gap)
    database.answers.set()
    await lease.renew()
    assert gaps == [False]
    database.answers.clear()
    renewing = asyncio.create_task(lease.renew())  # asked while it was held
    await until_lost(lease)
    database.answers.set()
    await renewing
    assert gaps == [False, False]


async def test_a_renewal_in_time_is_the_end_of_no_gap_unless_the_process_was_forgotten() -> None:
    database, gaps = Database(), list[str]()
    lease = WorkerLease(cast("WorkStore", database), "here", lease_s=WAIT_S)

    async def note_gap() -> None:
        gaps.append("gap")

    database.answers.set()
    await lease.renew()
    lease.on_gap(note_gap)
    await lease.renew()
    assert gaps == []
    database.is_known = False
    await lease.renew()
    assert gaps == ["gap"]
    assert lease.is_held()
