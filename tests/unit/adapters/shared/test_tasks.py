"""Work beside receiving: tasks that end with their owner, one at a time for each key, and the newest entries alone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.shared.tasks import Background, Queues, Recent
from bot.domain.errors import StoreError

WAIT_S = 10.0


# --- tasks ---


async def test_a_task_that_fails_is_told_in_the_log_and_takes_no_other_with_it() -> None:
    background, done = Background("test"), asyncio.Event()

    async def fail(error: Exception) -> None:
        raise error

    async def end() -> None:
        done.set()

    with capture_logs() as logs:
        failing = [
            background.spawn(fail(StoreError("The database is full.")), name="store"),
            background.spawn(fail(KeyError("x")), name="bug"),
        ]
        background.spawn(end(), name="other")
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*failing)
            await done.wait()
    foreseen, bug = logs
    assert (foreseen["task"], foreseen["error"], foreseen["log_level"]) == ("store", "The database is full.", "warning")
    assert (bug["task"], bug["log_level"], bug["exc_info"]) == ("bug", "error", True)


async def test_draining_lets_work_end_in_its_time_and_cancels_what_takes_longer() -> None:
    background, go_on, ended = Background("test"), asyncio.Event(), list[str]()

    async def work(name: str, until: asyncio.Event) -> None:
        try:
            await until.wait()
            ended.append(f"{name} ended")
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    background.spawn(work("quick", go_on), name="quick")
    endless = background.spawn(work("endless", asyncio.Event()), name="endless")
    asyncio.get_running_loop().call_later(0.02, go_on.set)
    async with asyncio.timeout(WAIT_S):
        await background.drain(timeout_s=0.2)
    assert ended == ["quick ended", "endless cancelled"]
    assert endless.cancelled()


async def test_draining_where_nothing_is_under_way_returns_at_once() -> None:
    async with asyncio.timeout(WAIT_S):
        await Background("test").drain(timeout_s=3_600)


# --- queues ---


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_of_one_key_one_at_a_time_gets_through_in_order_and_keys_do_not_wait_for_each_other(keys: list[str]) -> None:
    asyncio.run(_enter_all(keys))


async def _enter_all(keys: list[str]) -> None:
    queues: Queues[str] = Queues()
    inside, passed, most = dict.fromkeys("abc", 0), list[tuple[str, int]](), 0

    async def enter(key: str, number: int) -> None:
        nonlocal most
        async with queues.turn(key):
            inside[key] += 1
            assert inside[key] == 1
            most = max(most, sum(inside.values()))
            await asyncio.sleep(0)
            passed.append((key, number))
            inside[key] -= 1

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        for number, key in enumerate(keys):
            group.create_task(enter(key, number))
    for key in "abc":
        assert [number for at, number in passed if at == key] == [n for n, each in enumerate(keys) if each == key]
    assert most == len(set(keys))
    assert not queues._locks  # pyright: ignore[reportPrivateUsage]  (a lock for each channel ever seen would stay)


async def test_whoever_fails_or_is_cancelled_in_a_queue_lets_the_next_one_in() -> None:
    queues: Queues[str] = Queues()
    entered = asyncio.Event()

    async def hold() -> None:
        async with queues.turn("a"):
            entered.set()
            await asyncio.Event().wait()

    async def wait_behind() -> None:
        async with queues.turn("a"):
            raise AssertionError("it was cancelled before its turn")

    async with asyncio.timeout(WAIT_S):
        holding = asyncio.create_task(hold())
        await entered.wait()
        waiting = asyncio.create_task(wait_behind())
        await asyncio.sleep(0)
        waiting.cancel()
        holding.cancel()
        with pytest.raises(ValueError, match="mine"):
            async with queues.turn("a"):
                raise ValueError("mine")
        async with queues.turn("a"):
            pass
        await asyncio.gather(holding, waiting, return_exceptions=True)


# --- recent entries ---

_KEYS = st.integers(min_value=0, max_value=8)
_STEPS = st.lists(st.tuples(st.sampled_from(["put", "pop"]), _KEYS, st.integers()), max_size=40)


@given(_STEPS, st.integers(min_value=1, max_value=5))
def test_the_newest_entries_are_kept_and_the_oldest_forgotten(steps: list[tuple[str, int, int]], size: int) -> None:
    recent: Recent[int, int] = Recent(size)
    model: OrderedDict[int, int] = OrderedDict()
    for step, key, value in steps:
        if step == "put":
            recent.put(key, value)
            model.pop(key, None)
            model[key] = value
            model = OrderedDict(list(model.items())[-size:])
        else:
            assert recent.pop(key) == model.pop(key, None)
        assert {each: recent.get(each) for each in range(9) if each in recent} == dict(model)
