"""A turn from its acceptance to its post: the real store, the real runner, a scripted model and tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from bot.domain.answers import Queued, Refused
from bot.domain.errors import AdapterError, ModelContextError, ModelStreamError, ModelUnavailableError, RateLimitError
from bot.domain.messages import (
    AssistantMessage,
    Attachment,
    ModelAnswer,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered
from bot.ports.model import Model, ModelRequest
from bot.ports.platform import Adapter
from bot.ports.store import Store
from bot.ports.tools import Tools
from bot.ports.work_store import ClaimedTurn
from bot.turns.limits import Limits
from bot.turns.turn import RESTARTED
from bot.turns.worker import new_worker_id
from tests.fakes.bots import Bot, open_bot
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    echoes,
    message,
    returns,
    says,
)

MINUTE = 60


class Core:
    """A process of the bot, without its platform's connection."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.store = bot.store
        self.inbox = bot.inbox

    async def say(self, text: str, *, key: str = "") -> int:
        return await self.bot.say(message(text, key=key))

    async def ended(self, turn_id: int, adapter: RecordingAdapter) -> str:
        """Return the state in which the turn ended, once it did."""
        async with asyncio.timeout(10):
            while True:
                view = next((view for view in reversed(adapter.views) if view.turn_id == turn_id), None)
                if view is not None and view.state in ("answered", "stopped", "failed"):
                    return view.state
                await asyncio.sleep(0.005)


@asynccontextmanager
async def core(
    store: Store,
    model: Model,
    tools: Tools | None = None,
    adapter: Adapter | None = None,
    *,
    limits: Limits | None = None,
    max_messages: int = 50,
    worker: str = "",
) -> AsyncGenerator[Core]:
    async with open_bot(
        store,
        model,
        adapter,
        tools,
        worker=worker or new_worker_id(),
        limits=limits or Limits(drain_s=0.2),
        max_messages=max_messages,
        max_tokens=100_000,
    ) as bot:
        yield Core(bot)


async def messages_of(store: Store) -> Sequence[object]:
    return [entry.message for entry in await store.transcript(CONVERSATION, limit=1000)]


async def test_a_question_is_answered_once_and_both_are_stored(store: Store) -> None:
    adapter = RecordingAdapter()
    async with core(store, ScriptedModel([says("Hello Ada.")]), adapter=adapter) as bot:
        turn_id = await bot.say("hello")
        assert await bot.ended(turn_id, adapter) == "answered"
    assert [post.text for post in adapter.posts] == ["Hello Ada."]
    assert await messages_of(store) == [UserMessage(text="hello"), AssistantMessage(text="Hello Ada.")]


async def test_a_redelivery_is_not_answered_again(store: Store) -> None:
    adapter = RecordingAdapter()
    async with core(store, ScriptedModel([says("one")]), adapter=adapter) as bot:
        first = await bot.say("hello", key="same")
        await bot.ended(first, adapter)
        assert await bot.say("hello", key="same") == first
        await bot.ended(await bot.say("other", key="next"), adapter)
    assert len(adapter.posts) == 2


async def test_the_tools_of_one_answer_run_at_once_and_their_results_keep_the_order_of_the_calls(store: Store) -> None:
    adapter, both_run = RecordingAdapter(), asyncio.Barrier(2)

    async def meet(call: ToolCall) -> ToolResult:
        await both_run.wait()  # would never return if the calls came one after the other
        return ToolResult(call_id=call.id, text=f"{call.name} done")

    async def meet_later(call: ToolCall) -> ToolResult:
        result = await meet(call)
        await asyncio.sleep(0.02)
        return result

    model = ScriptedModel([calls("slow", "quick"), says("Both are done.")])
    tools = ScriptedTools({"slow": meet_later, "quick": meet})
    async with core(store, model, tools, adapter) as bot:
        await bot.ended(await bot.say("both, please"), adapter)
    results = [item for item in model.requests[1].messages if isinstance(item, ToolMessage)]
    assert [result.text for result in results] == ["slow done", "quick done"]
    assert [line.state for line in adapter.views[-1].trace] == ["ok", "ok"]


async def test_three_quick_questions_are_answered_one_at_a_time_in_order(store: Store) -> None:
    adapter, running = RecordingAdapter(), 0

    async def answer(request: ModelRequest) -> ModelAnswer:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.01)
        running -= 1
        question = request.messages[-1]
        return says(f"answer to {question.text}")

    async with core(store, ScriptedModel([answer]), adapter=adapter) as bot:
        outcomes = await asyncio.gather(*(bot.inbox.accept(message(f"q{n}")) for n in range(3)))
        assert [outcome.waits_behind for outcome in outcomes if isinstance(outcome, Queued)] == [0, 1, 2]
        assert await adapter.wait_for_posts(3) == ["answer to q0", "answer to q1", "answer to q2"]


async def test_a_slow_conversation_holds_up_no_other(store: Store) -> None:
    adapter, forever = RecordingAdapter(), asyncio.Event()

    async def answer(request: ModelRequest) -> ModelAnswer:
        if request.messages[-1].text == "slow":
            await forever.wait()
        return says("quick answer")

    other = message("quick", conversation=CONVERSATION.__class__(platform="fake", space="team", channel="other"))
    async with core(store, ScriptedModel([answer]), adapter=adapter) as bot:
        await bot.say("slow")
        await bot.inbox.accept(other)
        assert await adapter.wait_for_posts(1) == ["quick answer"]


async def test_the_tool_round_limit_is_said_and_the_last_words_are_the_models(store: Store) -> None:
    adapter = RecordingAdapter()

    async def answer(request: ModelRequest) -> ModelAnswer:
        return calls("again") if request.may_call_tools else says("I only got this far.")

    model = ScriptedModel([answer])
    tools = ScriptedTools({"again": returns("more")})
    async with core(store, model, tools, adapter, limits=Limits(max_tool_rounds=2)) as bot:
        await bot.ended(await bot.say("go on for ever"), adapter)
    assert adapter.posts[0].text.startswith("I only got this far.")
    assert "limit of 2 tool rounds" in adapter.posts[0].text
    assert tools.ran == ["again", "again"]
    assert "limit of 2 tool rounds" in model.requests[-1].messages[-1].text
    assert [request.tools for request in model.requests[1:]] == [model.requests[0].tools] * 2


async def test_what_the_model_says_between_its_tool_calls_stays_in_the_answer_and_is_stored_once(store: Store) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([calls("look", text="Let me look."), says("Found it.")])
    async with core(store, model, ScriptedTools({"look": returns("x")}), adapter) as bot:
        await bot.ended(await bot.say("find it"), adapter)
    assert adapter.posts[0].text == "Let me look.\n\nFound it."
    stored = [item.text for item in await messages_of(store) if isinstance(item, AssistantMessage)]
    assert "\n\n".join(stored) == adapter.posts[0].text
    texts = [view.text for view in adapter.views]
    assert all(after.startswith(before.rstrip()) for before, after in pairwise(texts))


async def test_stop_ends_a_turn_within_a_second_and_leaves_one_result_for_every_call(store: Store) -> None:
    adapter, started = RecordingAdapter(), asyncio.Event()

    async def hang(call: ToolCall) -> ToolResult:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    model = ScriptedModel([calls("quick", "hang"), says("after the stop")])
    tools = ScriptedTools({"quick": returns("q"), "hang": hang})
    async with core(store, model, tools, adapter) as bot:
        turn_id = await bot.say("work")
        async with asyncio.timeout(5):
            await started.wait()
        async with asyncio.timeout(1):
            assert await bot.bot.stop()
            assert await bot.ended(turn_id, adapter) == "stopped"
        assert adapter.posts[0].text == "Stopped."
        stored = await messages_of(store)
        results = [item for item in stored if isinstance(item, ToolMessage)]
        assert [result.call_id for result in results] == ["call_0", "call_1"]
        assert "may have run" in results[1].text
        await bot.ended(await bot.say("and now?"), adapter)
    assert adapter.posts[1].text == "after the stop"
    assert not await core_is_busy(bot)


async def core_is_busy(bot: Core) -> bool:
    return await bot.store.request_stop(CONVERSATION, by="fake:team:U1") is not None


async def test_stop_with_nothing_running_says_so(store: Store) -> None:
    async with core(store, ScriptedModel([says("x")])) as bot:
        assert not await bot.bot.stop()


async def test_a_turn_past_its_deadline_fails_with_a_sentence_and_the_next_one_works(store: Store) -> None:
    adapter = RecordingAdapter()

    async def stall(request: ModelRequest) -> ModelAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with core(
        store, ScriptedModel([stall, says("back")]), adapter=adapter, limits=Limits(turn_timeout_s=0.05)
    ) as bot:
        assert await bot.ended(await bot.say("hello"), adapter) == "failed"
        assert "TURN_TIMEOUT_S" in adapter.posts[0].text
        assert await bot.ended(await bot.say("again"), adapter) == "answered"


async def test_a_model_error_is_said_in_the_chat(store: Store) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([ModelUnavailableError("The model cannot be reached. Please try again.")])
    async with core(store, model, adapter=adapter) as bot:
        assert await bot.ended(await bot.say("hello"), adapter) == "failed"
    assert adapter.posts[0].text == "The model cannot be reached. Please try again."


async def test_a_stream_that_broke_off_keeps_the_text_that_was_shown(store: Store) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([ModelStreamError("The connection broke off here.", partial="The first half ")])
    async with core(store, model, adapter=adapter) as bot:
        assert await bot.ended(await bot.say("hello"), adapter) == "failed"
    assert adapter.posts[0].text == "The first half\n\n_The connection broke off here._"


async def test_a_conversation_too_long_for_the_model_is_shortened_once_and_for_good(store: Store) -> None:
    adapter = RecordingAdapter()
    longest = 5

    async def answer(request: ModelRequest) -> ModelAnswer:
        if len(request.messages) > longest:
            raise ModelContextError("too long")
        return says("ok")

    model = ScriptedModel([answer])
    async with core(store, model, adapter=adapter) as bot:
        for n in range(5):
            await bot.ended(await bot.say(f"q{n}"), adapter)
        assert "older part was left out" in adapter.posts[3].text
        assert adapter.posts[4].text == "ok"
    assert len(model.requests) == 6


async def test_an_unknown_tool_and_malformed_arguments_go_back_to_the_model(store: Store) -> None:
    adapter = RecordingAdapter()
    model = ScriptedModel([calls("nowhere"), says("There is no such tool.")])
    async with core(store, model, ScriptedTools({"echo": echoes()}), adapter) as bot:
        assert await bot.ended(await bot.say("use it"), adapter) == "answered"
    said = "Error: There is no tool of the name 'nowhere'. Use only the tools that are offered."
    assert model.requests[1].messages[-1].text == said


async def test_a_large_result_is_cut_for_the_model_and_kept_whole_in_the_store(store: Store) -> None:
    adapter, large = RecordingAdapter(), "x" * 100_000
    model = ScriptedModel([calls("big"), says("done")])
    async with core(store, model, ScriptedTools({"big": returns(large)}), adapter) as bot:
        turn_id = await bot.say("big")
        await bot.ended(turn_id, adapter)
    told = model.requests[1].messages[-1].text
    assert len(told) < 21_000
    assert "100,000" in told
    steps = await store.steps(turn_id)
    assert any(step.kind == "finished" and step.result.text == large for step in steps)


async def test_a_tools_image_goes_with_the_answer(store: Store) -> None:
    adapter, image = RecordingAdapter(), Attachment(name="plot.png", mime_type="image/png", data=b"\x89PNG\xff\x00")

    async def draw(call: ToolCall) -> ToolResult:
        return ToolResult(call_id=call.id, text="[image]", attachments=(image,))

    async with core(
        store, ScriptedModel([calls("draw"), says("Here.")]), ScriptedTools({"draw": draw}), adapter
    ) as bot:
        await bot.ended(await bot.say("draw"), adapter)
    assert adapter.posts[0].attachments == (image,)


async def test_the_request_prefix_stays_the_same_until_the_window_moves(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([says("ok")])
    async with core(store, model, adapter=adapter, max_messages=8) as bot:
        for n in range(12):
            await bot.ended(await bot.say(f"question {n}"), adapter)
    moves = 0
    for before, after in pairwise(model.requests):
        is_kept = after.messages[: len(before.messages)] == before.messages
        moves += not is_kept
        assert len(after.messages) <= 9
    assert 1 <= moves <= 4
    assert len({(request.system, request.tools, request.cache_key) for request in model.requests}) == 1


async def test_speakers_are_told_apart_where_several_write(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([says("hi")])
    async with core(store, model, adapter=adapter) as bot:
        await bot.inbox.accept(message("hello", is_shared=True))
        await adapter.wait_for_posts(1)
    assert model.requests[0].messages == (UserMessage(text="hello", speaker="Ada", speaker_id="U1"),)


async def test_a_long_answer_is_posted_in_parts_that_join_to_the_stored_text(store: Store) -> None:
    adapter = RecordingAdapter(max_chars=10)
    async with core(store, ScriptedModel([says("a" * 25)]), adapter=adapter) as bot:
        await bot.ended(await bot.say("long"), adapter)
    assert [len(post.text) for post in adapter.posts] == [10, 10, 5]
    assert len({post.key for post in adapter.posts}) == 3
    stored = await messages_of(store)
    assert "".join(post.text for post in adapter.posts) == stored[-1].text  # type: ignore[attr-defined]


# --- delivery ---


async def test_a_rate_limited_post_is_sent_after_the_wait(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.failures.extend([RateLimitError(retry_after_s=0.01)] * 8)
    async with core(store, ScriptedModel([says("hi")]), adapter=adapter) as bot:
        await bot.ended(await bot.say("hello"), adapter)
    assert [post.text for post in adapter.posts] == ["hi"]


async def test_a_post_whose_reference_was_lost_is_found_and_not_posted_again(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.failures.append(AdapterError("connection lost"))
    adapter.loses_references = True
    async with core(store, ScriptedModel([says("hi")]), adapter=adapter) as bot:
        await bot.ended(await bot.say("hello"), adapter)
    assert [post.text for post in adapter.posts] == ["hi"]


async def test_a_post_that_can_not_be_looked_for_says_that_it_may_be_there_twice(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.failures.append(AdapterError("connection lost"))
    adapter.loses_references, adapter.can_find = True, False
    async with core(store, ScriptedModel([says("hi")]), adapter=adapter) as bot:
        await bot.ended(await bot.say("hello"), adapter)
    assert "twice" in adapter.posts[-1].text


async def test_a_post_that_is_refused_for_good_does_not_hold_up_the_conversation(store: Store) -> None:
    adapter = RecordingAdapter()
    adapter.failures.append(AdapterError("the channel is gone", is_permanent=True))
    async with core(store, ScriptedModel([says("hi")]), adapter=adapter) as bot:
        await bot.say("hello")
        await bot.ended(await bot.say("again"), adapter)
    assert len(adapter.posts) == 1


# --- after a crash ---


async def crashed(store: Store, *steps: object, worker: str = "dead-worker") -> int:
    """Leave a turn behind as a process does that died after these steps."""
    outcome = await store.accept(message("do it"), worker=worker, max_waiting=10)
    (turn,) = await store.claim(worker, serves=["fake/"], limit=1)
    await store.record(turn.lease, steps)  # type: ignore[arg-type]
    assert isinstance(outcome, Queued)
    return outcome.turn_id


async def test_after_a_crash_the_finished_steps_are_not_done_again(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([says("done")])
    tools = ScriptedTools({"act": returns("acted")})
    turn_id = await crashed(store, ModelAnswered(round=0, answer=calls("act")))
    async with core(store, model, tools, adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "answered"
    assert len(model.requests) == 1
    assert tools.ran == ["act"]


async def test_after_a_crash_a_tool_that_may_have_acted_is_not_run_again_and_everybody_is_told(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([says("I do not know whether it ran.")])
    tools = ScriptedTools({"act": returns("acted")})
    turn_id = await crashed(store, ModelAnswered(round=0, answer=calls("act")), CallStarted(round=0, call_id="call_0"))
    async with core(store, model, tools, adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "answered"
    assert tools.ran == []
    assert "may have run" in model.requests[0].messages[-1].text
    assert "`act` was running when the bot was restarted" in adapter.posts[0].text


async def test_after_a_second_crash_the_user_is_still_told_what_may_have_run(store: Store) -> None:
    adapter = RecordingAdapter()
    turn_id = await crashed(
        store,
        ModelAnswered(round=0, answer=calls("act")),
        CallStarted(round=0, call_id="call_0"),
        CallFinished(round=0, result=ToolResult(call_id="call_0", text=RESTARTED, outcome="interrupted")),
    )
    async with core(store, ScriptedModel([says("Hm.")]), ScriptedTools({"act": returns("x")}), adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "answered"
    assert "`act` was running when the bot was restarted" in adapter.posts[0].text


async def test_after_a_crash_a_repeatable_tool_is_run_again(store: Store) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([says("done")])
    tools = ScriptedTools({"look": returns("seen")}, repeatable=frozenset({"look"}))
    turn_id = await crashed(store, ModelAnswered(round=0, answer=calls("look")), CallStarted(round=0, call_id="call_0"))
    async with core(store, model, tools, adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "answered"
    assert tools.ran == ["look"]


async def test_the_turns_of_a_live_worker_are_left_to_it(store: Store) -> None:
    adapter = RecordingAdapter()
    await store.heartbeat("other-machine", lease_s=MINUTE)
    await crashed(store, worker="other-machine")
    other = message("mine", conversation=CONVERSATION.__class__(platform="fake", space="team", channel="mine"))
    async with core(store, ScriptedModel([says("mine is answered")]), adapter=adapter) as bot:
        await bot.inbox.accept(other)
        assert await adapter.wait_for_posts(1) == ["mine is answered"]
    assert len(adapter.posts) == 1


async def test_a_question_that_breaks_the_bot_again_and_again_is_given_up_with_a_sentence(store: Store) -> None:
    adapter = RecordingAdapter()
    worker = "dead-worker"
    await store.accept(message("poison"), worker=worker, max_waiting=10)
    for n in range(3):
        (turn,) = await store.claim(f"{worker}{n}" if n else worker, serves=["fake/"], limit=1)
    async with core(store, ScriptedModel([says("never")]), adapter=adapter) as bot:
        assert await bot.ended(turn.lease.turn_id, adapter) == "failed"
        assert await bot.ended(await bot.say("next"), adapter) == "answered"
    assert "not tried again" in adapter.posts[0].text


@pytest.mark.parametrize(
    ("crashes", "told"),
    [
        (3, "`act` was running when this ended. It may have run"),
        (4, "Tools that it asked for may have run"),  # the journal is not looked at any more: it may be the cause
    ],
)
async def test_a_question_that_is_given_up_says_what_may_have_run(store: Store, crashes: int, told: str) -> None:
    adapter = RecordingAdapter()
    turn_id = await crashed(store, ModelAnswered(round=0, answer=calls("act")), CallStarted(round=0, call_id="call_0"))
    for n in range(crashes - 1):
        await store.claim(f"dead-worker{n}", serves=["fake/"], limit=1)
    async with core(store, ScriptedModel([says("never")]), ScriptedTools({"act": returns("x")}), adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "failed"
    assert "not tried again" in adapter.posts[0].text
    assert told in adapter.posts[0].text


async def test_a_shutdown_leaves_the_running_turn_for_the_next_start(store: Store) -> None:
    adapter, started = RecordingAdapter(), asyncio.Event()

    async def hang(request: ModelRequest) -> ModelAnswer:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with core(store, ScriptedModel([hang]), adapter=adapter, limits=Limits(drain_s=0.01)) as bot:
        turn_id = await bot.say("hello")
        async with asyncio.timeout(5):
            await started.wait()
    assert adapter.posts == []
    async with core(store, ScriptedModel([says("hi")]), adapter=adapter) as bot:
        assert await bot.ended(turn_id, adapter) == "answered"


async def test_a_shutdown_lets_a_turn_that_is_nearly_done_end(store: Store) -> None:
    adapter, started, go_on = RecordingAdapter(), asyncio.Event(), asyncio.Event()

    async def answer(request: ModelRequest) -> ModelAnswer:
        started.set()
        await go_on.wait()
        return says("just in time")

    async with core(store, ScriptedModel([answer]), adapter=adapter, limits=Limits(drain_s=5)) as bot:
        await bot.say("hello")
        async with asyncio.timeout(5):
            await started.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert [post.text for post in adapter.posts] == ["just in time"]


async def test_a_full_conversation_refuses_with_what_to_do(store: Store) -> None:
    async def hang(request: ModelRequest) -> ModelAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with core(store, ScriptedModel([hang])) as bot:
        outcomes = [await bot.inbox.accept(message(f"q{n}")) for n in range(21)]
    assert isinstance(outcomes[-1], Refused) and "again" in outcomes[-1].notice


async def test_a_claim_that_breaks_in_an_unforeseen_way_does_not_end_the_taking_of_turns(store: Store) -> None:
    adapter = RecordingAdapter()
    breaking = BreakingStore(store, failures=1)
    async with core(breaking, ScriptedModel([says("hi")]), adapter=adapter) as bot:  # type: ignore[arg-type]
        await bot.ended(await bot.say("hello"), adapter)
    assert breaking.failures == 0
    assert [post.text for post in adapter.posts] == ["hi"]


class BreakingStore:
    """A store whose next claims raise what no store should."""

    def __init__(self, store: Store, *, failures: int) -> None:
        self._store = store
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(
        self, worker: str, *, serves: Sequence[str], limit: int, reserved: int = 0
    ) -> Sequence[ClaimedTurn]:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        return await self._store.claim(worker, serves=serves, limit=limit, reserved=reserved)
