"""What was stored, though the process was told that the database cannot be reached: nobody knows then that it was.

So it ends where a network is cut during a COMMIT and stays away for longer than the store asks what became of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bot.domain.errors import StoreUnreachableError
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import CallDecided, CallFinished, CallStarted, CallWaiting
from bot.ports.store import Store
from bot.turns.limits import Limits
from tests.contracts.stores import ALL, HERE, LEASE_S, ask, begin
from tests.fakes.bots import ended, open_bot
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    message,
    says,
)
from tests.integration.test_handover import HaltingTool

LIMITS = Limits(drain_s=0.0, retry_s=0.01, max_attempts=3)


class Unsure:
    """A store that does what it is asked, and says of each of these methods' first calls that it may not have."""

    def __init__(self, store: Store, *methods: str) -> None:
        self._store = store
        self._methods = set(methods)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self._methods:
            return method

        async def unsure(*arguments: Any, **options: Any) -> Any:
            result = await method(*arguments, **options)
            if name in self._methods and (name not in ("claim", "signals") or result):
                self._methods.discard(name)
                raise StoreUnreachableError("The database was lost, and cannot say whether it stored that.")
            return result

        return unsure


@pytest.mark.parametrize("method", ["claim", "record", "reply", "mark_posted"])
async def test_a_turn_comes_to_its_end_once_whatever_write_of_it_is_not_known_to_be_stored(
    store: Store, method: str
) -> None:
    adapter, ran = RecordingAdapter(), list[str]()

    async def act(call: ToolCall) -> ToolResult:
        ran.append(call.id)
        return ToolResult(call_id=call.id, text="done once")

    model, tools = ScriptedModel([calls("act"), says("It is done.")]), ScriptedTools({"act": act})
    unsure: Any = Unsure(store, method)
    async with open_bot(unsure, model, adapter, tools, worker="first", limits=LIMITS) as bot:
        turn_id = await bot.say(message("act"))
        assert await adapter.wait_for_posts(1) == ["It is done."]
        assert await ended(bot, adapter, [turn_id]) == ["answered"]
        assert ran == ["call_0"]
        steps = Counter(type(step).__name__ for step in await store.steps(turn_id))
        assert steps == Counter(ModelAnswered=2, CallAsked=1, CallJudged=1, CallStarted=1, CallFinished=1)
        assert [post.text for post in adapter.posts] == ["It is done."]


async def test_a_stop_of_which_it_is_not_known_whether_it_was_forgotten_ends_the_turn_all_the_same(
    store: Store,
) -> None:
    adapter, tool = RecordingAdapter(), HaltingTool()
    unsure: Any = Unsure(store, "signals")
    model, tools = ScriptedModel([calls("act")]), ScriptedTools({"act": tool})
    async with open_bot(unsure, model, adapter, tools, worker="first", limits=LIMITS) as bot:
        turn_id = await bot.say(message("act"))
        await tool.begun.wait()
        assert await store.request_stop(CONVERSATION, by="fake:U1") == turn_id
        assert await adapter.wait_for_posts(1) == ["Stopped."]
        assert await ended(bot, adapter, [turn_id]) == ["stopped"]


async def test_steps_that_are_written_again_are_stored_once_also_where_a_decision_came_between(store: Store) -> None:
    await store.heartbeat(HERE, lease_s=LEASE_S)
    lease = await begin(store)
    started, finished = (
        CallStarted(round=0, call_id="c1"),
        CallFinished(round=0, result=ToolResult(call_id="c2", text="4")),
    )
    waiting = CallWaiting(round=0, call_id="c1", reason="Ann has to agree.", expires_at=1e12)
    await store.record(lease, [started, waiting])
    await store.decide(lease.turn_id, CallDecided(round=0, call_id="c1", outcome="approved"))
    await store.record(lease, [started, waiting], again=True)
    await store.record(lease, [finished], again=True)
    await store.record(lease, [started])
    assert [type(step) for step in await store.steps(lease.turn_id)] == [
        CallStarted,
        CallWaiting,
        CallDecided,
        CallFinished,
        CallStarted,
    ]
    await store.record(lease, [started], again=True)
    assert len(await store.steps(lease.turn_id)) == 5


async def test_a_turn_that_is_parked_again_is_in_the_state_in_which_it_was_left(store: Store) -> None:
    await store.heartbeat(HERE, lease_s=LEASE_S)
    lease = await begin(store)
    waiting = CallWaiting(round=0, call_id="c1", reason="Ann has to agree.", expires_at=1e12)
    assert await store.park(lease, [waiting], wakes_at=1e12) == "waiting"
    assert await store.park(lease, [waiting], wakes_at=1e12, again=True) == "waiting"
    await store.decide(lease.turn_id, CallDecided(round=0, call_id="c1", outcome="approved"))
    assert await store.park(lease, [waiting], wakes_at=1e12, again=True) == "queued"
    assert len(await store.steps(lease.turn_id)) == 2


async def test_a_turn_that_is_let_go_twice_loses_one_attempt(store: Store) -> None:
    await store.heartbeat(HERE, lease_s=LEASE_S)
    lease = await begin(store)
    for _ in range(2):
        await store.give_back(lease, is_spent=False)
    (turn,) = await store.claim(HERE, serves=ALL, limit=1)
    assert turn.lease.attempt == 1


async def test_a_worker_frees_what_it_has_and_does_not_know_of_and_keeps_what_is_queued(store: Store) -> None:
    await store.heartbeat(HERE, lease_s=LEASE_S)
    known = await begin(store, "known")
    lost = await begin(store, "lost")
    queued = await ask(store, "queued")
    await store.hand_over(HERE, serves=ALL, keeps=[known.turn_id], is_begun=True)
    (turn,) = await store.claim(HERE, serves=ALL, limit=1)
    assert (turn.lease.turn_id, turn.lease.attempt) == (lost.turn_id, 1)
    assert [turn.lease.turn_id for turn in await store.claim(HERE, serves=ALL, limit=9)] == [queued]
