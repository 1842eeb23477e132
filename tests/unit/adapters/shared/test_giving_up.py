"""What waits for a platform's rates, once nobody waits for it any longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.shared.buckets import Caller, Priority, Rate
from adapters.shared.common import CommonRates
from adapters.shared.gates import Gate, Turnstile
from bot.domain.errors import RateLimitError
from bot.ports.cluster import LoneCluster
from bot.ports.giving_up import unless_given_up, until

HOUR = Rate(calls=1, period_s=3_600.0)


class Crowded(LoneCluster):
    """Others live, and the next place comes in an hour."""

    async def has_company(self, platform: str = "") -> bool:
        return True

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        return 3_600.0


def caller() -> Caller:
    return Caller(Priority.ANSWER, asyncio.get_running_loop().time())


async def at_a_gate() -> None:
    gate = Gate(HOUR)
    for _ in range(2):
        await gate.passed(caller(), asyncio.get_running_loop().time() + 10_000.0)


async def at_a_turnstile() -> None:
    gate = Turnstile(hold_s=10_000.0)
    async with gate.passed("k", caller(), wait_s=1.0), gate.passed("k", caller(), wait_s=10_000.0):
        pass


async def behind_other_processes() -> None:
    common = CommonRates(Crowded(), platform="slack")
    await common.passed("m", HOUR, caller(), deadline=asyncio.get_running_loop().time() + 10_000.0)


@pytest.mark.parametrize("wait", [at_a_gate, at_a_turnstile, behind_other_processes])
async def test_a_call_that_waits_is_refused_soon_and_was_not_made(wait: Callable[[], Awaitable[None]]) -> None:
    given_up = asyncio.Event()
    with until(given_up):
        waiting = asyncio.ensure_future(wait())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    given_up.set()
    with pytest.raises(RateLimitError):
        async with asyncio.timeout(20):
            await waiting


async def test_a_call_whose_turn_is_next_is_made_all_the_same() -> None:
    given_up, now = asyncio.Event(), asyncio.get_running_loop().time
    given_up.set()
    gate = Gate(Rate(calls=1, period_s=0.2))
    with until(given_up):
        for _ in range(2):
            await gate.passed(caller(), now() + 10_000.0)


async def test_what_is_under_way_ends_before_it_is_left() -> None:
    given_up, is_sent, answered = asyncio.Event(), [True], asyncio.Event()
    given_up.set()

    async def send() -> str:
        await asyncio.sleep(1.0)
        is_sent[0] = False
        answered.set()
        await asyncio.sleep(3_600.0)  # a pause before it is sent again
        return "sent"

    with until(given_up), pytest.raises(RateLimitError):
        async with asyncio.timeout(20):
            await unless_given_up(send(), may_be_left=lambda: not is_sent[0])
    assert answered.is_set()
