"""What is sent of turns, and no longer is once the process may have lost them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.shared.fence import Hold, check_held, only_while
from bot.domain.errors import AdapterError
from bot.turns.cluster import ProcessCluster
from bot.turns.lease import WorkerLease


def test_what_belongs_to_no_turn_is_always_sent() -> None:
    check_held()


async def test_what_a_task_sends_for_a_turn_is_refused_from_when_the_lease_has_run_out() -> None:
    is_held, goes_on = [True], asyncio.Event()

    async def write() -> None:
        check_held()
        await goes_on.wait()  # for its slot, for example
        check_held()

    with only_while(lambda: is_held[0]):
        writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    is_held[0] = False
    goes_on.set()
    with pytest.raises(AdapterError, match="paused") as caught:
        await writing
    assert not caught.value.is_permanent
    check_held()


def test_a_block_within_another_one_keeps_to_both() -> None:
    is_held, is_ours = [True], [True]
    with only_while(lambda: is_held[0]), only_while(lambda: is_ours[0]):
        check_held()
        is_held[0] = False
        with pytest.raises(AdapterError):
            check_held()
        is_held[0], is_ours[0] = True, False
        with pytest.raises(AdapterError):
            check_held()


async def test_what_was_begun_before_a_gap_in_the_lease_is_not_sent_after_it_either() -> None:
    class Store:
        is_known = False

        async def heartbeat(self, worker: str, *, lease_s: float) -> bool:
            return self.is_known

    store: Any = Store()
    lease = WorkerLease(store, "w", lease_s=3_600.0)
    hold = Hold(ProcessCluster(store=store, worker="w", lease=lease))
    await lease.renew()
    store.is_known = True
    before = hold.from_now()
    await lease.renew()
    assert before()
    store.is_known = False  # others took it for dead
    await lease.renew()
    assert not before() and hold.from_now()()
