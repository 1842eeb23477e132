"""What every Store keeps to, whatever it stores in; each test runs on a real database, opened as a process opens it."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.answers import Known, Queued
from bot.domain.budgets import Spent
from bot.domain.errors import LeaseLostError, StoreError
from bot.domain.events import ConversationKey, MessageReceived, Quoted, SharedFile
from bot.domain.messages import (
    AssistantMessage,
    Attachment,
    Message,
    ModelAnswer,
    ToolCall,
    ToolMessage,
    ToolResult,
    Usage,
    UserMessage,
)
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallStarted,
    CallWaiting,
    ModelAnswered,
    Step,
)
from bot.ports.conversation_store import ConversationSummary, History, Knowledge, ToolMemory
from bot.ports.intake_store import Full, OwnBounds
from bot.ports.store import Store, author_key
from bot.ports.work_store import Lease, Signal, ToolUse
from bot.text.cleaning import clean
from tests.contracts.stores import (
    ALL,
    ASKER,
    HERE,
    LEASE_S,
    STARTED,
    THERE,
    Clock,
    OpenStore,
    accepted,
    answer,
    ask,
    begin,
    claim,
    claim_one,
    finish,
    numbers,
    post,
    question,
    room,
    said,
    thread,
)

property_test = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# --- accepting -------------------------------------------------------------------------------------------------


async def test_an_accepted_message_is_a_queued_turn_that_can_be_claimed(store: Store) -> None:
    event = question()
    outcome = await store.accept(event, worker=HERE, max_waiting=20)
    turn = await claim_one(store)
    assert outcome == Queued(turn_id=turn.lease.turn_id)
    assert turn.event == event
    assert turn.state == "running" and not turn.stop_requested
    assert (turn.lease.attempt, turn.wakes) == (1, 0)


async def test_a_redelivered_message_is_the_turn_that_it_was_before(store: Store) -> None:
    event = question()
    first = await accepted(store, event)
    assert await store.accept(event, worker=THERE, max_waiting=20) == Known(turn_id=first)
    assert await claim(store, worker=THERE) == []
    assert await claim(store) == [first]


async def test_a_redelivery_is_recognised_after_the_store_was_closed_and_opened_again(opened: OpenStore) -> None:
    event = question()
    async with opened() as store:
        first = await accepted(store, event)
    async with opened() as store:
        assert await store.accept(event, worker=HERE, max_waiting=20) == Known(turn_id=first)


async def test_a_hundred_deliveries_at_once_through_two_processes_are_one_turn(store: Store, opened: OpenStore) -> None:
    event = question()
    async with opened() as other:
        outcomes = await asyncio.gather(
            *((store, other)[number % 2].accept(event, worker=HERE, max_waiting=20) for number in range(100))
        )
    (turn_id,) = await claim(store)
    assert outcomes.count(Queued(turn_id=turn_id)) == 1
    assert outcomes.count(Known(turn_id=turn_id)) == 99


async def test_a_redelivery_is_recognised_after_its_turn_has_ended_and_was_cleared(store: Store) -> None:
    event = question()
    first = await accepted(store, event)
    await finish(store, (await claim_one(store)).lease, *said("a"))
    await store.clear(event.conversation)
    assert await store.accept(event, worker=HERE, max_waiting=20) == Known(turn_id=first)


async def test_a_queued_message_knows_how_many_open_turns_of_its_conversation_come_before(store: Store) -> None:
    outcomes = [await store.accept(question(), worker=HERE, max_waiting=20) for _ in range(3)]
    outcomes.append(await store.accept(question("another"), worker=HERE, max_waiting=20))
    assert [outcome.waits_behind for outcome in outcomes if isinstance(outcome, Queued)] == [0, 1, 2, 0]


async def test_turns_that_have_ended_do_not_count_as_waiting(store: Store) -> None:
    await finish(store, await begin(store))
    outcome = await store.accept(question(), worker=HERE, max_waiting=1)
    assert isinstance(outcome, Queued) and outcome.waits_behind == 0


async def test_a_full_conversation_takes_no_message_and_keeps_nothing_of_it(store: Store) -> None:
    await ask(store)
    await ask(store)
    event = question()
    assert await store.accept(event, worker=HERE, max_waiting=2) == Full(waits_behind=2)
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=3), Queued)


async def test_a_redelivery_to_a_full_conversation_is_recognised_all_the_same(store: Store) -> None:
    event = question()
    first = await accepted(store, event)
    assert await store.accept(event, worker=HERE, max_waiting=1) == Known(turn_id=first)


async def test_a_platform_that_holds_all_the_turns_it_may_leaves_room_for_the_others(store: Store) -> None:
    await ask(store, "a")
    full = await store.accept(question("b"), worker=HERE, max_waiting=20, max_open=1)
    assert full == Full(waits_behind=0, why="open")
    elsewhere = replace(question(), conversation=replace(room("c"), platform="other"))
    assert isinstance(await store.accept(elsewhere, worker=HERE, max_waiting=20, max_open=1), Queued)
    assert isinstance(await store.accept(question("b"), worker=THERE, max_waiting=20, max_open=1), Queued)


async def test_one_author_leaves_room_for_others_in_a_conversation_and_in_all(store: Store) -> None:
    own = OwnBounds(waiting=1, open=2)
    await ask(store, "a")
    event = question("a")
    bounds: dict[str, Any] = {"worker": HERE, "max_waiting": 20, "own": own}
    assert await store.accept(event, **bounds) == Full(waits_behind=1, why="own_waiting")
    await ask(store, "b")
    assert await store.accept(question("c"), **bounds) == Full(waits_behind=0, why="own_open")
    assert isinstance(await store.accept(replace(event, author_id="u2"), **bounds), Queued)
    assert isinstance(await store.accept(question("c"), **{**bounds, "worker": THERE}), Queued)


async def test_turns_that_wait_for_decisions_are_bounded_by_person_and_by_conversation(store: Store) -> None:
    for name in ("a", "b"):
        await ask(store, name)
    for turn in await store.claim(HERE, serves=ALL, limit=10):
        await store.park(turn.lease, [WAITS], wakes_at=NEVER)
    own: dict[str, Any] = {"worker": HERE, "max_waiting": 20, "own": OwnBounds(undecided=2)}
    assert await store.accept(question("c"), **own) == Full(waits_behind=0, why="own_undecided")
    assert isinstance(await store.accept(replace(question("c"), author_id="u2"), **own), Queued)
    other = replace(question("a"), author_id="u2")
    here: dict[str, Any] = {"worker": HERE, "max_waiting": 20, "max_undecided": 1}
    assert await store.accept(other, **here) == Full(waits_behind=0, why="undecided")
    assert isinstance(await store.accept(question("d"), **here), Queued)


async def test_a_person_who_has_nothing_running_gets_a_place_that_others_leave_to_them(store: Store) -> None:
    flood = [await ask(store, f"flood {number}") for number in range(5)]
    assert await claim(store, limit=4, reserved=2) == flood[:2]
    assert await claim(store, limit=2, reserved=2) == []
    quiet = await accepted(store, replace(question("quiet"), author_id="u2"))
    assert await claim(store, limit=2, reserved=2) == [quiet]
    assert await claim(store, limit=1) == [flood[2]]


async def test_people_who_wait_take_turns(store: Store) -> None:
    flood = [await ask(store, f"flood {number}") for number in range(6)]
    assert await claim(store, limit=2) == flood[:2]
    others = [await accepted(store, replace(question(f"other {number}"), author_id="u2")) for number in range(2)]
    order = [await claim(store, limit=1) for _ in range(6)]
    assert order[0] == [others[0]] and [others[1]] in order[:3]


async def test_an_accept_whose_caller_is_cancelled_is_stored_before_the_cancellation_goes_on(store: Store) -> None:
    event = question()
    accepting = asyncio.create_task(store.accept(event, worker=HERE, max_waiting=20))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=20), Known)


@property_test
@given(text=st.text(max_size=300), name=st.text(max_size=40))
async def test_any_text_that_admission_lets_through_comes_back_as_it_was(store: Store, text: str, name: str) -> None:
    event = question(f"texts-{next(numbers)}", text=clean(text) + clean(name))
    await store.accept(event, worker=HERE, max_waiting=20)
    assert (await claim_one(store)).event == event


# --- changing and deleting -------------------------------------------------------------------------------------


def changed(event: MessageReceived, text: str, *, minute: int | None = None) -> MessageReceived:
    return replace(event, text=text, edited_at=None if minute is None else event.sent_at.replace(minute=minute))


async def test_a_question_that_waits_reads_as_it_was_changed_and_is_otherwise_as_it_was(store: Store) -> None:
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    assert await store.edit(replace(changed(event, "And 3 + 3?", minute=40), author_name="Bo")) == "made"
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=20), Known)
    assert (await claim_one(store)).event == changed(event, "And 3 + 3?", minute=40)


async def test_an_earlier_change_and_a_repeated_one_change_nothing(store: Store) -> None:
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    revisions = [
        await store.edit(changed(event, text, minute=minute))
        for text, minute in (("b", 40), ("a", 39), ("b", 40), ("c", 41))
    ]
    assert revisions == ["made", "none", "none", "made"]
    assert await store.edit(changed(event, "d")) == "made"  # of a platform that does not say when
    assert (await claim_one(store)).event.text == "d"


async def test_a_turn_that_was_started_or_has_ended_is_neither_changed_nor_dropped(store: Store) -> None:
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    turn = await claim_one(store)
    assert await store.edit(changed(event, "other")) == "started"
    assert await store.edit(changed(event, event.text)) == "none"
    assert await store.withdraw(event.event_key) == "started"
    await store.give_back(turn.lease)
    assert await store.edit(changed(event, "other")) == "started"  # what it has done was for the question as it was
    turn = await claim_one(store)
    assert turn.event == event
    await finish(store, turn.lease, *said("a"))
    assert await store.edit(changed(event, "other")) == "ended"
    assert await store.withdraw(event.event_key) == "ended"
    assert len((await store.history(event.conversation)).turns) == 2
    await store.clear(event.conversation)
    assert await store.edit(changed(event, "other")) == "unknown"


async def test_a_question_that_was_dropped_is_never_claimed_and_sets_the_next_one_free(store: Store) -> None:
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    following = await ask(store)
    assert await store.withdraw(event.event_key) == "made"
    assert await store.withdraw(event.event_key) == "ended"
    assert await store.edit(changed(event, "other")) == "unknown"
    assert await claim(store) == [following]
    assert isinstance(await store.accept(event, worker=HERE, max_waiting=2), Known)
    outcome = await store.accept(question(), worker=HERE, max_waiting=2)
    assert isinstance(outcome, Queued) and outcome.waits_behind == 1


async def test_dropping_one_in_the_middle_leaves_the_order_of_the_others(store: Store) -> None:
    lease = await begin(store)
    dropped = question()
    await store.accept(dropped, worker=HERE, max_waiting=20)
    following = await ask(store)
    assert await store.withdraw(dropped.event_key) == "made"
    assert await claim(store) == []
    await finish(store, lease)
    assert await claim(store) == [following]


async def test_a_message_that_is_not_stored_can_be_neither_found_nor_changed_nor_dropped(store: Store) -> None:
    event = question()
    assert await store.find(event.event_key) is None
    assert await store.edit(changed(event, "other")) == "unknown"
    assert await store.withdraw(event.event_key) == "unknown"
    assert await accepted(store, event) == await store.find(event.event_key)


async def test_a_change_that_meets_a_claim_is_made_before_it_or_not_at_all(store: Store, opened: OpenStore) -> None:
    async with opened() as other:
        for _ in range(30):
            event = question(f"race-{next(numbers)}")
            await store.accept(event, worker=HERE, max_waiting=20)
            turns, revision = await asyncio.gather(
                store.claim(HERE, serves=ALL, limit=10), other.edit(changed(event, "other"))
            )
            # One that is being changed at this moment may be left for the next look.
            turns = turns or await store.claim(HERE, serves=ALL, limit=10)
            assert (revision, turns[0].event.text) in {("made", "other"), ("started", event.text)}


async def test_what_waits_goes_in_the_order_in_which_it_was_said_whichever_was_stored_first(store: Store) -> None:
    first = question(text="first")
    said_at = first.sent_at
    await accepted(store, first)
    for after_us in (30, 10, 20, 10):
        late = replace(question(text=str(after_us)), sent_at=said_at + timedelta(microseconds=after_us))
        await accepted(store, late)
    asked: list[str] = []
    for _ in range(5):
        turn = await claim_one(store)
        asked.append(turn.event.text)
        await finish(store, turn.lease)
    assert asked == ["first", "10", "10", "20", "30"]


# --- taking part -----------------------------------------------------------------------------------------------


async def test_the_bot_takes_part_where_it_was_asked_something_and_nowhere_else(store: Store) -> None:
    await store.accept(replace(question(), conversation=thread("1")), worker=HERE, max_waiting=20)
    assert await store.takes_part(thread("1"))
    assert not await store.takes_part(thread("2"))
    assert not await store.takes_part(room("room"))


async def test_the_bot_takes_part_on_after_its_turn_has_ended_and_was_cleared(store: Store) -> None:
    await begin_and_finish(store, "a")
    await store.clear(room("room"))
    assert await store.takes_part(room("room"))


async def test_a_question_that_was_refused_or_withdrawn_makes_the_bot_take_no_part(store: Store) -> None:
    await store.accept(question(), worker=HERE, max_waiting=0)
    assert not await store.takes_part(room("room"))
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    await store.withdraw(event.event_key)
    assert not await store.takes_part(room("room"))
    await ask(store)
    assert await store.takes_part(room("room"))


async def test_a_follow_up_that_arrives_with_its_question_finds_the_bot_taking_part(store: Store) -> None:
    waiting = [store.accept(question(), worker=HERE, max_waiting=1_000) for _ in range(200)]
    *_, takes_part = await asyncio.gather(
        *waiting,
        store.accept(question("new"), worker=HERE, max_waiting=20),
        store.takes_part(room("new")),
    )
    assert takes_part is True


# --- what is known of a thread -----------------------------------------------------------------------------------

EARLY, LATER = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 1, 12, 0, 0, 1, tzinfo=UTC)


async def test_nothing_is_known_of_a_thread_before_the_first_answer(store: Store) -> None:
    assert await store.knowledge(room("room")) == Knowledge()
    await ask(store)
    assert await store.knowledge(room("room")) == Knowledge()


async def test_an_answer_says_how_far_the_thread_is_known_to_the_microsecond_and_never_back(store: Store) -> None:
    for read_until in (LATER, EARLY, None):
        lease = await begin(store)
        await store.reply(
            lease,
            state="answered",
            messages=said("x"),
            posts=[post(lease)],
            usage=Usage(),
            read_until=read_until,
        )
        await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
        assert await store.knowledge(room("room")) == Knowledge(read_until=LATER, last_turn_id=lease.turn_id)


async def test_talk_is_noted_where_the_bot_takes_part_and_the_latest_counts(store: Store) -> None:
    await store.note_talk(room("room"), at=EARLY)
    assert await store.knowledge(room("room")) == Knowledge()
    await ask(store)
    for at in (LATER, EARLY):
        await store.note_talk(room("room"), at=at)
        assert (await store.knowledge(room("room"))).heard_at == LATER
    assert (await store.knowledge(room("other"))).heard_at is None


async def test_what_was_said_before_the_conversation_was_cleared_counts_as_known(store: Store) -> None:
    await begin_and_finish(store, "a")
    await store.clear(room("room"))
    known = await store.knowledge(room("room"))
    assert known.read_until is not None and known.last_turn_id is None


async def test_a_change_replaces_all_that_a_question_says(store: Store) -> None:
    event = replace(question(), files=(SharedFile(name="a.txt", mime_type="", size=1, reference="F1"),))
    await store.accept(event, worker=HERE, max_waiting=20)
    changed = replace(
        event, quoted=(Quoted(relation="forward", text="980"),), unread=("a video",), files=(), edited_at=LATER
    )
    assert await store.edit(changed) == "made"
    assert (await claim_one(store)).event == changed
    assert await store.edit(replace(changed, edited_at=LATER + timedelta(seconds=1))) == "none"
    table = (Quoted(relation="forward", text="890"),)
    assert await store.edit(replace(changed, quoted=table, edited_at=LATER + timedelta(seconds=2))) == "started"


async def test_a_posted_message_is_kept_with_its_reference(store: Store) -> None:
    lease = await begin(store)
    await finish(store, lease)
    assert [item.reference for item in await store.outbox(lease.turn_id)] == ["ref"]


async def test_files_that_came_with_a_question_are_named_when_it_is_claimed(store: Store) -> None:
    file = SharedFile(name="plan.pdf", mime_type="application/pdf", size=1_234, reference="F1")
    event = replace(question(text=""), files=(file,), is_addressed=False)
    await store.accept(event, worker=HERE, max_waiting=20)
    assert (await claim_one(store)).event == event


# --- claiming --------------------------------------------------------------------------------------------------


async def test_a_claim_takes_the_first_turn_of_each_conversation(store: Store) -> None:
    first, _, third, _ = [await ask(store, name) for name in ("a", "a", "b", "b")]
    assert await claim(store) == [first, third]
    assert await claim(store) == []


async def test_a_claim_takes_no_more_than_its_limit_and_the_oldest_first(store: Store) -> None:
    turns = [await ask(store, name) for name in "abcde"]
    assert await claim(store, limit=2) == turns[:2]
    assert await claim(store, limit=0) == []
    assert await claim(store) == turns[2:]


async def test_the_next_turn_of_a_conversation_is_free_only_when_the_one_before_has_ended(store: Store) -> None:
    lease = await begin(store)
    following = await ask(store)
    await answer(store, lease)
    assert await claim(store) == []
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    assert await claim(store) == [following]


async def test_a_message_that_arrives_late_goes_before_those_that_were_said_after_it_and_were_not_begun(
    store: Store,
) -> None:
    said_at = question().sent_at
    late = replace(question(key="late"), sent_at=said_at - timedelta(seconds=2))
    middle = replace(question(key="middle"), sent_at=said_at - timedelta(seconds=1))
    last = await accepted(store, question(key="last"))
    turns = [await accepted(store, event) for event in (middle, late)]
    order: list[int] = []
    for _ in range(3):
        turn = await claim_one(store)
        order.append(turn.lease.turn_id)
        await finish(store, turn.lease, *said("a"))
    assert order == [*reversed(turns), last]


async def test_many_processes_never_hold_two_turns_of_one_conversation_and_keep_their_order(opened: OpenStore) -> None:
    rooms, turns_each = ["a", "b", "c", "d"], 6
    held: set[int] = set()
    done: dict[int, list[int]] = {}

    async def work(worker: str) -> None:
        async with opened() as store:
            await store.heartbeat(worker, lease_s=LEASE_S)
            while sum(map(len, done.values())) < len(rooms) * turns_each:
                for turn in await store.claim(worker, serves=ALL, limit=3):
                    conversation = turn.lease.conversation_id
                    assert conversation not in held
                    held.add(conversation)
                    await store.record(turn.lease, [STARTED])
                    await answer(store, turn.lease)
                    done.setdefault(conversation, []).append(turn.lease.turn_id)
                    held.remove(conversation)  # the next write sets the next turn free
                    await store.mark_posted(turn.lease, 0, reference="ref", ends_turn=True)

    async with opened() as store:
        for number in range(len(rooms) * turns_each):
            await ask(store, rooms[number % len(rooms)], worker="a worker that never lived")
        async with asyncio.timeout(60), asyncio.TaskGroup() as workers:
            for name in ("one", "two", "three"):
                workers.create_task(work(name))
    assert len(done) == len(rooms)
    assert all(turns == sorted(turns) and len(turns) == turns_each for turns in done.values())


@pytest.mark.parametrize("neighbour", ["room2", "room/2", "ROOM", "roo", "room%2F"])
async def test_a_claim_leaves_conversations_that_are_not_served(store: Store, neighbour: str) -> None:
    assert await claim(store, serves=[str(room("room"))]) == []
    theirs = await ask(store, neighbour)
    assert await claim(store, serves=[str(room("room"))]) == []
    ours = await ask(store, "room")
    assert await claim(store, serves=[str(room("room"))]) == [ours]
    assert await claim(store) == [theirs]


async def test_a_claim_serves_all_the_prefixes_that_it_names(store: Store) -> None:
    a, b, _ = [await ask(store, name) for name in ("a", "b", "c")]
    assert await claim(store, serves=[str(room("b")), str(room("a"))]) == [a, b]
    assert await claim(store, serves=[]) == []


async def test_a_turn_queued_at_a_worker_that_lives_is_left_to_it(store: Store) -> None:
    turn_id = await ask(store, worker=THERE)
    assert await claim(store, worker=HERE) == []
    assert await claim(store, worker=THERE) == [turn_id]


async def test_turns_of_a_worker_whose_lease_ran_out_are_taken_over(store: Store, clock: Clock) -> None:
    running, queued = await ask(store, "a", worker=THERE), await ask(store, "b", worker=HERE)
    lease = (await claim_one(store, worker=THERE)).lease
    clock.now += LEASE_S / 2
    await store.heartbeat(THERE, lease_s=LEASE_S)
    clock.now += LEASE_S / 2 + 1
    assert await store.workers() == [THERE]
    assert await claim(store, worker=THERE) == [queued]
    clock.now += LEASE_S
    await store.heartbeat("a third", lease_s=LEASE_S)
    taken = await store.claim("a third", serves=ALL, limit=10)
    assert [turn.lease.turn_id for turn in taken] == [running, queued]
    assert taken[0].lease.attempt == 2 and taken[0].lease.fence > lease.fence


@pytest.mark.parametrize("by_s", [60.0, 86_400.0])
async def test_when_the_clock_is_set_forwards_nobody_is_taken_over_before_all_could_renew_their_leases(
    store: Store, clock: Clock, by_s: float
) -> None:
    await ask(store, "a", worker=THERE)
    dead = await ask(store, "b", worker=HERE)
    clock.set(by_s)
    assert await claim(store, worker="a third") == []
    assert await store.workers() == [HERE, THERE]
    clock.now += LEASE_S / 2
    await store.heartbeat(THERE, lease_s=LEASE_S)
    assert await store.workers() == [HERE, THERE]
    assert await claim(store, worker="a third") == []
    clock.now += LEASE_S / 2
    assert await claim(store, worker="a third") == [dead]
    assert await store.workers() == [THERE]


@pytest.mark.parametrize("by_s", [-60.0, -86_400.0])
async def test_when_the_clock_is_set_backwards_the_turns_of_the_dead_are_free_after_a_minute(
    store: Store, clock: Clock, by_s: float
) -> None:
    living, dead = await ask(store, "a", worker=THERE), await ask(store, "b", worker=HERE)
    clock.set(by_s)
    await store.heartbeat(THERE, lease_s=LEASE_S)
    clock.now += 61
    await store.heartbeat(THERE, lease_s=LEASE_S)
    assert await store.workers() == [THERE]
    assert await claim(store, worker=THERE) == [living, dead]


async def test_the_old_holder_of_a_turn_can_write_nothing_any_more(store: Store) -> None:
    old = await begin(store)
    await store.record(old, [STARTED])
    await store.expire(HERE)
    new = (await claim_one(store, worker=THERE)).lease

    for steps in ((), (STARTED, STARTED)):
        with pytest.raises(LeaseLostError):
            await store.record(old, steps)
    await store.record(new, ())
    with pytest.raises(LeaseLostError):
        await answer(store, old, *said("old"))
    await store.give_back(old)
    assert await claim(store, worker="another") == []
    assert await store.steps(new.turn_id) == [STARTED]
    assert await store.outbox(new.turn_id) == []

    await answer(store, new, *said("new"))
    for write in (
        store.mark_posting(old, 0),
        store.mark_unsent(old, 0),
        store.mark_posted(old, 0, reference="old", ends_turn=True),
        store.abandon(old),
    ):
        with pytest.raises(LeaseLostError):
            await write
    (item,) = await store.outbox(new.turn_id)
    assert (item.state, item.post) == ("posting", post(new))
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("new"))


async def test_a_lease_is_good_until_another_worker_has_claimed_the_turn(store: Store) -> None:
    running, delivering = await begin(store, "a"), await begin(store, "b")
    await answer(store, delivering, *said("b"))
    await store.expire(HERE)
    for lease in (running, delivering):
        await store.check_lease(lease)
    assert len(await claim(store, worker=THERE)) == 2
    for lease in (running, delivering):
        with pytest.raises(LeaseLostError):
            await store.check_lease(lease)


async def test_a_turn_taken_over_while_it_is_delivered_keeps_its_answer(store: Store) -> None:
    old = await begin(store)
    await answer(store, old, *said("a"))
    await store.expire(HERE)
    turn = await claim_one(store, worker=THERE)
    assert turn.state == "delivering"
    assert [item.state for item in await store.outbox(old.turn_id)] == ["posting"]
    await store.mark_posted(turn.lease, 0, reference="ref", ends_turn=True)
    assert await claim(store, worker=THERE) == []


async def test_turns_that_a_worker_gives_back_when_it_ends_lose_no_attempt(store: Store) -> None:
    await begin(store)
    await store.release(HERE)
    assert await store.workers() == [THERE]
    assert (await claim_one(store, worker=THERE)).lease.attempt == 1


async def test_a_release_leaves_the_attempts_of_other_workers_turns(store: Store) -> None:
    lease = await begin(store)
    await store.release(THERE)
    await store.give_back(lease)
    assert (await claim_one(store)).lease.attempt == 2


async def test_turns_of_a_worker_that_was_found_dead_keep_the_attempt_that_they_spent(store: Store) -> None:
    await begin(store)
    await store.expire(HERE)
    assert await store.workers() == [THERE]
    assert (await claim_one(store, worker=THERE)).lease.attempt == 2


@pytest.mark.parametrize("worker", [HERE, THERE])
async def test_a_turn_that_was_given_back_is_a_new_attempt_for_anyone(store: Store, worker: str) -> None:
    lease = await begin(store)
    await store.record(lease, [STARTED])
    await store.give_back(lease)
    turn = await claim_one(store, worker=worker)
    assert (turn.lease.turn_id, turn.lease.attempt, turn.state) == (lease.turn_id, 2, "running")
    assert await store.steps(lease.turn_id) == [STARTED]


async def test_turns_that_ended_in_a_process_that_is_gone_are_found_as_they_ended(store: Store) -> None:
    lease = await begin(store)
    open_turn = await ask(store, "b")
    await finish(store, lease)
    assert await store.ended_alone([lease.turn_id, open_turn, 999]) == []  # its process lives
    await store.expire(HERE)
    [turn] = await store.ended_alone([lease.turn_id, open_turn, 999])
    assert (turn.lease.turn_id, turn.state, turn.event.text) == (lease.turn_id, "answered", question().text)
    assert await store.ended_alone([]) == []


async def test_giving_back_a_turn_that_has_ended_does_not_open_it_again(store: Store) -> None:
    lease = await begin(store)
    await finish(store, lease)
    await store.give_back(lease)
    assert await claim(store) == []


async def test_a_claim_tells_whether_the_turn_had_to_wait_behind_others_when_it_was_accepted(store: Store) -> None:
    lease = await begin(store)
    await ask(store)
    await ask(store, "another")
    assert not (await claim_one(store)).has_waited
    await finish(store, lease)
    waited = await claim_one(store)
    await store.give_back(waited.lease)
    again = await claim_one(store)
    assert waited.has_waited and again.has_waited
    await finish(store, again.lease)
    await ask(store)
    assert not (await claim_one(store)).has_waited


# --- stopping --------------------------------------------------------------------------------------------------


async def test_a_stop_marks_the_running_turn_and_outlives_its_worker(store: Store) -> None:
    lease = await begin(store)
    await ask(store)
    assert await store.request_stop(room("room"), by=ASKER) == lease.turn_id
    await store.expire(HERE)
    turn = await claim_one(store, worker=THERE)
    assert turn.lease.turn_id == lease.turn_id and turn.stop_requested
    await finish(store, turn.lease)
    assert not (await claim_one(store, worker=THERE)).stop_requested


async def test_a_stop_before_the_turn_has_begun_is_known_when_it_is_claimed(store: Store) -> None:
    first, second = await ask(store), await ask(store)
    assert await store.request_stop(room("room"), by=ASKER) == first
    turn = await claim_one(store)
    assert turn.lease.turn_id == first and turn.stop_requested
    await finish(store, turn.lease)
    turn = await claim_one(store)
    assert turn.lease.turn_id == second and not turn.stop_requested


async def test_there_is_nothing_to_stop_where_no_turn_runs_or_is_about_to(store: Store) -> None:
    assert await store.request_stop(room("never seen"), by=ASKER) is None
    lease = await begin(store)
    following = await ask(store)
    await answer(store, lease)
    assert await store.request_stop(room("room"), by=ASKER) is None
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    turn = await claim_one(store)
    assert turn.lease.turn_id == following and not turn.stop_requested
    await finish(store, turn.lease)
    assert await store.request_stop(room("room"), by=ASKER) is None


async def test_a_stop_of_a_running_turn_is_signalled_once_to_the_process_that_runs_it(
    store: Store, opened: OpenStore
) -> None:
    lease = await begin(store)
    assert await store.signals(HERE) == []
    async with opened() as other:
        assert await other.request_stop(room("room"), by="test:bo") == lease.turn_id
        assert await other.request_stop(room("room"), by=ASKER) == lease.turn_id
        assert await other.signals(THERE) == []
    assert await store.signals(HERE) == [Signal(turn_id=lease.turn_id, kind="stop", by=ASKER)]
    assert await store.signals(HERE) == []


async def test_a_stop_of_one_turn_stops_that_one_or_none(store: Store) -> None:
    lease = await begin(store)
    following = await ask(store)
    assert await store.request_stop(room("room"), by=ASKER, turn_id=following + 1) is None
    assert await store.request_stop(room("other"), by=ASKER, turn_id=lease.turn_id) is None
    assert await store.participants(room("room"), is_open=True, turn_id=following + 1) == []
    assert len(await store.participants(room("room"), is_open=True, turn_id=lease.turn_id)) == 1
    assert await store.request_stop(room("room"), by=ASKER, turn_id=lease.turn_id) == lease.turn_id


async def test_signals_of_several_turns_come_together(store: Store) -> None:
    leases = [await begin(store, name) for name in ("a", "b")]
    for name in ("b", "a"):
        await store.request_stop(room(name), by=ASKER)
    assert [signal.turn_id for signal in await store.signals(HERE)] == [lease.turn_id for lease in leases]


async def test_a_stop_that_is_known_from_the_claim_is_not_signalled_as_well(store: Store) -> None:
    await ask(store)
    await store.request_stop(room("room"), by=ASKER)
    assert (await claim_one(store)).stop_requested
    assert await store.signals(HERE) == []

    await begin(store, "other")
    await store.request_stop(room("other"), by=ASKER)
    await store.expire(HERE)
    turns = await store.claim(THERE, serves=[str(room("other"))], limit=1)
    assert turns[0].stop_requested
    assert await store.signals(THERE) == await store.signals(HERE) == []


async def test_a_signal_that_came_too_late_is_forgotten(store: Store) -> None:
    lease = await begin(store)
    await store.request_stop(room("room"), by=ASKER)
    await finish(store, lease)
    assert await store.signals(HERE) == []


# --- waiting for a decision ------------------------------------------------------------------------------------

WAITS = CallWaiting(round=0, call_id="c1", reason="Ann has to agree.", expires_at=1_800_003_600.0)
NEVER = 4_000_000_000.0
YES = CallDecided(round=0, call_id="c1", outcome="approved", by="test:bo", note="Go on.")


async def parked(store: Store, conversation: str = "room", *, wakes_at: float = NEVER) -> Lease:
    """Return the lease that a turn had until it waited for a decision."""
    lease = await begin(store, conversation)
    assert await store.park(lease, [WAITS], wakes_at=wakes_at) == "waiting"
    return lease


async def test_a_parked_turn_waits_with_its_steps_and_nobody_can_claim_it(store: Store, clock: Clock) -> None:
    lease = await begin(store)
    await store.record(lease, [STARTED])
    assert await store.park(lease, [WAITS], wakes_at=NEVER) == "waiting"
    assert await store.steps(lease.turn_id) == [STARTED, WAITS]
    clock.now += 10 * LEASE_S
    for worker in (HERE, THERE, "another"):
        assert await claim(store, worker=worker) == []


async def test_a_turn_that_waits_belongs_to_nobody_any_more(store: Store) -> None:
    lease = await parked(store)
    for write in (
        store.record(lease, [STARTED]),
        store.park(lease, [WAITS], wakes_at=NEVER),
        answer(store, lease, *said("a")),
        store.abandon(lease),
    ):
        with pytest.raises(LeaseLostError):
            await write
    await store.give_back(lease)
    await store.release(HERE)
    assert await store.steps(lease.turn_id) == [WAITS]
    assert await claim(store, worker=THERE) == []


async def test_only_the_holder_of_a_turn_can_park_it(store: Store) -> None:
    old = await begin(store)
    await store.expire(HERE)
    new = (await claim_one(store, worker=THERE)).lease
    with pytest.raises(LeaseLostError):
        await store.park(old, [WAITS], wakes_at=NEVER)
    assert await store.steps(new.turn_id) == []
    await store.record(new, [STARTED])


async def test_later_turns_of_the_conversation_pass_one_that_waits(store: Store) -> None:
    lease = await begin(store)
    second, third = await ask(store), await ask(store)
    await store.park(lease, [WAITS], wakes_at=NEVER)
    turn = await claim_one(store)
    assert turn.lease.turn_id == second
    await finish(store, turn.lease)
    assert await claim(store) == [third]


async def test_turns_that_wait_do_not_count_as_open(store: Store) -> None:
    await parked(store)
    outcome = await store.accept(question(), worker=HERE, max_waiting=1, max_open=1)
    assert isinstance(outcome, Queued) and outcome.waits_behind == 0
    turn = await claim_one(store)
    assert turn.lease.turn_id == outcome.turn_id and not turn.has_waited
    assert await store.accept(question(), worker=HERE, max_waiting=1) == Full(waits_behind=1)


@pytest.mark.parametrize("worker", [HERE, THERE])
async def test_a_decision_wakes_the_turn_for_any_worker_with_all_of_its_attempts(store: Store, worker: str) -> None:
    lease = await begin(store)
    for _ in range(2):
        await store.give_back(lease)
        lease = (await claim_one(store)).lease
    assert lease.attempt == 3
    await store.park(lease, [WAITS], wakes_at=NEVER)
    assert await store.decide(lease.turn_id, YES) == "made"
    turn = await claim_one(store, worker=worker)
    assert (turn.lease.turn_id, turn.lease.attempt, turn.state, turn.wakes) == (lease.turn_id, 1, "running", 1)
    assert turn.lease.fence > lease.fence and not turn.stop_requested
    assert await store.steps(lease.turn_id) == [WAITS, YES]


async def test_a_turn_that_waits_for_what_one_worker_keeps_wakes_there_while_that_worker_lives(store: Store) -> None:
    await store.heartbeat(THERE, lease_s=LEASE_S)
    for is_alive in (True, False):
        lease = await begin(store, f"room {is_alive}")
        await store.park(lease, [WAITS, replace(WAITS, call_id="c2", worker=HERE)], wakes_at=NEVER)
        assert await store.decide(lease.turn_id, YES) == "made"
        if is_alive:
            assert await claim(store, worker=THERE) == []
            assert (await claim_one(store)).lease.turn_id == lease.turn_id
            await finish(store, replace(lease, fence=lease.fence + 1))
        else:
            await store.release(HERE)
            assert (await claim_one(store, worker=THERE)).lease.turn_id == lease.turn_id


async def test_a_turn_that_waits_outlives_the_process_and_is_woken_by_another(opened: OpenStore) -> None:
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        lease = await parked(store)
    async with opened() as store:
        assert await store.decide(lease.turn_id, YES) == "made"
    async with opened() as store:
        await store.heartbeat(THERE, lease_s=LEASE_S)
        assert (await claim_one(store, worker=THERE)).lease.turn_id == lease.turn_id


async def test_a_call_is_decided_once_by_those_who_decide_at_the_same_moment(store: Store, opened: OpenStore) -> None:
    lease = await parked(store)
    async with opened() as other:
        outcomes = await asyncio.gather(
            *((store, other)[number % 2].decide(lease.turn_id, YES) for number in range(20))
        )
    assert sorted(outcomes) == ["decided_before"] * 19 + ["made"]
    assert await store.steps(lease.turn_id) == [WAITS, YES]
    assert len(await claim(store)) == 1


async def test_a_decision_is_filed_under_the_round_of_the_call_that_waits(store: Store) -> None:
    lease = await begin(store)
    done = CallFinished(round=0, result=ToolResult(call_id="c1", text="4"))
    waits = replace(WAITS, round=3)
    await store.record(lease, [WAITS, YES, done])
    assert await store.decide(lease.turn_id, YES) == "decided_before"
    assert await store.park(lease, [waits], wakes_at=NEVER) == "waiting"
    assert await store.decide(lease.turn_id, YES) == "made"
    assert (await store.steps(lease.turn_id))[-1] == replace(YES, round=3)


async def test_a_call_that_waits_again_is_decided_again(store: Store) -> None:
    lease = await parked(store)
    for wakes in (1, 2):
        assert await store.decide(lease.turn_id, YES) == "made"
        turn = await claim_one(store)
        assert turn.wakes == wakes
        assert await store.park(turn.lease, [STARTED, WAITS], wakes_at=NEVER) == "waiting"
    assert await store.steps(lease.turn_id) == [WAITS, *[YES, STARTED, WAITS] * 2]


async def test_of_two_calls_that_wait_each_needs_its_own_decision(store: Store) -> None:
    lease = await begin(store)
    other, done = replace(WAITS, call_id="c2"), CallFinished(round=0, result=ToolResult(call_id="c1", text="4"))
    await store.park(lease, [WAITS, other], wakes_at=NEVER)
    assert await store.decide(lease.turn_id, YES) == "made"
    turn = await claim_one(store)
    assert await store.park(turn.lease, [done], wakes_at=NEVER) == "waiting"
    assert await store.decide(lease.turn_id, YES) == "decided_before"
    assert await store.decide(lease.turn_id, replace(YES, call_id="c2")) == "made"
    assert (await claim_one(store)).wakes == 2


async def test_a_decision_that_comes_when_the_wait_has_expired_is_too_late(store: Store, clock: Clock) -> None:
    lease = await parked(store, wakes_at=WAITS.expires_at)
    clock.now = WAITS.expires_at
    assert await store.decide(lease.turn_id, YES) == "decided_before"
    assert await store.wake_expired() == 1
    assert await store.decide(lease.turn_id, YES) == "decided_before"
    assert await store.steps(lease.turn_id) == [WAITS]


async def test_what_does_not_wait_cannot_be_decided(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [STARTED])
    assert await store.decide(lease.turn_id, YES) == "unknown"
    assert await store.decide(lease.turn_id + 1, YES) == "unknown"
    await store.record(lease, [WAITS, CallFinished(round=0, result=ToolResult(call_id="c1", text="stopped"))])
    assert await store.decide(lease.turn_id, YES) == "unknown"
    await store.record(lease, [replace(WAITS, call_id="c2")])
    await answer(store, lease)
    assert await store.decide(lease.turn_id, replace(YES, call_id="c2")) == "unknown"
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    assert await store.decide(lease.turn_id, replace(YES, call_id="c2")) == "unknown"
    assert YES not in await store.steps(lease.turn_id)


async def test_a_decision_before_the_turn_is_parked_is_kept_and_the_turn_goes_on_at_once(store: Store) -> None:
    lease = await begin(store)
    following = await ask(store)
    await store.record(lease, [WAITS])
    assert await store.decide(lease.turn_id, YES) == "made"
    await store.record(lease, [STARTED])  # steps of another call may come in between
    assert await store.park(lease, [], wakes_at=NEVER) == "queued"
    turn = await claim_one(store, worker=THERE)
    assert (turn.lease.turn_id, turn.wakes, turn.lease.attempt) == (lease.turn_id, 1, 1)
    assert await store.steps(lease.turn_id) == [WAITS, YES, STARTED]
    await finish(store, turn.lease)
    assert await claim(store) == [following]


async def test_a_turn_whose_stop_was_requested_does_not_wait(store: Store) -> None:
    lease = await begin(store)
    await store.request_stop(room("room"), by=ASKER)
    assert await store.park(lease, [WAITS], wakes_at=NEVER) == "queued"
    turn = await claim_one(store)
    assert turn.lease.turn_id == lease.turn_id and turn.stop_requested
    assert await store.signals(HERE) == []


async def test_a_woken_turn_runs_after_the_one_that_runs_and_before_those_that_have_not_begun(store: Store) -> None:
    waiting = await parked(store)
    running = await begin(store)
    queued = question()
    third = await accepted(store, queued)
    fourth = await ask(store)
    assert await store.decide(waiting.turn_id, YES) == "made"
    assert await claim(store) == []
    assert await store.withdraw(queued.event_key) == "made"
    assert await claim(store) == []  # the one that runs is the only one that may
    await finish(store, running)
    turn = await claim_one(store)
    assert turn.lease.turn_id == waiting.turn_id != third
    await finish(store, turn.lease)
    assert await claim(store) == [fourth]


async def test_turns_are_woken_when_their_time_has_come(store: Store, clock: Clock) -> None:
    assert await store.wake_expired() == 0
    early, late = [await parked(store, name, wakes_at=clock.now + wait_s) for name, wait_s in (("a", 60), ("b", 61))]
    clock.now += 59
    assert await store.wake_expired() == 0
    clock.now += 1
    assert await store.wake_expired() == 1
    assert await store.wake_expired() == 0
    turn = await claim_one(store, worker="another")
    assert (turn.lease.turn_id, turn.wakes) == (early.turn_id, 1)
    clock.now += 1
    assert await store.wake_expired() == 1
    assert await claim(store, worker="another") == [late.turn_id]


async def test_of_turns_of_one_conversation_that_are_woken_together_one_runs_after_the_other(
    store: Store, clock: Clock
) -> None:
    turns = [(await parked(store, wakes_at=clock.now + 1)).turn_id for _ in range(3)]
    clock.now += 1
    assert await store.wake_expired() == 3
    ran: list[int] = []
    for _ in turns:
        turn = await claim_one(store, worker="another")
        ran.append(turn.lease.turn_id)
        await finish(store, turn.lease)
    assert ran == turns


async def test_a_turn_that_was_decided_is_not_woken_again_by_time(store: Store, clock: Clock) -> None:
    lease = await parked(store, wakes_at=clock.now + 1)
    await store.decide(lease.turn_id, YES)
    clock.now += 1
    assert await store.wake_expired() == 0
    assert (await claim_one(store, worker="another")).wakes == 1


async def test_a_stop_wakes_the_newest_turn_that_waits_where_none_runs(store: Store) -> None:
    old, new = await parked(store), await parked(store)
    assert await store.request_stop(room("room"), by=ASKER) == new.turn_id
    turn = await claim_one(store)
    assert (turn.lease.turn_id, turn.stop_requested, turn.wakes) == (new.turn_id, True, 1)
    await finish(store, turn.lease)
    assert await store.request_stop(room("room"), by=ASKER) == old.turn_id
    turn = await claim_one(store)
    assert turn.lease.turn_id == old.turn_id and turn.stop_requested
    await finish(store, turn.lease)
    assert await store.request_stop(room("room"), by=ASKER) is None


async def test_a_stop_is_for_the_turn_that_runs_rather_than_one_that_waits(store: Store) -> None:
    waiting = await parked(store)
    running = await begin(store)
    assert await store.request_stop(room("room"), by=ASKER) == running.turn_id
    await finish(store, running)
    await store.decide(waiting.turn_id, YES)
    assert not (await claim_one(store)).stop_requested


async def test_a_turn_that_has_waited_is_neither_changed_nor_dropped(store: Store) -> None:
    event = question()
    await accepted(store, event)
    lease = (await claim_one(store)).lease
    await store.park(lease, [WAITS], wakes_at=NEVER)
    for _ in range(2):  # while it waits, and when it is queued again
        assert await store.edit(changed(event, "other")) == "started"
        assert await store.withdraw(event.event_key) == "started"
        await store.decide(lease.turn_id, YES)
    assert (await claim_one(store)).event == event


async def test_what_a_waiting_turn_says_comes_where_it_ends(store: Store) -> None:
    waiting = await parked(store)
    passing = await begin_and_finish(store, "passing")
    await store.decide(waiting.turn_id, YES)
    await finish(store, (await claim_one(store)).lease, *said("waited"))
    last = await begin_and_finish(store, "last")
    in_order = [turn.turn_id for turn in (passing, waiting, last) for _ in range(2)]
    assert [turn_id for turn_id, _ in (await store.history(room("room"))).turns] == in_order
    assert [entry.turn_id for entry in await store.transcript(room("room"), limit=5)] == in_order[1:]

    await store.move_window(room("room"), past_turn_id=passing.turn_id)
    assert [turn_id for turn_id, _ in (await store.history(room("room"))).turns] == in_order[2:]
    await store.move_window(room("room"), past_turn_id=waiting.turn_id)
    await store.move_window(room("room"), past_turn_id=passing.turn_id)
    assert [turn_id for turn_id, _ in (await store.history(room("room"))).turns] == in_order[4:]


async def test_a_conversation_with_a_turn_that_waits_is_open(store: Store) -> None:
    waiting = await parked(store)
    assert [item.conversation for item in await opened_in(store)] == [room("room")]
    await begin(store)
    assert [item.conversation for item in await opened_in(store)] == [room("room")]
    assert await store.clear(room("room")) == 0
    assert await store.steps(waiting.turn_id) == [WAITS]
    assert await store.decide(waiting.turn_id, YES) == "made"


# --- the journal -----------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
counts = st.integers(0, 2**40)
seconds = st.floats(0, 1e6, allow_nan=False)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
replays = st.lists(st.dictionaries(texts, json_values, max_size=3), max_size=2).map(tuple)
assistant_messages = st.builds(
    AssistantMessage, text=texts, tool_calls=st.lists(calls, max_size=3).map(tuple), replay=replays
)
attachments = st.builds(Attachment, name=texts, mime_type=texts, data=st.binary(max_size=300))
results = st.builds(
    ToolResult,
    call_id=texts,
    text=texts,
    outcome=st.sampled_from(["ok", "error", "timeout", "unavailable", "interrupted", "stopped"]),
    attachments=st.lists(attachments, max_size=2).map(tuple),
    seconds=seconds,
)
usages = st.builds(Usage, input_tokens=counts, cached_tokens=counts, output_tokens=counts)
answers = st.builds(ModelAnswer, message=assistant_messages, usage=usages, is_cut=st.booleans())
steps = st.lists(
    st.builds(ModelAnswered, round=counts, answer=answers)
    | st.builds(CallAsked, round=counts, call=calls, server=texts, tool=texts)
    | st.builds(CallStarted, round=counts, call_id=texts)
    | st.builds(CallWaiting, round=counts, call_id=texts, reason=texts, expires_at=seconds)
    | st.builds(CallDecided, round=counts, call_id=texts, outcome=texts, by=texts, note=texts)
    | st.builds(CallFinished, round=counts, result=results),
    max_size=6,
)
messages = st.lists(
    st.builds(UserMessage, text=texts, speaker=st.none() | texts)
    | assistant_messages
    | st.builds(ToolMessage, call_id=texts, text=texts),
    max_size=6,
)


@property_test
@given(batches=st.lists(steps, max_size=4))
async def test_a_journal_comes_back_in_order_and_as_it_was(store: Store, batches: list[list[Step]]) -> None:
    lease = await begin(store, f"journal-{next(numbers)}")
    for batch in batches:
        await store.record(lease, batch)
    assert await store.steps(lease.turn_id) == [step for batch in batches for step in batch]


async def test_journals_of_different_turns_are_kept_apart(store: Store) -> None:
    a, b = await begin(store, "a"), await begin(store, "b")
    await asyncio.gather(
        *(store.record(lease, [CallStarted(round=number, call_id="c")]) for number in range(5) for lease in (a, b))
    )
    expected = [CallStarted(round=number, call_id="c") for number in range(5)]
    assert await store.steps(a.turn_id) == await store.steps(b.turn_id) == expected
    assert await store.steps(b.turn_id + 1) == []


# --- the reply and its delivery --------------------------------------------------------------------------------


async def test_a_reply_that_cannot_be_stored_whole_is_not_stored_at_all(store: Store) -> None:
    lease = await begin(store)
    with pytest.raises(StoreError):
        await answer(store, lease, *said("a"), posts=[post(lease), post(lease)])
    assert (await store.history(room("room"))).turns == []
    assert await store.outbox(lease.turn_id) == []
    await store.record(lease, [STARTED])
    await answer(store, lease, *said("b"))
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("b"))


async def test_a_turn_that_is_replied_takes_neither_steps_nor_a_second_reply(store: Store) -> None:
    lease = await begin(store)
    await answer(store, lease, *said("a"))
    with pytest.raises(LeaseLostError):
        await store.record(lease, [STARTED])
    with pytest.raises(LeaseLostError):
        await answer(store, lease, *said("b"))
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("a"))
    assert await store.steps(lease.turn_id) == []


async def test_a_turn_without_a_reply_cannot_be_delivered(store: Store) -> None:
    lease = await begin(store)
    with pytest.raises(LeaseLostError):
        await store.mark_posting(lease, 0)
    with pytest.raises(LeaseLostError):
        await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    with pytest.raises(LeaseLostError):
        await store.abandon(lease)
    await store.record(lease, [STARTED])


async def test_posts_come_back_in_order_with_their_files_and_each_is_about_to_be_sent_when_its_turn_comes(
    store: Store,
) -> None:
    lease = await begin(store)
    picture = Attachment(name="a.png", mime_type="image/png", data=bytes(range(256)))
    parts = [post(lease, part=number, text=f"part {number}") for number in range(11)]
    parts[-1] = post(lease, part=10, text="the last", attachments=(picture,))
    await answer(store, lease, posts=list(reversed(parts)))
    assert [item.post for item in await store.outbox(lease.turn_id)] == parts

    assert await states(store, lease) == ["posting", *["pending"] * 10]
    await store.mark_posted(lease, 0, reference="ref", ends_turn=False)
    assert await states(store, lease) == ["posted", "posting", *["pending"] * 9]
    await store.mark_posting(lease, 1)  # once more, after a pause or in another process
    assert await states(store, lease) == ["posted", "posting", *["pending"] * 9]
    await store.mark_posted(lease, 1, reference="ref", ends_turn=False)
    assert await states(store, lease) == ["posted", "posted", "posting", *["pending"] * 8]
    assert await claim(store) == []


async def test_a_post_that_was_not_sent_after_all_is_as_it_was_before(store: Store) -> None:
    lease = await begin(store)
    await answer(store, lease, posts=[post(lease, part=number) for number in range(2)])
    await store.mark_unsent(lease, 0)
    assert await states(store, lease) == ["pending", "pending"]
    await store.mark_posting(lease, 0)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=False)
    await store.mark_unsent(lease, 0)
    assert await states(store, lease) == ["posted", "posting"]


async def states(store: Store, lease: Lease) -> list[str]:
    return [item.state for item in await store.outbox(lease.turn_id)]


async def test_the_last_steps_of_a_turn_are_stored_with_its_reply_or_not_at_all(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [STARTED])
    last = CallFinished(round=0, result=ToolResult(call_id="c1", text="4"))
    with pytest.raises(StoreError):
        await answer(store, lease, posts=[post(lease), post(lease)], steps=[last])
    assert await store.steps(lease.turn_id) == [STARTED]
    await answer(store, lease, *said("a"), steps=[last])
    assert await store.steps(lease.turn_id) == [STARTED, last]


@pytest.mark.parametrize("state", ["answered", "stopped", "failed"])
async def test_the_last_post_ends_the_turn_and_sets_the_next_one_free(store: Store, state: str) -> None:
    lease = await begin(store)
    following = await ask(store)
    await store.reply(lease, state=state, messages=[], posts=[post(lease)], usage=Usage())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  (a parameter is no literal)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    with pytest.raises(LeaseLostError):
        await store.mark_posted(lease, 0, reference="again", ends_turn=True)
    assert await claim(store) == [following]


async def test_a_turn_that_cannot_be_delivered_is_abandoned_and_the_conversation_goes_on(store: Store) -> None:
    lease = await begin(store)
    following = await ask(store)
    await answer(store, lease, *said("a"))
    await store.abandon(lease)
    assert await claim(store) == [following]
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("a"))


# --- what was said ---------------------------------------------------------------------------------------------


@property_test
@given(turns=st.lists(messages, max_size=3))
async def test_messages_come_back_in_order_as_they_were(store: Store, turns: list[list[Message]]) -> None:
    name = f"messages-{next(numbers)}"
    expected: list[tuple[int, Message]] = []
    for turn in turns:
        lease = await begin(store, name)
        await finish(store, lease, *turn)
        expected += [(lease.turn_id, message) for message in turn]
    assert list((await store.history(room(name))).turns) == expected
    assert [entry.message for entry in await store.transcript(room(name), limit=100)] == [item for _, item in expected]


async def test_history_begins_at_the_window_and_the_window_never_moves_back(store: Store) -> None:
    leases = [await begin_and_finish(store, text) for text in "abc"]
    await store.move_window(room("room"), past_turn_id=leases[0].turn_id)
    await store.move_window(room("room"), past_turn_id=leases[0].turn_id)
    history = (await store.history(room("room"))).turns
    assert [turn_id for turn_id, _ in history] == [leases[1].turn_id] * 2 + [leases[2].turn_id] * 2
    assert len(await store.transcript(room("room"), limit=100)) == 6
    await store.move_window(room("room"), past_turn_id=leases[2].turn_id)
    assert (await store.history(room("room"))).turns == []
    for past in (leases[0].turn_id, leases[2].turn_id + 1, 0):
        await store.move_window(room("room"), past_turn_id=past)
    assert (await store.history(room("room"))).turns == []
    await begin_and_finish(store, "d")
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("d"))


async def test_what_is_said_after_a_clear_is_in_the_history_wherever_the_window_was(store: Store) -> None:
    *_, lease = [await begin_and_finish(store, "a") for _ in range(3)]
    await store.move_window(room("room"), past_turn_id=lease.turn_id)
    await store.clear(room("room"))
    await begin_and_finish(store, "b")
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("b"))
    await store.move_window(room("room"), past_turn_id=lease.turn_id)  # by a turn that read what was there before
    assert len((await store.history(room("room"))).turns) == 2


# --- summaries ---


async def sum_up(store: Store, text: str, *, past: int, end: int, turn_id: int = 0, usage: Usage | None = None) -> bool:
    return await store.put_summary(
        room("room"), text, past_turn_id=past, summary_end=end, turn_id=turn_id, usage=usage or Usage()
    )


async def test_a_summary_takes_the_place_of_what_it_tells_of_and_moves_the_window_in_one_commit(
    store: Store, opened: OpenStore
) -> None:
    leases = [await begin_and_finish(store, text) for text in "abcd"]
    before = await store.unsummarised(room("room"))
    assert (before.summary, before.is_behind, list(before.left), len(before.turns)) == ("", False, [], 8)
    spent = Usage(input_tokens=100, cached_tokens=40, output_tokens=10)
    used = (await store.usage(room("room"))).usage
    assert await sum_up(
        store, "About a and b.", past=leases[1].turn_id, end=before.summary_end, turn_id=leases[3].turn_id, usage=spent
    )
    async with opened() as other:
        after = await other.history(room("room"))
        assert (after.summary, after.is_behind) == ("About a and b.", False)
        assert [message for _, message in after.turns] == [*said("c"), *said("d")]
        recalls = [entry.recall for entry in await other.transcript(room("room"), limit=100)]
        assert recalls == ["summary"] * 4 + ["words"] * 4
        assert (await other.usage(room("room"))).usage == used + spent


async def test_what_left_without_a_summary_waits_for_the_next_one(store: Store) -> None:
    leases = [await begin_and_finish(store, text) for text in "abcd"]
    await store.move_window(room("room"), past_turn_id=leases[2].turn_id)
    found = await store.unsummarised(room("room"))
    assert found.is_behind and (await store.history(room("room"))).is_behind
    assert [message for _, message in found.left] == [*said("a"), *said("b"), *said("c")]
    assert (await store.history(room("room"))).left == []
    assert {entry.recall for entry in (await store.transcript(room("room"), limit=6))} == {"none", "words"}
    assert await sum_up(store, "About a.", past=leases[0].turn_id, end=found.summary_end)
    found = await store.unsummarised(room("room"))
    assert found.is_behind and [message for _, message in found.left] == [*said("b"), *said("c")]
    assert [message for _, message in found.turns] == list(said("d"))  # the window stays where it was
    assert await sum_up(store, "About all.", past=leases[2].turn_id, end=found.summary_end)
    found = await store.unsummarised(room("room"))
    assert (found.is_behind, list(found.left), found.summary) == (False, [], "About all.")


async def test_a_summary_of_what_another_summed_up_meanwhile_is_not_kept_but_its_usage_is(store: Store) -> None:
    leases = [await begin_and_finish(store, text) for text in "abc"]
    end = (await store.unsummarised(room("room"))).summary_end
    assert await sum_up(store, "The first.", past=leases[0].turn_id, end=end)
    spent, used = Usage(input_tokens=7), (await store.usage(room("room"))).usage
    assert not await sum_up(store, "Too late.", past=leases[1].turn_id, end=end, turn_id=leases[2].turn_id, usage=spent)
    assert not await sum_up(store, "Of nothing.", past=leases[0].turn_id, end=(await known(store)).summary_end)
    assert (await known(store)).summary == "The first."
    assert (await store.usage(room("room"))).usage == used + spent


async def known(store: Store) -> History:
    return await store.history(room("room"))


async def test_a_summary_goes_with_a_clear_and_none_that_was_begun_before_comes_back(store: Store) -> None:
    leases = [await begin_and_finish(store, text) for text in "abc"]
    first_end = (await known(store)).summary_end
    assert await sum_up(store, "About a.", past=leases[0].turn_id, end=first_end)
    end = (await known(store)).summary_end
    await store.clear(room("room"))
    assert await known(store) == History(turns=[], left=[])
    for stale in (first_end, end):
        assert not await sum_up(store, "About b.", past=leases[1].turn_id, end=stale)
    new = [await begin_and_finish(store, text) for text in "defg"]  # their messages may get the ids of the old ones
    for stale in (first_end, end):
        assert not await sum_up(store, "About b.", past=leases[1].turn_id, end=stale)
    assert (await known(store)).summary == ""
    assert len((await known(store)).turns) == 8
    assert await sum_up(store, "About d.", past=new[0].turn_id, end=(await known(store)).summary_end)


async def test_summaries_of_conversations_are_apart(store: Store) -> None:
    here = await begin_and_finish(store, "a")
    there = await begin_and_finish(store, "b", conversation="other")
    assert not await sum_up(store, "About b.", past=there.turn_id, end=0)
    assert await sum_up(store, "About a.", past=here.turn_id, end=0)
    assert (await store.history(room("other"))).summary == ""
    assert await store.history(room("new")) == History()


async def begin_and_finish(store: Store, text: str, *, conversation: str = "room") -> Lease:
    lease = await begin(store, conversation, text=text)
    await finish(store, lease, *said(text))
    return lease


async def test_a_transcript_holds_the_last_messages_with_their_times_oldest_first(store: Store, clock: Clock) -> None:
    await begin_and_finish(store, "a")
    clock.now += 0.25
    lease = await begin_and_finish(store, "b")
    entries = await store.transcript(room("room"), limit=3)
    assert [entry.message.text for entry in entries] == ["a!", "b?", "b!"]
    assert entries[-1].turn_id == lease.turn_id
    assert entries[-1].at == datetime.fromtimestamp(clock.now, UTC)
    assert (entries[-1].at - entries[0].at).total_seconds() == pytest.approx(0.25)  # pyright: ignore[reportUnknownMemberType]  (pytest leaves it untyped)
    assert await store.transcript(room("never seen"), limit=3) == []


async def test_conversations_are_listed_the_most_recent_first(store: Store, clock: Clock) -> None:
    for name in ("old", "new/ünï", "old"):
        clock.now += 1
        await begin_and_finish(store, "a", conversation=name)
    await ask(store, "nothing said")

    listed = await store.conversations(limit=10)
    assert [(item.conversation, item.message_count) for item in listed] == [(room("old"), 4), (room("new/ünï"), 2)]
    assert listed[0].last_at == datetime.fromtimestamp(clock.now, UTC)
    assert [item.conversation for item in await store.conversations(limit=1)] == [room("old")]
    only = await store.conversations(limit=10, prefix=str(room("new/ünï")))
    assert [item.conversation for item in only] == [room("new/ünï")]
    assert await store.conversations(limit=10, prefix="other/") == []


async def test_conversations_are_found_by_the_beginning_of_their_keys_alone(store: Store) -> None:
    keys = [thread("1"), thread("2"), thread("1", "room2"), thread("1", "roo"), room("room")]
    for key in keys:
        await store.accept(replace(question(), conversation=key), worker=HERE, max_waiting=20)
        await finish(store, (await claim_one(store)).lease, *said("a"))
    found = await store.conversations(limit=10, prefix=str(room("room")))
    assert {item.conversation for item in found} == {thread("1"), thread("2"), room("room")}
    assert len(await store.conversations(limit=2, prefix=str(room("room")))) == 2
    assert len(await store.conversations(limit=10, prefix="test/team/roo")) == 5


async def test_a_conversation_is_titled_by_how_its_newest_question_begins_on_one_line(store: Store) -> None:
    await begin_and_finish(store, "the first")
    await begin_and_finish(store, "  the\n\nsecond\tone  ")
    await begin_and_finish(store, "x" * 81, conversation="long")
    titles = {item.conversation: item.title for item in await store.conversations(limit=10)}
    assert titles == {room("room"): "the second one", room("long"): f"{'x' * 79}…"}

    await ask(store, text="the third")
    await ask(store, text="the fourth")
    (summary,) = await store.conversations(limit=10, prefix=str(room("room")))
    assert (summary.title, summary.message_count) == ("the fourth", 4)


async def test_a_cleared_conversation_is_listed_again_when_something_is_said_in_it(store: Store, clock: Clock) -> None:
    await begin_and_finish(store, "a")
    await store.clear(room("room"))
    assert await store.conversations(limit=10) == []
    clock.now += 60
    await begin_and_finish(store, "b")
    (summary,) = await store.conversations(limit=10)
    assert (summary.title, summary.message_count) == ("b", 2)
    assert summary.last_at == datetime.fromtimestamp(clock.now, UTC)


async def test_open_conversations_are_those_with_a_turn_that_has_not_ended_the_oldest_first(store: Store) -> None:
    for key in (thread("ended"), thread("a"), thread("b"), thread("a"), thread("1", "elsewhere")):
        await store.accept(replace(question(), conversation=key), worker=HERE, max_waiting=20)
        if key == thread("ended"):
            await finish(store, (await claim_one(store)).lease)
    assert [item.conversation for item in await opened_in(store)] == [thread("a"), thread("b")]

    a, *_ = await store.claim(HERE, serves=ALL, limit=1)
    assert [item.conversation for item in await opened_in(store)] == [thread("a"), thread("b")]
    await answer(store, a.lease, *said("a"))  # an answer on its way is not over
    assert [item.message_count for item in await opened_in(store)] == [2, 0]
    await store.mark_posted(a.lease, 0, reference="ref", ends_turn=True)
    assert [item.conversation for item in await opened_in(store)] == [thread("b"), thread("a")]
    assert [item.title for item in await opened_in(store)] == ["How much is 2 + 2?"] * 2


async def opened_in(store: Store, channel: str = "room") -> Sequence[ConversationSummary]:
    return await store.open_conversations(prefix=str(room(channel)))


async def test_a_withdrawn_question_leaves_no_conversation_open(store: Store) -> None:
    event = question()
    await store.accept(event, worker=HERE, max_waiting=20)
    await store.withdraw(event.event_key)
    assert await opened_in(store) == []


async def test_clearing_forgets_what_was_said_in_one_conversation_only(store: Store) -> None:
    lease = await begin(store)
    await store.record(lease, [STARTED])
    await finish(store, lease, *said("a"))
    await begin_and_finish(store, "b", conversation="other")
    assert await store.clear(room("room")) == 2
    assert (await store.history(room("room"))).turns == []
    assert await store.transcript(room("room"), limit=10) == []
    assert await store.steps(lease.turn_id) == []
    assert await store.outbox(lease.turn_id) == []
    assert len((await store.history(room("other"))).turns) == 2
    assert await store.clear(room("room")) == 0
    assert await store.clear(room("never seen")) == 0


async def test_a_turn_that_runs_while_its_conversation_is_cleared_goes_on(store: Store) -> None:
    await begin_and_finish(store, "a")
    lease = await begin(store)
    following = await ask(store)
    await store.record(lease, [STARTED])
    assert await store.clear(room("room")) == 2
    await store.record(lease, [STARTED])
    assert await store.steps(lease.turn_id) == [STARTED, STARTED]
    await finish(store, lease, *said("b"))
    assert [message for _, message in (await store.history(room("room"))).turns] == list(said("b"))
    turn = await claim_one(store)
    assert turn.lease.turn_id == following and turn.event.text


async def test_an_answer_on_its_way_is_delivered_though_its_conversation_is_cleared(store: Store) -> None:
    lease = await begin(store)
    await answer(store, lease, *said("a"))
    assert await store.clear(room("room")) == 2
    assert [item.post for item in await store.outbox(lease.turn_id)] == [post(lease)]
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)


async def test_usage_adds_up_by_conversation_and_in_all_and_outlives_a_clear(store: Store) -> None:
    for name in ("a", "a", "b"):
        lease = await begin(store, name)
        await finish(store, lease, *said("x"), usage=Usage(input_tokens=100, cached_tokens=40, output_tokens=7))
    await store.clear(room("a"))
    both = Usage(input_tokens=200, cached_tokens=80, output_tokens=14)
    assert await store.usage(room("a")) == Spent(turns=2, usage=both)
    assert await store.usage() == Spent(turns=3, usage=Usage(input_tokens=300, cached_tokens=120, output_tokens=21))
    assert await store.usage(room("never seen")) == Spent()


async def test_usage_is_counted_by_the_person_who_asked_on_one_platform(store: Store) -> None:
    ann, bo = replace(question(), author_id="ann"), replace(question(), author_id="bo")
    events = [ann, bo, ann, replace(ann, conversation=thread("1", "other"))]
    events.append(replace(ann, conversation=ConversationKey(platform="test", space="other team", channel="room")))
    for event in events:
        await store.accept(replace(event, event_key=f"event-{next(numbers)}"), worker=HERE, max_waiting=20)
        await finish(store, (await claim_one(store)).lease, usage=Usage(input_tokens=10, output_tokens=1))
    await ask(store, "a third")  # by another person
    name = author_key(room("any").person("ann"))
    assert await store.usage(author=name) == Spent(turns=3, usage=Usage(input_tokens=30, output_tokens=3))
    assert (await store.usage(room("room"), author=name)).turns == 2
    assert (await store.usage(room("room"))).turns == 3
    assert await store.usage(author=author_key(room("any").person("nobody"))) == Spent()
    await store.clear(room("room"))
    assert (await store.usage(author=name)).turns == 3


# --- what people thought of an answer --------------------------------------------------------------------------


async def test_a_turn_belongs_to_its_own_conversation_alone(store: Store) -> None:
    turn_id = await ask(store)
    assert await store.is_turn_of(turn_id, room("room"))
    assert not await store.is_turn_of(turn_id, thread("1"))
    assert not await store.is_turn_of(turn_id + 1, room("room"))
    await ask(store, "other")
    assert not await store.is_turn_of(turn_id, room("other"))


async def test_answers_can_be_rated_again_by_several_people_and_after_a_clear(store: Store) -> None:
    turn_id = (await begin_and_finish(store, "a")).turn_id
    await store.rate(turn_id, author_id="ann", rating="good")
    await store.rate(turn_id, author_id="ann", rating="bad")
    await store.clear(room("room"))
    await store.rate(turn_id, author_id="bo", rating="good")
    assert await store.is_turn_of(turn_id, room("room"))
    with pytest.raises(StoreError):
        await store.rate(turn_id + 1, author_id="ann", rating="good")


# --- what adapters remember ------------------------------------------------------------------------------------


async def test_notes_are_found_by_the_beginning_of_their_names_and_outlive_a_restart(opened: OpenStore) -> None:
    async with opened() as store:
        for name in ("slack/T1/seen", "slack/T1/ünï 👍", "slack/T10/seen", "discord/seen"):
            await store.put_note(name, f"of {name}")
        await store.put_note("slack/T1/seen", "newer\n'text'")
        await store.put_note("slack/T1/gone", "x")
        await store.put_note("slack/T1/gone", None)
        await store.put_note("slack/T1/never", None)
    async with opened() as store:
        assert await store.notes("slack/T1/") == {
            "slack/T1/seen": "newer\n'text'",
            "slack/T1/ünï 👍": "of slack/T1/ünï 👍",
        }
        assert len(await store.notes("slack/")) == 3
        assert {"slack/T1/seen", "discord/seen"} < set(await store.notes(""))
        assert await store.notes("teams/") == {}


async def test_a_check_finds_nothing_wrong_with_a_store_in_use_and_leaves_nothing(store: Store) -> None:
    await begin(store)
    await store.check()
    assert await store.workers() == [HERE, THERE]


def test_the_alphabet_of_prefixes_is_plain() -> None:
    """Prefixes are compared as stored: a key has nothing in it that a database could fold or cut."""
    key = str(room("Ünïcode \x00 / % _ end"))
    assert set(key) <= set(string.ascii_letters + string.digits + "%/-._~")


# --- tools ---


async def finish_using(
    store: Store, called: dict[str, int], sent: tuple[str, ...] | None = None, *, conversation: str = "room"
) -> None:
    lease = await begin(store, conversation)
    use = ToolUse(called=called, sent=sent)
    await store.reply(lease, state="answered", messages=said("a"), posts=[post(lease)], usage=Usage(), tool_use=use)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)


async def test_calls_are_counted_over_all_conversations_and_the_most_used_tools_come_first(store: Store) -> None:
    assert await store.tool_memory(room("room")) == ToolMemory()
    await finish_using(store, {"s__b": 1, "s__a": 1, "s__c": 2})
    await finish_using(store, {"s__a": 3}, conversation="other")
    await finish_using(store, {})
    assert (await store.tool_memory(room("never seen"))).most_used == ("s__a", "s__c", "s__b")


async def test_the_tools_that_a_conversation_was_sent_are_kept_until_it_is_cleared(store: Store) -> None:
    await finish_using(store, {"s__a": 1}, ("s__z", "s__a"))
    await finish_using(store, {}, ("s__b",), conversation="other")
    await finish_using(store, {})
    assert (await store.tool_memory(room("room"))).sent == ("s__z", "s__a")
    await store.clear(room("room"))
    memory = await store.tool_memory(room("room"))
    assert (memory.sent, memory.most_used) == ((), ("s__a",))
    assert (await store.tool_memory(room("other"))).sent == ("s__b",)


async def test_a_worker_that_has_lost_its_turn_leaves_nothing_of_its_tools(store: Store) -> None:
    lease = await begin(store)
    use = ToolUse(called={"s__a": 1}, sent=("s__a",))
    with pytest.raises(LeaseLostError):
        await store.reply(
            replace(lease, fence=lease.fence + 1), state="answered", messages=[], posts=[], usage=Usage(), tool_use=use
        )
    assert await store.tool_memory(room("room")) == ToolMemory()
