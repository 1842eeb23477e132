"""What the doctor says of the processes that share a database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cli.processes import check_processes
from bot.ports.cluster import About
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from tests.contracts.stores import Clock, ask, begin

START = 1_800_000_000.0  # 2027-01-15 08:00 UTC
BLUE = About(
    name="blue", version="0.2.0", settings="aa", policy="dd", platforms=("slack", "discord"), started_at=START - 60
)
GREEN = replace(BLUE, name="green", started_at=START)
SERVED = ("slack", "discord")


@pytest.fixture
def clock() -> Clock:
    return Clock(now=START)


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncGenerator[Store]:
    async with open_sqlite(tmp_path / "a.db", now=clock, steady=clock.steady) as store:
        yield store


async def live(store: Store, *abouts: About) -> None:
    for about in abouts:
        await store.heartbeat(about.name, lease_s=15)
        await store.describe(about.name, about)


async def test_without_a_process_it_says_so_where_something_is_open(store: Store, clock: Clock) -> None:
    assert await check_processes(store, served=SERVED, now=START) == []
    await store.heartbeat("worker-here", lease_s=15)
    await ask(store)
    clock.now += 20
    [line] = await check_processes(store, served=SERVED, now=clock.now)
    assert (line.state, line.output) == ("ok", ())
    assert line.detail == "none alive; 1 question open, the oldest for 20 s"


async def test_each_is_a_line_with_what_it_holds(store: Store, clock: Clock) -> None:
    await live(store, BLUE, GREEN)
    for name in ("discord/7/shard/0/of/4", "discord/7/shard/2/of/4", "slack/A1/socket/0", "slack/A1/socket/1"):
        await store.take_slot(name, "blue")
    await store.take_slot("discord/7/shard/1/of/4", "green")
    await store.take_slot("discord/7/identify/0", "green")
    clock.now += 5
    [line] = await check_processes(store, served=SERVED, now=clock.now)
    assert line.detail == "2 processes alive; 0 questions open"
    assert line.output == (
        "blue, version 0.2.0, slack and discord, since 2027-01-15 07:59 UTC, shards 0, 2 of 4, 2 sockets,"
        " lease for 10 s more",
        "green, version 0.2.0, slack and discord, since 2027-01-15 08:00 UTC, shard 1 of 4, lease for 10 s more",
    )
    clock.now += 11
    assert await check_processes(store, served=SERVED, now=clock.now) == []


async def test_the_oldest_open_question_has_its_age_and_those_that_wait_for_people_are_apart(
    store: Store, clock: Clock
) -> None:
    await store.heartbeat("worker-here", lease_s=60)
    waits = await begin(store)
    await store.park(waits, [], wakes_at=clock.now + 600)
    clock.now += 1
    await begin(store, "hall")
    clock.now += 41
    [line] = await check_processes(store, served=SERVED, now=clock.now)
    assert line.detail == "1 process alive; 1 question open, the oldest for 41 s, 1 more waits for people"


async def test_processes_with_other_settings_or_rules_are_named(store: Store) -> None:
    await live(store, BLUE, replace(GREEN, settings="bb"), replace(GREEN, name="red", policy="ee"))
    _, settings, policy = await check_processes(store, served=SERVED, now=START)
    assert settings.state == policy.state == "failed"
    assert settings.detail == "these processes do not have the same settings: blue, red (aa); green (bb)."
    assert policy.detail == "these processes do not have the same policy: blue, green (dd); red (ee)."
    assert "toolbridge.toml" in policy.cure and "restart" in settings.cure


@pytest.mark.parametrize(
    "other",
    [
        replace(GREEN, settings="bb", is_draining=True),
        replace(GREEN, settings="bb", platforms=("console",)),
        replace(GREEN, settings="", version="0.1.0"),
    ],
    ids=["ends", "chats", "says-none"],
)
async def test_one_that_ends_or_chats_in_a_terminal_or_says_nothing_differs_from_none(
    store: Store, other: About
) -> None:
    await live(store, BLUE, other)
    [line] = await check_processes(store, served=SERVED, now=START)
    assert len(line.output) == 2


async def test_a_name_steers_no_terminal(store: Store) -> None:
    await live(store, replace(BLUE, name="a\x1b[31mb\nc"))
    [line] = await check_processes(store, served=SERVED, now=START)
    assert "\x1b" not in line.output[0] and "\n" not in line.output[0]
