"""What every Store keeps to, whatever it stores in; each test runs on a real database, opened as a process opens it."""

from __future__ import annotations

import asyncio
import itertools
import string
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.errors import LeaseLostError, StoreError
from bot.domain.events import ConversationKey, MessageReceived, SharedFile
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
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered, Post, Step
from bot.ports.store import ClaimedTurn, ConversationSummary, Lease, Store, UsageTotals, author_key
from bot.stores.sqlite.store import open_store
from bot.text.cleaning import clean

HERE, THERE = "worker-here", "worker-there"
LEASE_S = 15.0
ALL = ("test/",)
numbers = itertools.count(1)

property_test = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = 1_800_000_000.0
    set_by_s: float = 0.0

    def __call__(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now - self.set_by_s

    def set(self, by_s: float) -> None:
        """Set the clock, as a person or a time server does; no time passes."""
        self.now += by_s
        self.set_by_s += by_s


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> OpenStore:
    """Opens the one database of this test; opened twice it is as two processes see it."""

    def open_sqlite() -> AbstractAsyncContextManager[Store]:
        return open_store(tmp_path / "store.db", now=clock, steady=clock.steady)

    return {"sqlite": open_sqlite}[request.param]


@pytest.fixture
async def store(opened: OpenStore) -> AsyncGenerator[Store]:
    """A store in which two workers are alive."""
    async with opened() as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        await store.heartbeat(THERE, lease_s=LEASE_S)
        yield store


def room(name: str) -> ConversationKey:
    return ConversationKey(platform="test", space="team", channel=name)


def thread(name: str, channel: str = "room") -> ConversationKey:
    return replace(room(channel), thread=name)


def question(conversation: str = "room", *, text: str = "How much is 2 + 2?", key: str = "") -> MessageReceived:
    return MessageReceived(
        conversation=room(conversation),
        event_key=key or f"event-{next(numbers)}",
        author_id="u1",
        author_name="Ann",
        text=text,
        sent_at=datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC),
        is_shared=True,
    )


async def ask(store: Store, conversation: str = "room", *, worker: str = HERE, text: str = "How much is 2 + 2?") -> int:
    receipt = await store.accept(question(conversation, text=text), worker=worker, max_waiting=1_000)
    assert receipt.turn_id is not None and receipt.is_new
    return receipt.turn_id


async def claim(store: Store, *, worker: str = HERE, serves: Sequence[str] = ALL, limit: int = 100) -> list[int]:
    return [turn.lease.turn_id for turn in await store.claim(worker, serves=serves, limit=limit)]


async def claim_one(store: Store, *, worker: str = HERE) -> ClaimedTurn:
    (turn,) = await store.claim(worker, serves=ALL, limit=100)
    return turn


async def begin(store: Store, conversation: str = "room", *, text: str = "How much is 2 + 2?") -> Lease:
    """Accept a question and claim its turn."""
    turn_id = await ask(store, conversation, text=text)
    turn = await claim_one(store)
    assert turn.lease.turn_id == turn_id
    return turn.lease


def post(lease: Lease, *, part: int = 0, text: str = "4", attachments: tuple[Attachment, ...] = ()) -> Post:
    return Post(
        key=f"{lease.turn_id}.{part}",
        conversation=room("room"),
        turn_id=lease.turn_id,
        part=part,
        text=text,
        in_reply_to="event",
        attachments=attachments,
    )


async def answer(
    store: Store, lease: Lease, *messages: Message, posts: Sequence[Post] = (), usage: Usage | None = None
) -> None:
    await store.reply(
        lease, state="answered", messages=messages, posts=posts or [post(lease)], usage=usage or Usage(input_tokens=1)
    )


async def finish(store: Store, lease: Lease, *messages: Message, usage: Usage | None = None) -> None:
    await answer(store, lease, *messages, usage=usage)
    await store.mark_posting(lease, 0)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)


def said(text: str) -> tuple[Message, Message]:
    return UserMessage(text=f"{text}?"), AssistantMessage(text=f"{text}!")


STARTED = CallStarted(round=0, call_id="c1")

# --- accepting -------------------------------------------------------------------------------------------------


async def test_an_accepted_message_is_a_queued_turn_that_can_be_claimed(store: Store) -> None:
    event = question()
    receipt = await store.accept(event, worker=HERE, max_waiting=20)
    turn = await claim_one(store)
    assert receipt.is_new and receipt.waits_behind == 0
    assert turn.event == event
    assert turn.state == "running" and not turn.stop_requested
    assert (turn.lease.turn_id, turn.lease.attempt) == (receipt.turn_id, 1)


async def test_a_redelivered_message_is_the_turn_that_it_was_before(store: Store) -> None:
    event = question()
    first = await store.accept(event, worker=HERE, max_waiting=20)
    second = await store.accept(event, worker=THERE, max_waiting=20)
    assert (second.turn_id, second.is_new) == (first.turn_id, False)
    assert await claim(store, worker=THERE) == []
    assert await claim(store) == [first.turn_id]


async def test_a_redelivery_is_recognised_after_the_store_was_closed_and_opened_again(opened: OpenStore) -> None:
    event = question()
    async with opened() as store:
        first = await store.accept(event, worker=HERE, max_waiting=20)
    async with opened() as store:
        second = await store.accept(event, worker=HERE, max_waiting=20)
    assert (second.turn_id, second.is_new) == (first.turn_id, False)


async def test_a_hundred_deliveries_at_once_through_two_processes_are_one_turn(store: Store, opened: OpenStore) -> None:
    event = question()
    async with opened() as other:
        receipts = await asyncio.gather(
            *((store, other)[number % 2].accept(event, worker=HERE, max_waiting=20) for number in range(100))
        )
    assert len({receipt.turn_id for receipt in receipts}) == 1
    assert sum(receipt.is_new for receipt in receipts) == 1
    assert len(await claim(store)) == 1


async def test_a_redelivery_is_recognised_after_its_turn_has_ended_and_was_cleared(store: Store) -> None:
    event = question()
    first = await store.accept(event, worker=HERE, max_waiting=20)
    await finish(store, (await claim_one(store)).lease, *said("a"))
    await store.clear(event.conversation)
    second = await store.accept(event, worker=HERE, max_waiting=20)
    assert (second.turn_id, second.is_new) == (first.turn_id, False)


async def test_receipts_tell_how_many_open_turns_of_the_conversation_come_before(store: Store) -> None:
    receipts = [await store.accept(question(), worker=HERE, max_waiting=20) for _ in range(3)]
    elsewhere = await store.accept(question("another"), worker=HERE, max_waiting=20)
    assert [receipt.waits_behind for receipt in receipts] == [0, 1, 2]
    assert elsewhere.waits_behind == 0


async def test_turns_that_have_ended_do_not_count_as_waiting(store: Store) -> None:
    await finish(store, await begin(store))
    receipt = await store.accept(question(), worker=HERE, max_waiting=1)
    assert receipt.is_new and receipt.waits_behind == 0


async def test_a_full_conversation_takes_no_message_and_keeps_nothing_of_it(store: Store) -> None:
    await ask(store)
    await ask(store)
    event = question()
    refused = await store.accept(event, worker=HERE, max_waiting=2)
    assert (refused.turn_id, refused.waits_behind) == (None, 2)
    later = await store.accept(event, worker=HERE, max_waiting=3)
    assert later.turn_id is not None and later.is_new


async def test_a_redelivery_to_a_full_conversation_is_recognised_all_the_same(store: Store) -> None:
    event = question()
    first = await store.accept(event, worker=HERE, max_waiting=1)
    second = await store.accept(event, worker=HERE, max_waiting=1)
    assert (second.turn_id, second.is_new) == (first.turn_id, False)


async def test_an_accept_whose_caller_is_cancelled_is_stored_before_the_cancellation_goes_on(store: Store) -> None:
    event = question()
    accepting = asyncio.create_task(store.accept(event, worker=HERE, max_waiting=20))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    assert not (await store.accept(event, worker=HERE, max_waiting=20)).is_new


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
    assert not (await store.accept(event, worker=HERE, max_waiting=20)).is_new
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
    assert len(await store.history(event.conversation)) == 2
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
    redelivered = await store.accept(event, worker=HERE, max_waiting=2)
    assert redelivered.turn_id is not None and not redelivered.is_new
    assert (await store.accept(question(), worker=HERE, max_waiting=2)).waits_behind == 1


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
    receipt = await store.accept(event, worker=HERE, max_waiting=20)
    assert receipt.is_new
    assert await store.find(event.event_key) == receipt.turn_id


async def test_a_change_that_meets_a_claim_is_made_before_it_or_not_at_all(store: Store, opened: OpenStore) -> None:
    async with opened() as other:
        for _ in range(30):
            event = question(f"race-{next(numbers)}")
            await store.accept(event, worker=HERE, max_waiting=20)
            turns, revision = await asyncio.gather(
                store.claim(HERE, serves=ALL, limit=10), other.edit(changed(event, "other"))
            )
            assert (revision, turns[0].event.text) in {("made", "other"), ("started", event.text)}


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
    await store.bury(HERE)
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
        store.mark_posted(old, 0, reference="old", ends_turn=True),
        store.abandon(old),
    ):
        with pytest.raises(LeaseLostError):
            await write
    (item,) = await store.outbox(new.turn_id)
    assert item.state == "pending"
    assert [message for _, message in await store.history(room("room"))] == list(said("new"))


async def test_a_turn_taken_over_while_it_is_delivered_keeps_its_answer(store: Store) -> None:
    old = await begin(store)
    await answer(store, old, *said("a"))
    await store.mark_posting(old, 0)
    await store.bury(HERE)
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
    await store.bury(HERE)
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
    assert await store.request_stop(room("room")) == lease.turn_id
    await store.bury(HERE)
    turn = await claim_one(store, worker=THERE)
    assert turn.lease.turn_id == lease.turn_id and turn.stop_requested
    await finish(store, turn.lease)
    assert not (await claim_one(store, worker=THERE)).stop_requested


async def test_a_stop_before_the_turn_has_begun_is_known_when_it_is_claimed(store: Store) -> None:
    first, second = await ask(store), await ask(store)
    assert await store.request_stop(room("room")) == first
    turn = await claim_one(store)
    assert turn.lease.turn_id == first and turn.stop_requested
    await finish(store, turn.lease)
    turn = await claim_one(store)
    assert turn.lease.turn_id == second and not turn.stop_requested


async def test_there_is_nothing_to_stop_where_no_turn_runs_or_is_about_to(store: Store) -> None:
    assert await store.request_stop(room("never seen")) is None
    lease = await begin(store)
    following = await ask(store)
    await answer(store, lease)
    assert await store.request_stop(room("room")) is None
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)
    turn = await claim_one(store)
    assert turn.lease.turn_id == following and not turn.stop_requested
    await finish(store, turn.lease)
    assert await store.request_stop(room("room")) is None


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
    | st.builds(CallStarted, round=counts, call_id=texts)
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
    assert await store.history(room("room")) == []
    assert await store.outbox(lease.turn_id) == []
    await store.record(lease, [STARTED])
    await answer(store, lease, *said("b"))
    assert [message for _, message in await store.history(room("room"))] == list(said("b"))


async def test_a_turn_that_is_replied_takes_neither_steps_nor_a_second_reply(store: Store) -> None:
    lease = await begin(store)
    await answer(store, lease, *said("a"))
    with pytest.raises(LeaseLostError):
        await store.record(lease, [STARTED])
    with pytest.raises(LeaseLostError):
        await answer(store, lease, *said("b"))
    assert [message for _, message in await store.history(room("room"))] == list(said("a"))
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


async def test_posts_come_back_in_order_with_their_files_and_go_from_pending_to_posted(store: Store) -> None:
    lease = await begin(store)
    picture = Attachment(name="a.png", mime_type="image/png", data=bytes(range(256)))
    parts = [post(lease, part=number, text=f"part {number}") for number in range(11)]
    parts[-1] = post(lease, part=10, text="the last", attachments=(picture,))
    await answer(store, lease, posts=list(reversed(parts)))
    assert [item.post for item in await store.outbox(lease.turn_id)] == parts

    await store.mark_posting(lease, 0)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=False)
    await store.mark_posting(lease, 1)
    states = [item.state for item in await store.outbox(lease.turn_id)]
    assert states == ["posted", "posting", *["pending"] * 9]
    assert await claim(store) == []


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
    assert [message for _, message in await store.history(room("room"))] == list(said("a"))


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
    assert await store.history(room(name)) == expected
    assert [entry.message for entry in await store.transcript(room(name), limit=100)] == [item for _, item in expected]


async def test_history_begins_at_the_window_and_the_window_never_moves_back(store: Store) -> None:
    leases = [await begin_and_finish(store, text) for text in "abc"]
    await store.move_window(room("room"), first_turn_id=leases[1].turn_id)
    await store.move_window(room("room"), first_turn_id=leases[0].turn_id)
    history = await store.history(room("room"))
    assert [turn_id for turn_id, _ in history] == [leases[1].turn_id] * 2 + [leases[2].turn_id] * 2
    assert len(await store.transcript(room("room"), limit=100)) == 6
    await store.move_window(room("room"), first_turn_id=leases[2].turn_id + 1)
    assert await store.history(room("room")) == []


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
    assert await store.history(room("room")) == []
    assert await store.transcript(room("room"), limit=10) == []
    assert await store.steps(lease.turn_id) == []
    assert await store.outbox(lease.turn_id) == []
    assert len(await store.history(room("other"))) == 2
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
    assert [message for _, message in await store.history(room("room"))] == list(said("b"))
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
    assert await store.usage(room("a")) == UsageTotals(turns=2, usage=both)
    assert await store.usage() == UsageTotals(
        turns=3, usage=Usage(input_tokens=300, cached_tokens=120, output_tokens=21)
    )
    assert await store.usage(room("never seen")) == UsageTotals()


async def test_usage_is_counted_by_the_person_who_asked_on_one_platform(store: Store) -> None:
    ann, bo = replace(question(), author_id="ann"), replace(question(), author_id="bo")
    events = [ann, bo, ann, replace(ann, conversation=thread("1", "other"))]
    events.append(replace(ann, conversation=ConversationKey(platform="test", space="other team", channel="room")))
    for event in events:
        await store.accept(replace(event, event_key=f"event-{next(numbers)}"), worker=HERE, max_waiting=20)
        await finish(store, (await claim_one(store)).lease, usage=Usage(input_tokens=10, output_tokens=1))
    await ask(store, "a third")  # by somebody else
    name = author_key(room("any"), "ann")
    assert await store.usage(author=name) == UsageTotals(turns=3, usage=Usage(input_tokens=30, output_tokens=3))
    assert (await store.usage(room("room"), author=name)).turns == 2
    assert (await store.usage(room("room"))).turns == 3
    assert await store.usage(author=author_key(room("any"), "nobody")) == UsageTotals()
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
        assert len(await store.notes("")) == 4
        assert await store.notes("teams/") == {}


def test_the_alphabet_of_prefixes_is_plain() -> None:
    """Prefixes are compared as stored: a key has nothing in it that a database could fold or cut."""
    key = str(room("Ünïcode \x00 / % _ end"))
    assert set(key) <= set(string.ascii_letters + string.digits + "%/-._~")
