"""What is sent of turns, and no longer is once the process may have lost them."""

from __future__ import annotations

import asyncio

import pytest

from adapters.shared.fence import check_held, only_while
from bot.domain.errors import AdapterError


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
