"""What a process knows of the others that share its database, and what that costs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.ports.cluster import About, Member
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from bot.turns.cluster import ProcessCluster, bounded, forgetting_rates

WAIT_S = 20.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_sqlite(tmp_path / "toolbridge.db") as store, asyncio.timeout(WAIT_S):
        yield store


async def join(store: Store, worker: str, about: About | None = None) -> None:
    await store.heartbeat(worker, lease_s=600)
    if about is not None:
        await store.describe(worker, about)


async def test_a_process_has_company_where_another_serves_the_same_platform(store: Store) -> None:
    await join(store, "a", About(platforms=("slack",)))
    assert not await ProcessCluster(store=store, worker="a").has_company()
    await join(store, "chat", About(platforms=("console",)))
    assert not await ProcessCluster(store=store, worker="a").has_company("slack")
    assert await ProcessCluster(store=store, worker="a").has_company()
    await join(store, "b", About(platforms=("slack", "discord"), is_draining=True))  # it still posts
    assert await ProcessCluster(store=store, worker="a").has_company("slack")


async def test_one_that_has_said_nothing_of_itself_yet_counts_as_company(store: Store) -> None:
    await join(store, "b")
    assert await ProcessCluster(store=store, worker="a").has_company("slack")


@dataclass
class Looks:
    """A store that counts how often its members are looked up, and fails when it is told to."""

    fails: bool = False
    looks: int = 0
    writes: list[str] = field(default_factory=list[str])

    async def members(self) -> Sequence[Member]:
        self.looks += 1
        await asyncio.sleep(0)
        return [Member(worker="b", expires_at=float("inf"))]

    async def reserve(
        self, name: str, *, calls: float, period_s: float, amount: float = 1.0, within_s: float | None = None
    ) -> float:
        self.writes.append(name)
        if self.fails:
            raise StoreError("The database is away.")
        return 3.0


async def test_a_thousand_calls_look_once(store: Store) -> None:
    looks = Looks()
    cluster = ProcessCluster(store=looks, worker="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert await asyncio.gather(*(cluster.has_company() for _ in range(1_000))) == [True] * 1_000
    assert looks.looks == 1


async def test_a_store_that_fails_holds_nobody_up_and_is_left_alone_for_a_while() -> None:
    looks = Looks()
    cluster = ProcessCluster(store=looks, worker="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert await cluster.has_company()
    assert await cluster.reserve("posts", calls=1, period_s=1) == 3.0
    looks.fails = True
    assert await cluster.reserve("posts", calls=1, period_s=1) == 0.0
    assert not await cluster.has_company()


async def test_an_answer_of_the_store_that_does_not_come_is_not_waited_for() -> None:
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(StoreError, match="did not answer"):
        await bounded(never, timeout_s=0.01)
    assert not never.cancelled()


async def test_what_another_process_has_said_is_not_said_again(store: Store) -> None:
    await join(store, "a")
    await join(store, "b")
    here, there = (ProcessCluster(store=store, worker=name) for name in "ab")
    assert await here.is_first("a secret text", within_s=60)
    assert not await there.is_first("a secret text", within_s=60)
    assert await here.is_first("a secret text", within_s=60)  # it knows what it said itself
    assert await there.is_first("another", within_s=60)


async def test_what_a_process_did_that_has_ended_is_known_to_the_next_one_where_it_lasts(store: Store) -> None:
    ended, alone = (ProcessCluster(store=store, worker=name) for name in "ab")
    assert await ended.is_first("it", within_s=60, is_lasting=True)
    assert not await alone.is_first("it", within_s=60, is_lasting=True)
    assert await alone.is_first("it", within_s=60)


async def test_the_longer_of_two_pauses_holds(store: Store) -> None:
    cluster = ProcessCluster(store=store, worker="a")
    await cluster.pause("model", for_s=30)
    await cluster.pause("model", for_s=10)
    assert 25 < await cluster.paused_s("model") <= 30
    assert await cluster.paused_s("another") == 0.0


async def test_what_means_nothing_any_more_is_forgotten_meanwhile(store: Store, tmp_path: Path) -> None:
    await store.hold_back("old", calls=1, period_s=1, for_s=-4_000)
    await store.announce("new", "told", for_s=60)
    with sqlite3.connect(tmp_path / "toolbridge.db") as connection:
        async with forgetting_rates(store, every_s=0.01):
            while True:
                if connection.execute("SELECT name FROM rate").fetchall() == [("new",)]:
                    break
                await asyncio.sleep(0.01)
    assert await store.announced("new") is not None
