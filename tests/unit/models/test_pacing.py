"""The endpoint's own limits: who waits, for how long, and who is next."""

from __future__ import annotations

import asyncio

import pytest

from bot.models.pacing import Pacer
from bot.ports.cluster import LoneCluster

FULL = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "200ms"}


async def admit(pacer: Pacer, *askers: str, tokens: int = 0) -> list[str]:
    """Ask for all at once and return the askers in the order in which they were admitted."""
    order: list[str] = []

    async def one(asker: str) -> None:
        await pacer.admit(asker, tokens=tokens, on_wait=lambda _: None)
        order.append(asker)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for asker in askers:
            group.create_task(one(asker))
    return order


async def test_without_limits_nobody_waits() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=None)
    assert await admit(pacer, *"aaab") == ["a", "a", "a", "b"]
    assert not pacer.counts_tokens


async def test_a_minutes_requests_are_spread_after_a_burst() -> None:
    pacer = Pacer(requests_per_minute=600, tokens_per_minute=None)  # a burst of 100, then ten a second
    started = asyncio.get_running_loop().time()
    await admit(pacer, *("a" for _ in range(103)))
    assert 0.25 <= asyncio.get_running_loop().time() - started < 5


async def test_someone_with_many_questions_does_not_hold_up_the_first_of_another() -> None:
    pacer = Pacer(requests_per_minute=1200, tokens_per_minute=None)
    await admit(pacer, *("a" for _ in range(200)))  # the burst is spent
    order = await admit(pacer, "a", "a", "a", "a", "a", "a", "b", "c")
    assert order.index("b") <= 2 and order.index("c") <= 3


async def test_tokens_are_counted_and_corrected_by_what_the_endpoint_counted() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=60_000)  # a thousand a second
    waits: list[float] = []
    await pacer.admit("a", tokens=60_000, on_wait=waits.append)
    pacer.settle(estimated=60_000, used=59_900)
    assert waits == []
    await pacer.admit("a", tokens=300, on_wait=waits.append)
    assert waits and waits[0] == pytest.approx(0.2, abs=0.05)


async def test_a_request_larger_than_a_minutes_tokens_goes_when_the_minute_is_full() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=1_000)
    assert await admit(pacer, "a", tokens=5_000) == ["a"]


async def test_what_the_headers_say_is_left_is_kept_to_until_it_is_reset() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=None)
    pacer.learn(FULL)
    waits: list[float] = []
    async with asyncio.timeout(10):
        await pacer.admit("a", tokens=0, on_wait=waits.append)
        assert waits and waits[0] == pytest.approx(0.2, abs=0.05)
        await pacer.admit("a", tokens=0, on_wait=waits.append)
    assert len(waits) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"},
        {"x-ratelimit-remaining-requests": "0" * 5_000, "x-ratelimit-reset-requests": "1s"},
    ],
)
async def test_headers_that_say_nothing_plain_hold_nothing_up(headers: dict[str, str]) -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=None)
    pacer.learn(headers)
    assert await admit(pacer, "a") == ["a"]


async def test_someone_who_leaves_gives_the_place_to_the_next() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=None)
    pacer.learn(FULL)
    leaving = asyncio.create_task(pacer.admit("a", tokens=0, on_wait=lambda _: None))
    staying = asyncio.create_task(pacer.admit("b", tokens=0, on_wait=lambda _: None))
    await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(10):
        await staying
    assert leaving.cancelled()


async def test_of_one_person_the_conversations_take_turns() -> None:
    pacer = Pacer(requests_per_minute=1200, tokens_per_minute=None)
    await admit(pacer, *("a" for _ in range(200)))  # the burst is spent
    order: list[str] = []

    async def one(conversation: str) -> None:
        await pacer.admit("a", conversation=conversation, tokens=0, on_wait=lambda _: None)
        order.append(conversation)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for conversation in "1111112":
            group.create_task(one(conversation))
    assert order.index("2") <= 2


async def test_a_person_who_sends_many_tokens_waits_for_others_to_send_as_many() -> None:
    pacer = Pacer(requests_per_minute=None, tokens_per_minute=600_000)  # ten thousand a second
    await admit(pacer, "a", tokens=600_000)
    order: list[str] = []

    async def one(asker: str, tokens: int) -> None:
        await pacer.admit(asker, tokens=tokens, on_wait=lambda _: None)
        order.append(asker)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(one("large", 1_000))
        for _ in range(5):
            group.create_task(one("small", 100))
    assert order.index("small") <= 1
    assert order[:7].count("small") == 5


class _Company(LoneCluster):
    """Others live, and each place among the requests of all begins a moment later."""

    async def has_company(self, platform: str = "") -> bool:
        return True

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        return 0.02


async def test_people_take_turns_as_well_for_places_among_the_requests_of_several_processes() -> None:
    pacer = Pacer(requests_per_minute=60_000, tokens_per_minute=None, cluster=_Company(), name="one")
    order = await admit(pacer, "a", "a", "a", "a", "a", "a", "b", "c")
    assert order.index("b") <= 2 and order.index("c") <= 3


async def test_one_who_leaves_while_its_place_is_being_taken_holds_up_nobody() -> None:
    pacer = Pacer(requests_per_minute=60_000, tokens_per_minute=None, cluster=_Company(), name="one")
    leaving = asyncio.create_task(admit(pacer, "a"))
    await asyncio.sleep(0.005)
    leaving.cancel()
    assert await admit(pacer, "b") == ["b"]
