"""A conversation longer than the model's window: what leaves it is summed up, and nothing is forgotten between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from bot.domain.errors import ModelContentFilterError, ModelContextError, ModelUnavailableError
from bot.domain.messages import Message, ModelAnswer, ToolMessage, UserMessage
from bot.models.rehearsal.summary import sum_up
from bot.ports.conversation_store import History
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from bot.turns.context import count_tokens
from bot.turns.limits import Limits
from tests.fakes.bots import Bot, ended, open_bot
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


async def by_rules(request: ModelRequest) -> ModelAnswer:
    return says(sum_up(request.messages[0].text))


@dataclass
class Talk:
    """One conversation with a process of the bot."""

    bot: Bot
    adapter: RecordingAdapter
    model: ScriptedModel
    asked: int = field(default=0)

    async def ask(self, text: str) -> str:
        """Return the answer once the turn has ended, whatever becomes of a summary."""
        self.asked += 1
        turn_id = await self.bot.say(message(text, key=f"{text} {self.asked}"))
        await ended(self.bot, self.adapter, [turn_id])
        return next(post.text for post in reversed(self.adapter.posts) if post.turn_id == turn_id)

    async def history(self) -> History:
        return await self.bot.store.unsummarised(CONVERSATION)

    async def until(self, is_so: Callable[[History], bool]) -> History:
        """Return what is known once it is so: summaries are written when nobody waits for them."""
        async with asyncio.timeout(10):
            while not is_so(known := await self.history()):  # noqa: ASYNC110  (a store sets no event)
                await asyncio.sleep(0.005)
        return known


@asynccontextmanager
async def talk(
    store: Store,
    model: ScriptedModel | None = None,
    tools: ScriptedTools | None = None,
    *,
    max_messages: int = 20,
    max_tokens: int = 100_000,
) -> AsyncGenerator[Talk]:
    model, adapter = model or ScriptedModel([says("ok")], summary=by_rules), RecordingAdapter()
    async with open_bot(
        store,
        model,
        adapter,
        tools,
        worker="us",
        limits=Limits(drain_s=5.0),
        max_messages=max_messages,
        max_tokens=max_tokens,
    ) as bot:
        yield Talk(bot, adapter, model)


def sent(request: ModelRequest) -> str:
    return "\n".join(
        f"{one.context}\n{one.text}" if isinstance(one, UserMessage) else one.text for one in request.messages
    )


def summary_in(messages: tuple[Message, ...]) -> str:
    first = messages[0]
    return first.context if isinstance(first, UserMessage) else ""


# --- nothing is forgotten ---


async def test_two_hundred_turns_keep_the_fact_of_the_first_one_and_each_request_knows_all_facts_so_far(
    store: Store,
) -> None:
    async with talk(store) as chat:
        facts: list[str] = []
        for number in range(200):
            if number % 10 == 0:
                facts.append(f"The code of room {number} is K{number}-{number * 7}")
                await chat.ask(facts[-1])
            else:
                await chat.ask(f"What about {number}?")
            assert not [fact for fact in facts if fact not in sent(chat.model.requests[-1])]
    assert len(chat.model.requests[-1].messages) <= 20
    assert 20 <= len(chat.model.summary_requests) <= 60
    assert facts[0] in chat.model.summary_requests[-1].messages[0].text  # the last summary is made of the one before


async def test_a_fact_that_is_said_just_before_the_window_moves_is_known_afterwards(store: Store) -> None:
    async with talk(store, max_messages=8) as chat:
        for number in range(30):  # wherever the window moves, it moves just after one of these
            await chat.ask(f"Number {number} is {number * number}")
            for earlier in range(max(0, number - 10), number):
                assert f"Number {earlier} is {earlier * earlier}" in sent(chat.model.requests[-1])


async def test_the_prefix_stays_the_same_to_the_byte_from_one_move_to_the_next(store: Store) -> None:
    async with talk(store) as chat:
        for number in range(60):
            await chat.ask(f"The size of {number} is {number}")
            if len((await chat.history()).turns) > 17:
                await chat.until(lambda known: len(known.turns) <= 17)
        requests = chat.model.requests
    moves = 0
    for before, after in pairwise(requests):
        if summary_in(before.messages) == summary_in(after.messages):
            assert after.messages[: len(before.messages)] == before.messages
        else:
            moves += 1
            assert len(after.messages) < len(before.messages)
    assert 5 <= moves <= 20  # each move makes room for several turns
    assert len({(request.system, request.tools, request.cache_key) for request in requests}) == 1


async def test_what_one_large_question_pushes_out_at_once_is_summed_up_after_its_answer(store: Store) -> None:
    async with talk(store, max_messages=1000, max_tokens=4_000) as chat:
        await chat.ask("My name is Ada")
        for number in range(20):
            await chat.ask(f"What about {'x' * 97}{number:2}?")
        assert not chat.model.summary_requests
        await chat.ask("y" * 990)
        assert "My name is Ada" not in sent(chat.model.requests[-1])
        await chat.until(lambda known: known.summary != "")
        await chat.ask("What is my name?")
        assert "My name is Ada" in summary_in(chat.model.requests[-1].messages)


async def test_tools_larger_than_the_window_do_not_push_the_conversation_out(store: Store) -> None:
    huge = ScriptedTools({f"tool{n}" + "t" * 900: returns("") for n in range(30)})
    async with talk(store, tools=huge, max_messages=1000, max_tokens=4_000) as chat:
        await chat.ask("My name is Ada")
        await chat.ask("What is my name?")
        assert "My name is Ada" in sent(chat.model.requests[-1])


# --- beside the answers ---


async def test_no_answer_waits_for_a_summary_and_a_second_one_is_not_begun_meanwhile(store: Store) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def held(request: ModelRequest) -> ModelAnswer:
        begun.set()
        await released.wait()
        return await by_rules(request)

    async with talk(store, ScriptedModel([says("ok")], summary=held), max_messages=8) as chat:
        for number in range(5):
            await chat.ask(f"Number {number} is {number}")
        await asyncio.wait_for(begun.wait(), 10)
        assert await chat.ask("And now?") == "ok"
        assert len(chat.model.summary_requests) == 1
        released.set()
        known = await chat.until(lambda known: known.summary != "")
        assert "Number 0 is 0" in known.summary
        await chat.ask("And then?")
        assert "Number 0 is 0" in sent(chat.model.requests[-1])


async def test_what_a_summary_cost_is_counted_with_the_conversation(store: Store) -> None:
    async with talk(store, max_messages=8) as chat:
        for number in range(4):
            await chat.ask(f"Number {number} is {number}")
        await chat.until(lambda known: known.summary != "")
    usage = (await store.usage(CONVERSATION)).usage
    assert (usage.input_tokens, usage.output_tokens) == (10 * 5, 2 * 5)  # four answers and a summary


async def test_a_summary_that_fails_loses_nothing_and_is_made_after_a_later_answer(store: Store) -> None:
    model = ScriptedModel([says("ok")], summary=ModelUnavailableError("The model is down."))
    async with talk(store, model, max_messages=8) as chat:
        for number in range(12):
            assert await chat.ask(f"Number {number} is {number}") == "ok"
            assert len(chat.model.requests[-1].messages) <= 9
            await asyncio.sleep(0.02)
        known = await chat.history()
        assert known.summary == "" and known.is_behind  # the oldest turns have left, as they always did
        prefixes = [request.messages[0].text for request in chat.model.requests]
        assert len(set(prefixes)) < len(prefixes) / 2  # and not at each question
        model.summary = by_rules
        await chat.ask("Better now?")
        known = await chat.until(lambda known: not known.is_behind)
        for number in range(9):
            assert f"Number {number} is {number}" in known.summary


async def test_a_process_that_dies_before_its_summary_leaves_it_to_the_next_answer(store: Store) -> None:
    async def never(request: ModelRequest) -> ModelAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with talk(store, ScriptedModel([says("ok")], summary=never), max_messages=8) as chat:
        for number in range(4):
            await chat.ask(f"Number {number} is {number}")
        async with asyncio.timeout(10):
            while not chat.model.summary_requests:  # noqa: ASYNC110  (a scripted model sets no event)
                await asyncio.sleep(0.005)
        chat.bot.crash()
    async with talk(store, max_messages=8) as chat:
        await chat.ask("Still there?")
        known = await chat.until(lambda known: known.summary != "")
        assert "Number 0 is 0" in known.summary


# --- what is cleared ---


async def test_a_cleared_conversation_never_sees_its_old_summary_nor_one_that_was_being_made(store: Store) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def held(request: ModelRequest) -> ModelAnswer:
        begun.set()
        await released.wait()
        return await by_rules(request)

    model = ScriptedModel([says("ok")], summary=by_rules)
    async with talk(store, model, max_messages=8) as chat:
        for number in range(4):
            await chat.ask(f"Secret {number} is {number}")
        await chat.until(lambda known: "Secret 0" in known.summary)
        model.summary = held
        for number in range(4, 8):
            await chat.ask(f"Secret {number} is {number}")
        await asyncio.wait_for(begun.wait(), 10)
        assert "deleted" in await chat.bot.command("clear")
        released.set()
        for number in range(12):
            await chat.ask(f"What is {number}?")
            assert "Secret" not in sent(chat.model.requests[-1])
        assert "Secret" not in (await chat.history()).summary


# --- what the model refuses ---


async def test_shrinking_goes_on_until_the_request_fits_and_what_left_is_summed_up(store: Store) -> None:
    longest = 1_000_000

    async def answer(request: ModelRequest) -> ModelAnswer:
        if sum(count_tokens(one, len) for one in request.messages) > longest:
            raise ModelContextError("too long")
        return says("ok")

    async with talk(store, ScriptedModel([answer], summary=by_rules), max_messages=1000) as chat:
        for number in range(16):
            await chat.ask(f"Number {number:02} is {'n' * 100}")
        longest = 3 * 130  # the context of another model
        said = await chat.ask("And now?")
        assert said.startswith("ok") and said.count("too long for the model") == 1
        assert len(chat.model.requests) == 16 + 4  # with all, 8, 4, and 2 turns before the question
        known = await chat.until(lambda known: not known.is_behind)
        assert "Number 00" in known.summary and "Number 13" in known.summary


async def test_the_context_that_the_endpoint_names_is_kept_to_from_then_on(store: Store) -> None:
    limit = 5_000

    async def answer(request: ModelRequest) -> ModelAnswer:
        tokens = len(request.system) + sum(count_tokens(one, len) for one in request.messages)
        if tokens > limit:
            raise ModelContextError("too long", limit_tokens=limit)
        return says("ok")

    async with talk(store, ScriptedModel([answer], summary=by_rules), max_messages=1000) as chat:
        for number in range(60):
            await chat.ask(f"Number {number} is {'n' * 200}")
        refused = len(chat.model.requests) - 60
        assert refused == 1
        assert chat.bot.runner.resources.window.max_tokens == limit
        assert [post.text for post in chat.adapter.posts].count("ok") == 59
        assert "Number 0 is" in sent(chat.model.requests[-1])


async def test_a_result_that_is_too_long_for_the_model_is_cut_until_it_fits(store: Store) -> None:
    async def answer(request: ModelRequest) -> ModelAnswer:
        results = [one for one in request.messages if isinstance(one, ToolMessage)]
        if sum(len(one.text) for one in results) > 800:
            raise ModelContextError("too long")
        return says("ok") if results else calls("big")

    async with talk(store, ScriptedModel([answer]), ScriptedTools({"big": returns("x" * 50_000)})) as chat:
        assert (await chat.ask("big")).startswith("ok")
        assert len(chat.model.requests) == 4


async def test_a_question_that_is_too_long_by_itself_fails_with_the_models_sentence(store: Store) -> None:
    async with talk(store, ScriptedModel([ModelContextError("It is longer than the model accepts.")])) as chat:
        assert await chat.ask("hello") == "It is longer than the model accepts."
        assert len(chat.model.requests) == 1


async def test_a_turn_that_a_content_filter_refuses_is_left_out_of_the_summary_alone(store: Store) -> None:
    async def picky(request: ModelRequest) -> ModelAnswer:
        if "forbidden" in request.messages[0].text:
            raise ModelContentFilterError("The filter stopped this.")
        return await by_rules(request)

    async with talk(store, ScriptedModel([says("ok")], summary=picky), max_messages=20) as chat:
        for number in range(30):
            await chat.ask(f"Number {number} is {'forbidden' if number == 3 else number}")
        known = await chat.until(lambda known: "Number 18" in known.summary)
    assert "forbidden" not in known.summary
    assert all(f"Number {number} is {number}" in known.summary for number in range(18) if number != 3)


async def test_a_summary_call_that_is_too_long_is_made_in_portions(store: Store) -> None:
    async def narrow(request: ModelRequest) -> ModelAnswer:
        if len(request.messages[0].text) > 4_000:
            raise ModelContextError("too long")
        return await by_rules(request)

    async with talk(store, ScriptedModel([says("ok")], summary=narrow), max_messages=20) as chat:
        for number in range(10):
            await chat.ask(f"Number {number} is {'n' * 900}")
        known = await chat.until(lambda known: "Number 2" in known.summary)
    assert "Number 0" in known.summary
