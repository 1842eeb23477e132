"""A turnstile: one at a time, people in turn, and nobody held up by what hangs or leaves."""

from __future__ import annotations

import asyncio

import pytest

from adapters.shared.buckets import Caller, Priority
from adapters.shared.gates import Turnstile
from bot.domain.errors import RateLimitError
from bot.domain.rota import Share

WAIT_S = 20.0


def caller(person: str, *, since: float = 0.0, priority: Priority = Priority.ANSWER) -> Caller:
    return Caller(priority, since, Share(person))


async def run(gate: Turnstile, *callers: Caller, key: str = "k") -> list[str]:
    """Let them come at once, in this order; return in which order they went through."""
    order: list[str] = []
    inside = 0

    async def one(each: Caller) -> None:
        nonlocal inside
        async with gate.passed(key, each, wait_s=WAIT_S):
            inside += 1
            assert inside == 1
            order.append(each.share.person)
            await asyncio.sleep(0.001)
            inside -= 1

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        for each in callers:
            group.create_task(one(each))
    return order


async def test_one_goes_through_at_a_time_and_people_take_turns() -> None:
    gate = Turnstile(hold_s=WAIT_S)
    order = await run(gate, *(caller("ann", since=number) for number in range(6)), caller("bob", since=9.0))
    assert order.index("bob") <= 2
    assert await run(gate, caller("ann")) == ["ann"]  # nothing is left behind


async def test_answers_go_before_progress() -> None:
    now = asyncio.get_running_loop().time()
    gate = Turnstile(hold_s=WAIT_S)
    traces = [caller("ann", since=now, priority=Priority.PROGRESS) for _ in range(4)]
    assert (await run(gate, *traces, caller("bob", since=now)))[1] == "bob"


async def test_one_that_hangs_holds_up_no_other_for_long() -> None:
    gate, hanging = Turnstile(hold_s=0.05), asyncio.Event()

    async def hang() -> None:
        async with gate.passed("k", caller("ann"), wait_s=WAIT_S):
            await hanging.wait()

    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    assert await run(gate, caller("bob")) == ["bob"]
    hanging.set()
    await task
    assert await run(gate, caller("bob"), caller("ann")) == ["bob", "ann"]


async def test_one_whose_turn_does_not_come_is_told_to_wait_and_one_that_leaves_gives_up_its_place() -> None:
    gate = Turnstile(hold_s=WAIT_S)
    async with gate.passed("k", caller("ann"), wait_s=WAIT_S):
        with pytest.raises(RateLimitError):
            async with gate.passed("k", caller("bob"), wait_s=0.01):
                raise AssertionError("it is not its turn")
        leaving = asyncio.create_task(run(gate, caller("eve")))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert await run(gate, caller("bob"), key="another") == ["bob"]
    assert await run(gate, caller("bob")) == ["bob"]
