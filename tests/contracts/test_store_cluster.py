"""What every store promises to processes that share it; see `bot.ports.cluster_store.ClusterStore`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.ports.cluster import About
from bot.ports.cluster_store import Announcement, Counted, OpenTurns
from bot.ports.store import Store
from tests.contracts.stores import HERE, LEASE_S, THERE, Clock, ask, begin, finish

ABOUT = About(name="here:1", version="0.1.0", settings="ab", policy="cd", platforms=("slack",), started_at=5.0)


async def test_members_are_those_who_live_with_what_they_say_of_themselves(store: Store, clock: Clock) -> None:
    await store.describe(HERE, ABOUT)
    await store.describe("nobody", ABOUT)
    assert [(member.worker, member.about) for member in await store.members()] == [(THERE, About()), (HERE, ABOUT)]
    clock.now += LEASE_S / 2
    await store.heartbeat(HERE, lease_s=LEASE_S)
    clock.now += LEASE_S / 2
    assert [member.worker for member in await store.members()] == [HERE]
    assert (await store.members())[0].about == ABOUT


async def test_a_slot_has_one_holder_as_long_as_that_lives(store: Store, clock: Clock) -> None:
    held = await store.take_slot("shard/0", HERE)
    assert held is not None
    assert (held.worker, held.fence, held.is_held) == (HERE, 1, True)
    assert await store.take_slot("shard/0", THERE) is None
    assert await store.take_slot("shard/1", THERE) is not None
    clock.now += LEASE_S
    await store.heartbeat(THERE, lease_s=LEASE_S)
    taken = await store.take_slot("shard/0", THERE)
    assert taken is not None
    assert taken.fence == 2


async def test_who_lost_a_slot_neither_notes_nor_gives_it(store: Store) -> None:
    held = await store.take_slot("shard/0", HERE)
    assert held is not None
    assert await store.note_slot(held, "session 7")
    await store.give_slot(held)
    taken = await store.take_slot("shard/0", THERE)
    assert taken is not None
    assert taken.note == "session 7"
    assert not await store.note_slot(held, "too late")
    await store.give_slot(held)
    assert [(slot.worker, slot.note, slot.is_held) for slot in await store.slots("shard/")] == [
        (THERE, "session 7", True)
    ]
    assert not await store.slots("shard/1")


async def test_a_slot_rests_after_it_was_taken_also_for_its_holder(store: Store, clock: Clock) -> None:
    assert await store.take_slot("identify", HERE, rest_s=5) is not None
    assert await store.take_slot("identify", HERE, rest_s=5) is None
    clock.now += 5
    assert await store.take_slot("identify", THERE, rest_s=5) is None  # its holder lives
    again = await store.take_slot("identify", HERE, rest_s=5)
    assert again is not None
    assert again.fence == 2
    clock.set(-3600)
    assert await store.take_slot("identify", HERE, rest_s=5) is not None  # taken in the future: the clock was set


async def test_what_is_open_is_counted_without_what_waits_for_people(store: Store, clock: Clock) -> None:
    assert await store.open_turns() == OpenTurns()
    first, began_at = await begin(store), clock.now
    clock.now += 5
    second = await begin(store, "hall")
    assert await store.open_turns() == OpenTurns(count=2, oldest_at=began_at)
    await store.park(first, [], wakes_at=clock.now + 60)
    waiting = OpenTurns(waiting=1, oldest_waiting_at=began_at)
    assert await store.open_turns() == replace(waiting, count=1, oldest_at=clock.now)
    await ask(store, "cellar")
    assert await store.open_turns() == replace(waiting, count=2, queued=1, oldest_at=clock.now)
    await finish(store, second)
    assert await store.open_turns() == replace(waiting, count=1, queued=1, oldest_at=clock.now)


async def test_each_commit_is_told_with_the_number_of_writes_in_it(store: Store) -> None:
    batches: list[int] = []
    store.measure(batches.append)
    await asyncio.gather(*(store.put_note(f"note {number}", "text") for number in range(20)))
    assert sum(batches) == 20 and len(batches) < 20


async def test_a_write_that_stays_undone_can_be_tried(store: Store) -> None:
    before = await store.members()
    await asyncio.gather(*(store.check_writing() for _ in range(3)))
    assert await store.members() == before


async def test_a_rate_is_spent_by_all_and_says_when_there_is_more(store: Store, clock: Clock) -> None:
    assert [await store.spend("ask/U1", calls=3, period_s=60, key=str(key)) for key in range(3)] == [0.0, 0.0, 0.0]
    assert await store.spend("ask/U1", calls=3, period_s=60, key="2") == 0.0  # was counted before
    assert await store.spend("ask/U1", calls=3, period_s=60, key="3") == pytest.approx(20)
    assert await store.spend("ask/U1", calls=3, period_s=60) == pytest.approx(20)
    assert await store.spend("ask/U2", calls=3, period_s=60) == 0.0
    clock.now += 20
    assert await store.spend("ask/U1", calls=3, period_s=60) == 0.0
    assert await store.spend("ask/U1", calls=3, period_s=60) == pytest.approx(20)


async def test_reserved_places_follow_each_other_and_a_pause_moves_them(store: Store, clock: Clock) -> None:
    waits = [await store.reserve("posts", calls=2, period_s=2) for _ in range(4)]
    assert waits == pytest.approx([0, 0, 1, 2])
    assert await store.reserve("posts", calls=2, period_s=2, within_s=2.5) == pytest.approx(3)  # and takes none
    assert await store.reserve("posts", calls=2, period_s=2, within_s=3.5) == pytest.approx(3)
    await store.hold_back("posts", calls=2, period_s=2, for_s=30)
    await store.hold_back("posts", calls=2, period_s=2, for_s=10)  # the longer one holds
    assert [await store.reserve("posts", calls=2, period_s=2) for _ in range(2)] == pytest.approx([30, 31])
    clock.now += 100
    assert await store.reserve("posts", calls=2, period_s=2) == 0.0


async def test_a_place_may_be_as_long_as_several(store: Store) -> None:
    waits = [await store.reserve("tokens", calls=600, period_s=60, amount=amount) for amount in (400, 200, 100, 1)]
    assert waits == pytest.approx([0, 0, 10, 10.1])


async def test_so_many_are_counted_within_any_period_whoever_counts_them(store: Store, clock: Clock) -> None:
    async def count(*keys: str) -> Counted:
        return await store.count("ask/U1", keys=keys, calls=2, period_s=60, rest_s=10)

    assert await count("a") == Counted()
    clock.now += 30
    assert [await count("b"), await count("a"), await count("x", "b")] == [Counted()] * 3  # each counts once
    refused = await count("c")
    assert (refused.wait_s, refused.is_told) == (pytest.approx(30), False)
    clock.now += 29
    refused = await count("d")
    assert (refused.wait_s, refused.is_told) == (pytest.approx(1), True)
    clock.now += 1
    assert await count("e") == Counted()
    refused = await count("f")
    assert (refused.wait_s, refused.is_told) == (pytest.approx(30), False)
    assert await store.count("ask/U2", keys=["f"], calls=2, period_s=60) == Counted()


async def test_a_rest_is_never_shorter_than_asked_and_a_clock_that_was_set_back_ends_it(
    store: Store, clock: Clock
) -> None:
    async def count(key: str) -> Counted:
        return await store.count("ask/U1", keys=[key], calls=1, period_s=5, rest_s=20)

    assert await count("a") == Counted()
    assert (await count("b")).wait_s == pytest.approx(20)
    clock.now += 19
    assert (await count("c")).is_told
    clock.set(-3600)
    assert await count("d") == Counted()


async def test_a_mark_holds_for_its_time_unless_it_is_taken_back(store: Store, clock: Clock) -> None:
    await store.announce("talk/1", "asked", for_s=60)
    clock.now += 10
    assert await store.announced("talk/1") == Announcement(text="asked", for_s=pytest.approx(50))
    await store.announce("talk/1", "answered", for_s=60)
    assert await store.announced("talk/1") == Announcement(text="answered", for_s=pytest.approx(60))
    await store.announce("talk/1", None)
    assert await store.announced("talk/1") is None
    await store.announce("talk/1", "asked", for_s=60)
    clock.now += 61
    assert await store.announced("talk/1") is None


async def test_what_nobody_uses_any_more_is_forgotten(store: Store, clock: Clock) -> None:
    await store.reserve("posts", calls=1, period_s=1)
    await store.count("ask/U1", keys=["a"], calls=1, period_s=7200)
    await store.announce("talk/1", "asked", for_s=60)
    clock.now += 3700
    assert await store.forget_rates(unused_s=3600) == 2
    assert (await store.count("ask/U1", keys=["b"], calls=1, period_s=7200)).wait_s == pytest.approx(3500)


async def test_a_slot_rests_also_for_a_process_whose_clock_is_a_little_behind(store: Store, clock: Clock) -> None:
    held = await store.take_slot("identify", HERE, rest_s=5)
    assert held is not None
    await store.give_slot(held)
    clock.now -= 0.01
    assert await store.take_slot("identify", THERE, rest_s=5) is None
