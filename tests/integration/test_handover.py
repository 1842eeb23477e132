"""A process that ends, or dies, and the one that goes on with its turns: two bots on one store."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from adapters.shared.buckets import Caller, Priority, Rate
from adapters.shared.gates import Gate
from bot.domain.errors import AdapterError, RateLimitError, StoreUnreachableError
from bot.domain.messages import ModelAnswer, ToolCall, ToolMessage, ToolResult
from bot.domain.turns import Post, TextArrived
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.ports.platform import Found
from bot.ports.store import Store
from bot.turns.limits import Limits
from bot.turns.turn import RESTARTED
from tests.fakes.bots import open_bot
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    message,
    returns,
    says,
)

LIMITS = Limits(drain_s=30.0, retry_s=0.01, max_attempts=1)


@dataclass
class Halting:
    """A model that says the text, as far as there is one, and then goes on only when it is told to."""

    text: str = ""
    name: str = "halting"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    refused_tools: dict[str, str] = field(default_factory=dict[str, str])

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        if self.text:
            progress(TextArrived(text=self.text))
        self.begun.set()
        await self.goes_on.wait()
        return says(f"{self.text} and the rest")


@dataclass
class HaltingTool:
    """A tool that goes on only when it is told to."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    was_cut: bool = False

    async def __call__(self, call: ToolCall) -> ToolResult:
        self.begun.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.was_cut = True
            raise
        return ToolResult(call_id=call.id, text="done once")


class Away:
    """A store whose database is away for the next `for_calls` that record a step."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.for_calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def record(self, *arguments: Any, **options: Any) -> None:
        if self.for_calls:
            self.for_calls -= 1
            raise StoreUnreachableError("The database cannot be reached.")
        await self._store.record(*arguments, **options)


async def within(seconds: float, event: asyncio.Event) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def other(store: Store) -> None:
    """Return once the bots know of each other."""
    async with asyncio.timeout(60):
        while len(await store.members()) < 2:  # noqa: ASYNC110  (a store sets no event)
            await asyncio.sleep(0.01)


def results(model: ScriptedModel) -> Sequence[str]:
    return [item.text for item in model.requests[-1].messages if isinstance(item, ToolMessage)]


# --- the process is told to end --------------------------------------------------------------------------------


async def test_a_turn_that_waits_for_the_model_is_answered_by_another_process_within_a_second_or_two(
    store: Store,
) -> None:
    thinking, adapter = Halting(), RecordingAdapter()
    async with (
        open_bot(store, thinking, adapter, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([says("hello")]), adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("hi"))
        await within(60, thinking.begun)
        await other(store)
        began_at = time.monotonic()
        await first.drain()
        assert await adapter.wait_for_posts(1) == ["hello"]
        assert time.monotonic() - began_at < 20
    assert len(adapter.posts) == 1


async def test_what_is_queued_is_handed_over_at_once_and_in_order(store: Store) -> None:
    thinking, adapter = Halting("half of it"), RecordingAdapter()
    elsewhere = replace(CONVERSATION, channel="other")
    async with (
        open_bot(store, thinking, adapter, worker="first", limits=replace(LIMITS, max_running=1)) as first,
        open_bot(store, ScriptedModel([says("here")]), adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("one"))
        await within(60, thinking.begun)
        await first.say(message("two"))
        await first.say(message("three", conversation=elsewhere))
        await other(store)
        draining = asyncio.create_task(first.drain())
        assert await adapter.wait_for_posts(1) == ["here"]  # of the other conversation
        thinking.goes_on.set()
        await draining
        assert await adapter.wait_for_posts(3) == ["here", "half of it and the rest", "here"]


async def test_what_arrives_while_the_process_ends_is_answered_by_another(store: Store) -> None:
    thinking, adapter = Halting("half of it"), RecordingAdapter()
    elsewhere = replace(CONVERSATION, channel="other")
    async with (
        open_bot(store, thinking, adapter, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([says("here")]), adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("one"))
        await within(60, thinking.begun)
        await other(store)
        draining = asyncio.create_task(first.drain())
        await first.say(message("late", conversation=elsewhere))
        assert await adapter.wait_for_posts(1) == ["here"]
        thinking.goes_on.set()
        await draining


async def test_an_answer_that_is_half_through_is_finished_by_the_process_that_ends(store: Store) -> None:
    growing, adapter = Halting("half of it"), RecordingAdapter()
    unasked = ScriptedModel([says("never")])
    async with (
        open_bot(store, growing, adapter, worker="first", limits=LIMITS) as first,
        open_bot(store, unasked, adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("hi"))
        await within(60, growing.begun)
        await other(store)
        asyncio.get_running_loop().call_later(0.3, growing.goes_on.set)
        await first.drain()
        assert [post.text for post in adapter.posts] == ["half of it and the rest"]
    assert unasked.requests == []


async def test_an_answer_that_takes_longer_than_the_drain_is_begun_again_elsewhere(store: Store) -> None:
    growing, adapter = Halting("half of it"), RecordingAdapter()
    async with (
        open_bot(store, growing, adapter, worker="first", limits=replace(LIMITS, drain_s=0.2)) as first,
        open_bot(store, ScriptedModel([says("whole")]), adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("hi"))
        await within(60, growing.begun)
        await other(store)
        await first.drain()
        assert await adapter.wait_for_posts(1) == ["whole"]


async def test_a_call_that_acts_is_never_cut_and_another_process_goes_on_with_its_result(store: Store) -> None:
    acting, adapter = HaltingTool(), RecordingAdapter()
    model = ScriptedModel([says("It is done.")])
    async with (
        open_bot(
            store,
            ScriptedModel([calls("act")]),
            adapter,
            ScriptedTools({"act": acting}),
            worker="first",
            limits=replace(LIMITS, drain_s=0.1),
        ) as first,
        open_bot(store, model, adapter, ScriptedTools({"act": returns("twice")}), worker="second", limits=LIMITS),
    ):
        await first.say(message("act"))
        await within(60, acting.begun)
        await other(store)
        draining = asyncio.create_task(first.drain())
        done, _ = await asyncio.wait([draining], timeout=1.5)
        assert not done
        acting.goes_on.set()
        await draining
        assert await adapter.wait_for_posts(1) == ["It is done."]
    assert (acting.was_cut, results(model)) == (False, ["done once"])


async def test_a_call_that_only_reads_is_left_and_made_again_elsewhere_while_the_one_beside_it_ends(
    store: Store,
) -> None:
    acting, reading, adapter = HaltingTool(), HaltingTool(), RecordingAdapter()
    model = ScriptedModel([says("Both.")])
    first_tools = ScriptedTools({"act": acting, "read": reading}, repeatable=frozenset({"read"}))
    second_tools = ScriptedTools({"act": returns("twice"), "read": returns("read")}, repeatable=frozenset({"read"}))
    async with (
        open_bot(
            store, ScriptedModel([calls("act", "read")]), adapter, first_tools, worker="first", limits=LIMITS
        ) as first,
        open_bot(store, model, adapter, second_tools, worker="second", limits=LIMITS),
    ):
        await first.say(message("both"))
        await within(60, acting.begun)
        await within(60, reading.begun)
        await other(store)
        asyncio.get_running_loop().call_later(0.3, acting.goes_on.set)
        await first.drain()
        assert await adapter.wait_for_posts(1) == ["Both."]
    assert (acting.was_cut, reading.was_cut) == (False, True)
    assert results(model) == ["done once", "read"]


async def test_the_calls_of_an_answer_that_ended_during_the_drain_are_made_elsewhere(store: Store) -> None:
    model, adapter = ScriptedModel([says("Done.")]), RecordingAdapter()
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Asking(Halting):
        async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
            progress(TextArrived(text="I look."))
            begun.set()
            await goes_on.wait()
            return calls("act", text="I look.")

    first_tools, second_tools = ScriptedTools({"act": returns("here")}), ScriptedTools({"act": returns("there")})
    async with (
        open_bot(store, Asking(), adapter, first_tools, worker="first", limits=LIMITS) as first,
        open_bot(store, model, adapter, second_tools, worker="second", limits=LIMITS),
    ):
        await first.say(message("act"))
        await within(60, begun)
        await other(store)
        asyncio.get_running_loop().call_later(0.3, goes_on.set)
        await first.drain()
        assert len(await adapter.wait_for_posts(1)) == 1
    assert (first_tools.ran, second_tools.ran, results(model)) == ([], ["act"], ["there"])


async def test_a_process_that_is_alone_lets_its_turns_end(store: Store) -> None:
    thinking, adapter = Halting(), RecordingAdapter()
    async with open_bot(store, thinking, adapter, worker="only", limits=LIMITS) as bot:
        await bot.say(message("hi"))
        await within(60, thinking.begun)
        asyncio.get_running_loop().call_later(0.3, thinking.goes_on.set)
        await bot.drain()
        assert [post.text for post in adapter.posts] == [" and the rest"]


async def test_a_process_that_serves_another_platform_or_ends_too_gets_nothing(store: Store) -> None:
    thinking, adapter, elsewhere = Halting(), RecordingAdapter(), RecordingAdapter()
    elsewhere.name, elsewhere.serves = "elsewhere", "elsewhere/"
    async with (
        open_bot(store, thinking, adapter, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([says("never")]), elsewhere, worker="second", limits=LIMITS),
        open_bot(store, ScriptedModel([says("never")]), adapter, worker="third", limits=LIMITS) as third,
    ):
        await third.drain()
        await first.say(message("hi"))
        await within(60, thinking.begun)
        asyncio.get_running_loop().call_later(0.3, thinking.goes_on.set)
        await first.drain()
        assert [post.text for post in adapter.posts] == [" and the rest"]


async def test_a_second_signal_ends_the_process_at_once_and_the_call_is_not_made_again(store: Store) -> None:
    acting, adapter = HaltingTool(), RecordingAdapter()
    model = ScriptedModel([says("It may have run.")])
    async with open_bot(store, model, adapter, ScriptedTools({"act": returns("twice")}), worker="second"):
        async with open_bot(
            store, ScriptedModel([calls("act")]), adapter, ScriptedTools({"act": acting}), worker="first", limits=LIMITS
        ) as first:
            await first.say(message("act"))
            await within(60, acting.begun)
            draining = asyncio.create_task(first.drain())
            await asyncio.wait([draining], timeout=0.3)
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
        assert await adapter.wait_for_posts(1) != []
    assert results(model) == [f"Error: {RESTARTED}"]


async def test_a_turn_is_handed_over_once_nothing_of_it_is_being_written(store: Store) -> None:
    written = asyncio.Event()

    class Writing(RecordingAdapter):
        async def settle(self, turn_id: int) -> None:
            assert [view.state for view in self.views if view.turn_id == turn_id][-1] == "taken_over"
            await asyncio.sleep(0.1)
            assert not self.posts
            written.set()

    thinking, adapter = Halting(), Writing()
    async with (
        open_bot(store, thinking, adapter, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([says("hello")]), adapter, worker="second", limits=LIMITS),
    ):
        await first.say(message("hi"))
        await within(60, thinking.begun)
        await other(store)
        await first.drain()
        assert await adapter.wait_for_posts(1) == ["hello"]
    assert written.is_set()


class Limited(RecordingAdapter):
    """A platform that takes one post a minute; `waiting` is set once so many wait for that."""

    def __init__(self, shown: RecordingAdapter, *, most_waiting: int) -> None:
        super().__init__()
        self._shown = shown
        self._gate = Gate(Rate(calls=1, period_s=60.0))
        self._most_waiting = most_waiting
        self._waits = 0
        self.waiting = asyncio.Event()

    async def post(self, post: Post) -> str:
        self._waits += 1
        if self._waits > self._most_waiting:
            self.waiting.set()
        now = asyncio.get_running_loop().time()
        await self._gate.passed(Caller(Priority.ANSWER, now), now + 10_000.0)
        return await self._shown.post(post)


class Seeing(RecordingAdapter):
    """A platform on which each search is counted."""

    searches = 0

    async def find(self, post: Post) -> Found | None:
        self.searches += 1
        return await super().find(post)


async def test_answers_that_only_wait_for_the_rate_of_their_platform_are_handed_over_at_once(store: Store) -> None:
    shown = Seeing()
    limited = Limited(shown, most_waiting=20)
    async with (
        open_bot(store, ScriptedModel([says("hello")] * 21), limited, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([]), shown, worker="second", limits=LIMITS),
    ):
        for number in range(21):
            await first.say(message(f"{number}", conversation=replace(CONVERSATION, channel=f"c{number}")))
        await within(60, limited.waiting)
        await other(store)
        began_at = time.monotonic()
        await first.drain()
        assert time.monotonic() - began_at < 10
        assert await shown.wait_for_posts(21) == ["hello"] * 21
    assert len(shown.posts) == 21
    assert shown.searches == 0, "what was never sent is not looked for"


async def test_an_answer_that_waits_for_its_platform_to_work_again_is_handed_over_at_once(store: Store) -> None:
    failing, shown = RecordingAdapter(), RecordingAdapter()
    failing.failures.extend(RateLimitError(retry_after_s=300.0) for _ in range(2))
    failing.failures.extend(AdapterError("It is out of order.") for _ in range(9))
    async with (
        open_bot(store, ScriptedModel([says("hello")] * 2), failing, worker="first", limits=LIMITS) as first,
        open_bot(store, ScriptedModel([]), shown, worker="second", limits=LIMITS),
    ):
        for name in ("a", "b"):
            await first.say(message(name, conversation=replace(CONVERSATION, channel=name)))
        async with asyncio.timeout(60):
            while len(failing.failures) > 9:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0.01)
        await other(store)
        began_at = time.monotonic()
        await first.drain()
        assert time.monotonic() - began_at < 10
        assert await shown.wait_for_posts(2) == ["hello"] * 2


# --- what processes say of themselves --------------------------------------------------------------------------


async def test_a_process_says_what_it_is_at_its_start_and_that_it_ends(store: Store) -> None:
    async with open_bot(store, ScriptedModel([says("hello")]), RecordingAdapter(), worker="first") as bot:
        (member,) = await store.members()
        assert (member.about.name, member.about.platforms, member.about.is_draining) == ("first", ("fake",), False)
        await bot.drain()
        assert [member.about.is_draining for member in await store.members()] == [True]
    assert await store.members() == []


async def test_a_process_whose_row_was_lost_says_again_what_it_is(store: Store) -> None:
    limits = replace(LIMITS, lease_s=0.4)
    async with open_bot(store, ScriptedModel([says("hello")]), RecordingAdapter(), worker="first", limits=limits):
        await store.expire("first")
        async with asyncio.timeout(60):
            while [member.about.name for member in await store.members()] != ["first"]:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0.01)


# --- the database is away --------------------------------------------------------------------------------------


async def test_what_a_call_that_acts_has_brought_outlasts_a_database_that_cannot_be_reached(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([calls("act"), says("It is done.")])
    away = Away(store)

    async def act(call: ToolCall) -> ToolResult:
        away.for_calls = 2
        return ToolResult(call_id=call.id, text="done once")

    tools = ScriptedTools({"act": act})
    async with open_bot(cast("Store", away), model, adapter, tools, worker="first", limits=LIMITS) as bot:
        await bot.say(message("act"))
        assert await adapter.wait_for_posts(1) == ["It is done."]
    assert (tools.ran, results(model), away.for_calls) == (["act"], ["done once"], 0)


# --- the process dies ------------------------------------------------------------------------------------------


async def test_a_neighbour_that_is_killed_is_noticed_long_before_its_lease_runs_out(store: Store) -> None:
    lives = "from bot.turns.worker import new_worker_id as new; print(new(), flush=True); input()"
    neighbour = await asyncio.create_subprocess_exec(
        sys.executable, "-c", lives, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert neighbour.stdout is not None
    worker = (await neighbour.stdout.readline()).decode().strip()
    adapter = RecordingAdapter()
    try:
        await store.heartbeat(worker, lease_s=60)
        await store.accept(message("hi"), worker=worker, max_waiting=10)
        async with open_bot(store, ScriptedModel([says("hello")]), adapter, worker="second") as second:
            await second.say(message("here", conversation=replace(CONVERSATION, channel="elsewhere")))
            await adapter.wait_for_posts(1)
            assert [post.conversation.channel for post in adapter.posts] == ["elsewhere"], "the neighbour lives"
            neighbour.kill()
            assert await adapter.wait_for_posts(2, timeout_s=20) == ["hello"] * 2
    finally:
        if neighbour.returncode is None:
            neighbour.kill()
        await neighbour.wait()
    assert worker not in await store.workers()
