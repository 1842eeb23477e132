"""Turns that wait for a decision: they are stored, let others pass, and go on from the call that waited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bot.domain.messages import AssistantMessage, ToolCall, ToolMessage, ToolResult, UserMessage
from bot.domain.people import Actor, Asker
from bot.domain.turns import CallDecided, CallWaiting, TurnState
from bot.ports.store import Store
from bot.ports.tools import Offer, Wait
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Limits
from tests.contracts.stores import Clock
from tests.fakes.bots import Bot, open_bot
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    echoes,
    message,
    says,
)

HOUR_S = 3600.0


class Desk(ScriptedTools):
    """Tools of which `deploy` waits for a decision; what it did is in `deployed`."""

    def __init__(self, *, expires_in_s: float = HOUR_S) -> None:
        super().__init__({"deploy": self._deploy, "echo": echoes()})
        self.deployed: list[str] = []
        self._expires_in_s = expires_in_s

    async def _deploy(self, call: ToolCall) -> ToolResult | Wait:
        decision = self.decisions[-1]
        if decision is None:
            return Wait(reason="Ben has to approve this deployment.", expires_in_s=self._expires_in_s)
        if decision.outcome == "approved":
            self.deployed.append(call.id)
        return ToolResult(
            call_id=call.id, text=f"{decision.outcome} by {decision.by or 'nobody'} {decision.note}".strip()
        )


async def reached(adapter: RecordingAdapter, turn_id: int, state: TurnState, *, times: int = 1) -> None:
    """Wait until the turn was shown to enter this state so often."""
    async with asyncio.timeout(20):
        while True:
            states = [view.state for view in adapter.views if view.turn_id == turn_id]
            entered = [now for before, now in zip(["", *states], states, strict=False) if now != before]
            if entered.count(state) >= times:
                return
            await asyncio.sleep(0.005)


async def ask(bot: Bot, text: str = "deploy it") -> int:
    return await bot.say(message(text))


async def said(store: Store) -> Sequence[str]:
    entries = await store.transcript(CONVERSATION, limit=100)
    return [entry.message.text for entry in entries if not isinstance(entry.message, ToolMessage)]


async def test_a_turn_waits_through_the_death_of_its_process_and_goes_on_with_the_call_that_waited(
    store: Store,
) -> None:
    first, second, tools = RecordingAdapter(), RecordingAdapter(), Desk()
    model = ScriptedModel([calls("deploy"), says("It is deployed.")])
    async with open_bot(store, model, first, tools, worker="a") as bot:
        turn_id = await ask(bot)
        await reached(first, turn_id, "waiting")
        bot.crash()
    async with open_bot(store, model, second, tools, worker="b") as other:
        assert await other.decide(turn_id) == "made"
        assert await second.wait_for_posts(1) == ["It is deployed."]
    assert tools.deployed == ["call_0"]
    assert len(model.requests) == 2, "the model is not asked for the call again"
    assert [each.by if each else None for each in tools.decisions] == [None, "fake:U2"]
    assert [entry.message for entry in await store.transcript(CONVERSATION, limit=10)] == [
        UserMessage(text="deploy it"),
        AssistantMessage(text="", tool_calls=(ToolCall(id="call_0", name="deploy", arguments="{}"),)),
        ToolMessage(call_id="call_0", text="approved by fake:U2"),
        AssistantMessage(text="It is deployed."),
    ]


async def test_a_turn_that_waits_shows_what_it_waits_for(store: Store) -> None:
    adapter = RecordingAdapter()
    async with open_bot(store, ScriptedModel([calls("deploy")]), adapter, Desk(), worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
    view = adapter.views[-1]
    assert (view.state, view.notice) == ("waiting", "Ben has to approve this deployment.")
    assert [(line.tool, line.state) for line in view.trace] == [("deploy", "waiting")]


async def test_later_questions_pass_a_turn_that_waits_and_the_history_has_it_where_it_ended(store: Store) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([calls("deploy"), says("Noon."), says("Deployed."), says("As I said.")])
    async with open_bot(store, model, adapter, Desk(), worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        await ask(bot, "what time is it?")
        assert await adapter.wait_for_posts(1) == ["Noon."]
        await bot.decide(turn_id)
        assert await adapter.wait_for_posts(2) == ["Noon.", "Deployed."]
        await ask(bot, "and?")
        await adapter.wait_for_posts(3)
    assert await said(store) == ["what time is it?", "Noon.", "deploy it", "", "Deployed.", "and?", "As I said."]
    texts = [each.text for each in model.requests[-1].messages if isinstance(each, UserMessage)]
    assert texts == ["what time is it?", "deploy it", "and?"]


async def test_a_woken_turn_waits_for_the_one_of_its_conversation_that_runs(store: Store) -> None:
    adapter, is_asked, may_go_on = RecordingAdapter(), asyncio.Event(), asyncio.Event()

    async def slow(_request: object) -> object:
        is_asked.set()
        await may_go_on.wait()
        return says("Noon.")

    model = ScriptedModel([calls("deploy"), slow, says("Deployed.")])  # type: ignore[list-item]
    async with open_bot(store, model, adapter, Desk(), worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        await ask(bot, "what time is it?")
        async with asyncio.timeout(20):
            await is_asked.wait()
        assert await bot.decide(turn_id) == "made"
        assert len(model.requests) == 2
        may_go_on.set()
        assert await adapter.wait_for_posts(2) == ["Noon.", "Deployed."]


async def test_a_decision_counts_once(store: Store) -> None:
    adapter, tools = RecordingAdapter(), Desk()
    model = ScriptedModel([calls("deploy"), says("Done.")])
    async with open_bot(store, model, adapter, tools, worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        outcomes = await asyncio.gather(*(bot.decide(turn_id, outcome=how) for how in ("approved", "no")))
        await adapter.wait_for_posts(1)
        late = await bot.decide(turn_id, outcome="no")
    assert outcomes == ["made", "decided_before"]
    assert late != "made"
    assert tools.deployed == ["call_0"]


async def test_a_decision_for_another_turn_or_call_changes_nothing(store: Store) -> None:
    adapter = RecordingAdapter()
    async with open_bot(store, ScriptedModel([calls("deploy")]), adapter, Desk(), worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        assert await bot.decide(turn_id + 1) == "unknown"
        assert await bot.decide(turn_id, call_id="call_9") == "unknown"
    assert not [step for step in await store.steps(turn_id) if isinstance(step, CallDecided)]


async def test_of_two_calls_that_wait_each_runs_once_it_is_decided(store: Store) -> None:
    adapter, tools = RecordingAdapter(), Desk()
    model = ScriptedModel([calls("deploy", "deploy", "echo"), says("Both are done.")])
    async with open_bot(store, model, adapter, tools, worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        await bot.decide(turn_id, call_id="call_1")
        await reached(adapter, turn_id, "waiting", times=2)
        assert tools.deployed == ["call_1"]
        await bot.decide(turn_id, outcome="denied", note="not today", call_id="call_0")
        assert await adapter.wait_for_posts(1) == ["Both are done."]
    results = [each.text for each in model.requests[-1].messages if isinstance(each, ToolMessage)]
    assert results == ["denied by fake:U2 not today", "approved by fake:U2", "{}"]
    assert tools.ran.count("echo") == 1


async def test_a_wait_without_a_decision_expires(store: Store) -> None:
    adapter, tools = RecordingAdapter(), Desk(expires_in_s=0.2)
    model = ScriptedModel([calls("deploy"), says("Nobody approved it.")])
    async with open_bot(store, model, adapter, tools, worker="a") as bot:
        turn_id = await ask(bot)
        assert await adapter.wait_for_posts(1) == ["Nobody approved it."]
    assert tools.deployed == []
    waited, decided = [each for each in await store.steps(turn_id) if isinstance(each, CallWaiting | CallDecided)]
    assert isinstance(waited, CallWaiting) and isinstance(decided, CallDecided)
    assert (decided.outcome, decided.by) == ("expired", "")


class HurriedDesk(Desk):
    """Ben approves the first deployment at the last moment: while a woken turn begins, which has read its journal."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(expires_in_s=0.3)
        self._store = store
        self._clock = clock

    async def offer(self, asker: Asker | None) -> Offer:
        if self.deployed or self.decisions:
            first = CallDecided(round=0, call_id="call_0", outcome="approved", by="fake:U2")
            assert await self._store.decide(1, first) == "made"
            waits = [step for step in await self._store.steps(1) if isinstance(step, CallWaiting)]
            self._clock.now = max(wait.expires_at for wait in waits)
        return await super().offer(asker)


async def test_a_decision_at_the_last_moment_counts_though_the_wait_expires_before_it_is_used(tmp_path: Path) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([calls("deploy", "deploy"), says("Both.")])
    clock = Clock()  # the database's, by which the time is over, or not
    async with open_sqlite(tmp_path / "stands.db", now=clock) as store:
        tools = HurriedDesk(store, clock)
        async with open_bot(store, model, adapter, tools, worker="a") as bot:
            turn_id = await ask(bot)
            await reached(adapter, turn_id, "waiting")
            await bot.decide(turn_id, call_id="call_1")
            assert await adapter.wait_for_posts(1) == ["Both."]
        decided = [step for step in await store.steps(turn_id) if isinstance(step, CallDecided)]
    assert sorted(tools.deployed) == ["call_0", "call_1"]
    assert sorted((step.call_id, step.outcome) for step in decided) == [("call_0", "approved"), ("call_1", "approved")]


async def test_stop_ends_a_turn_that_waits_with_one_result_for_its_call(store: Store) -> None:
    adapter, tools = RecordingAdapter(), Desk()
    async with open_bot(store, ScriptedModel([calls("deploy")]), adapter, tools, worker="a") as bot:
        turn_id = await ask(bot)
        await reached(adapter, turn_id, "waiting")
        assert await bot.stop()
        assert await adapter.wait_for_posts(1) == ["Stopped."]
    assert tools.deployed == []
    entries = [entry.message for entry in await store.transcript(CONVERSATION, limit=10)]
    assert [each.call_id for each in entries if isinstance(each, ToolMessage)] == ["call_0"]


async def test_a_wait_spends_no_attempt_and_has_no_deadline(store: Store) -> None:
    adapter, limits = RecordingAdapter(), Limits(drain_s=0.0, retry_s=0.01, max_attempts=1)
    names = ["deploy"] * 3
    model = ScriptedModel([*(calls(name) for name in names), says("Thrice.")])
    async with open_bot(store, model, adapter, Desk(), worker="a", limits=limits) as bot:
        turn_id = await ask(bot)
        for times in (1, 2, 3):
            await reached(adapter, turn_id, "waiting", times=times)
            await bot.decide(turn_id)
        assert await adapter.wait_for_posts(1) == ["Thrice."]
    attempts = [view.attempt for view in adapter.views]
    assert attempts == sorted(attempts) and set(attempts) == {1, 2, 3, 4}


async def test_every_call_is_made_in_the_name_of_the_person_who_asked(store: Store) -> None:
    adapter, tools = RecordingAdapter(), Desk()
    async with open_bot(store, ScriptedModel([calls("echo"), says("x")]), adapter, tools, worker="a") as bot:
        await ask(bot)
        await adapter.wait_for_posts(1)
    assert tools.actors == [Actor(platform="fake", space="team", id="U1", name="Ada")]
    assert tools.conversations == [CONVERSATION]


async def test_a_stop_from_another_process_ends_the_turn_within_a_second_and_a_half(store: Store) -> None:
    adapter, is_asked = RecordingAdapter(), asyncio.Event()

    async def never(_request: object) -> object:
        is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    model = ScriptedModel([never])  # type: ignore[list-item]
    async with (
        open_bot(store, model, adapter, worker="a") as bot,
        open_bot(store, ScriptedModel([says("x")]), RecordingAdapter(), worker="b") as other,
    ):
        await ask(bot)
        async with asyncio.timeout(20):
            await is_asked.wait()
        assert await other.stop()
        async with asyncio.timeout(20):
            assert await adapter.wait_for_posts(1) == ["Stopped."]
