"""Rates of a platform that hold for several processes, and what only one of them does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from adapters.shared.buckets import Caller, Priority, Rate
from adapters.shared.common import CommonRates
from bot.domain.errors import RateLimitError
from bot.domain.rota import Share
from bot.ports.cluster import LoneCluster
from bot.ports.once import Once

WAIT_S = 20.0
RATE = Rate(calls=1, period_s=1.0)


@dataclass
class Company(LoneCluster):
    """Others live; each place begins when the test says so, and what is asked for is kept."""

    wait_s: float = 0.0
    reserved: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    held: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    said: set[str] = field(default_factory=set[str])

    async def has_company(self, platform: str = "") -> bool:
        return True

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        self.reserved.append((name, calls, period_s))
        await asyncio.sleep(0)
        return self.wait_s

    async def hold_back(self, name: str, *, calls: float, period_s: float, for_s: float) -> None:
        self.held.append((name, for_s))

    async def is_first(self, name: str, *, within_s: float, platform: str = "", is_lasting: bool = False) -> bool:
        is_first = name not in self.said
        self.said.add(name)
        return is_first


def caller(person: str, priority: Priority = Priority.ANSWER) -> Caller:
    return Caller(priority, asyncio.get_running_loop().time(), Share(person))


async def test_a_process_without_company_asks_nobody_and_waits_for_nothing() -> None:
    common = CommonRates(platform="slack")
    await common.passed("m", RATE, caller("ann"), deadline=0.0)
    await common.refuse("m", RATE, retry_after_s=30)


async def test_with_others_a_call_takes_a_place_in_the_rate_of_all_a_little_slower_than_documented() -> None:
    cluster = Company()
    common = CommonRates(cluster, platform="slack")
    await common.passed("T1/m/C1", RATE, caller("ann"), deadline=asyncio.get_running_loop().time() + WAIT_S)
    await common.refuse("T1/m/C1", RATE, retry_after_s=30)
    ((name, calls, period_s),) = cluster.reserved
    assert (name, calls) == ("slack/T1/m/C1", 1) and 1.0 < period_s <= 1.1
    assert cluster.held == [("slack/T1/m/C1", 30)]


async def test_an_answer_that_comes_later_goes_before_traces_that_wait_for_their_place() -> None:
    cluster, order = Company(wait_s=0.05), list[str]()
    common = CommonRates(cluster, platform="slack")
    deadline = asyncio.get_running_loop().time() + WAIT_S

    async def one(name: str, priority: Priority) -> None:
        await common.passed("m", RATE, caller(name, priority), deadline=deadline)
        order.append(name)

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(one(f"trace {number}", Priority.PROGRESS))
        await asyncio.sleep(0.01)
        group.create_task(one("answer", Priority.ANSWER))
    assert order == ["trace 0", "answer", "trace 1", "trace 2"]


async def test_who_would_wait_longer_than_it_can_is_told_how_long_and_holds_up_nobody() -> None:
    cluster = Company(wait_s=300.0)
    common, now = CommonRates(cluster, platform="slack"), asyncio.get_running_loop().time()
    for _ in range(2):
        with pytest.raises(RateLimitError) as caught:
            await common.passed("m", RATE, caller("ann"), deadline=now + 1)
        assert caught.value.retry_after_s == 300.0


async def test_what_another_process_has_done_is_not_done_again() -> None:
    cluster = Company()
    here, there = (Once("press", cluster, max_keys=2) for _ in range(2))
    assert [await here.add("k"), await here.add("k"), await there.add("k")] == [True, False, False]
    assert "k" in here and "other" not in here
