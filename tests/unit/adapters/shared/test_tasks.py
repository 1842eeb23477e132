"""Work beside receiving: tasks that end with their owner, one at a time for each key, and only the newest keys."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.shared.tasks import Background, KeyedLock, Newest, RecentKeys, run_together
from bot.domain.errors import AdapterError, StoreError

WAIT_S = 10.0


# --- tasks ---


async def test_only_the_newest_tasks_are_kept_and_the_log_says_once_that_others_were_left() -> None:
    background, left, go_on = Background("test"), list[str](), asyncio.Event()
    newest = Newest[str](2, left.append)
    ended: list[str] = []

    async def wait(name: str) -> None:
        await go_on.wait()
        ended.append(name)

    with capture_logs() as lines:
        for name in ("a", "b", "c", "d"):
            newest.add(background.spawn(wait(name), name=name), name)
            await asyncio.sleep(0)  # it begins
        go_on.set()
        await background.drain(timeout_s=WAIT_S)
    assert (left, ended) == (["a", "b"], ["c", "d"])
    assert [line["event"] for line in lines] == ["too_many_kept"]


async def test_a_task_that_fails_is_logged_and_ends_no_other() -> None:
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


async def test_draining_waits_for_work_and_cancels_what_takes_longer() -> None:
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


# --- one at a time ---


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_holders_of_one_key_follow_each_other_in_order_and_keys_do_not_wait_for_each_other(keys: list[str]) -> None:
    asyncio.run(_enter_all(keys))


async def _enter_all(keys: list[str]) -> None:
    locks: KeyedLock[str] = KeyedLock()
    inside, passed, most = dict.fromkeys("abc", 0), list[tuple[str, int]](), 0

    async def enter(key: str, number: int) -> None:
        nonlocal most
        async with locks.hold(key):
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
    assert not locks._locks  # pyright: ignore[reportPrivateUsage]  (a lock for each channel ever seen would stay)


async def test_a_holder_that_fails_or_is_cancelled_makes_room_for_the_next_one() -> None:
    locks: KeyedLock[str] = KeyedLock()
    entered = asyncio.Event()

    async def hold() -> None:
        async with locks.hold("a"):
            entered.set()
            await asyncio.Event().wait()

    async def wait_behind() -> None:
        async with locks.hold("a"):
            raise AssertionError("it was cancelled while it waited")

    async with asyncio.timeout(WAIT_S):
        holding = asyncio.create_task(hold())
        await entered.wait()
        waiting = asyncio.create_task(wait_behind())
        await asyncio.sleep(0)
        waiting.cancel()
        holding.cancel()
        with pytest.raises(ValueError, match="mine"):
            async with locks.hold("a"):
                raise ValueError("mine")
        async with locks.hold("a"):
            pass
        await asyncio.gather(holding, waiting, return_exceptions=True)


# --- parts that run together ---


async def test_the_first_part_that_fails_ends_the_others_and_is_raised_itself() -> None:
    ended = list[str]()

    async def receive() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("receive")

    async def fail() -> None:
        raise AdapterError("No.", is_permanent=True)

    with pytest.raises(AdapterError, match="No"):
        async with asyncio.timeout(WAIT_S):
            await run_together("test", receive=receive(), fail=fail())
    assert ended == ["receive"]


# --- recent keys ---

_KEYS = st.integers(min_value=0, max_value=8)
_STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard"]), _KEYS), max_size=40)


@given(_STEPS, st.integers(min_value=1, max_value=5))
def test_the_newest_keys_are_kept_and_the_oldest_forgotten(steps: list[tuple[str, int]], size: int) -> None:
    recent: RecentKeys[int] = RecentKeys(size)
    model: OrderedDict[int, None] = OrderedDict()
    for step, key in steps:
        if step == "add":
            assert recent.add(key) == (key not in model)
            model.pop(key, None)
            model[key] = None
            model = OrderedDict(list(model.items())[-size:])
        else:
            recent.discard(key)
            model.pop(key, None)
        assert {each for each in range(9) if each in recent} == set(model)
