"""A conversation with more tools than one request takes: what the model is sent, turn by turn and after a crash."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from bot.domain.errors import ModelContextError
from bot.domain.messages import ModelAnswer, ToolMessage, ToolResult, ToolSpec
from bot.domain.people import Asker
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered, Step
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from bot.ports.tools import READ_RESOURCE, Offer, ServerInstructions
from bot.turns.selection import BASE_TOOLS, FIND_TOOLS
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

NAMES = [f"do_thing_{number:03}" for number in range(300)]


def many() -> ScriptedTools:
    return ScriptedTools({name: returns(f"did {name}") for name in NAMES})


def finds(query: str) -> ModelAnswer:
    return calls(FIND_TOOLS, arguments=json.dumps({"query": query}))


def sent(request: ModelRequest) -> list[str]:
    return [tool.name for tool in request.tools]


def last_result(request: ModelRequest) -> str:
    last = request.messages[-1]
    assert isinstance(last, ToolMessage)
    return last.text


async def ask(bot: Bot, adapter: RecordingAdapter, text: str) -> str:
    turn_id = await bot.say(message(text))
    await ended(bot, adapter, [turn_id])
    return adapter.posts[-1].text


async def test_what_is_found_is_offered_from_the_next_request_on_and_the_beginning_stays(store: Store) -> None:
    model = ScriptedModel([finds("thing 250"), calls("do_thing_250"), says("Done."), says("Again.")])
    tools, adapter = many(), RecordingAdapter()
    async with open_bot(store, model, adapter, tools, worker="one") as bot:
        assert await ask(bot, adapter, "do it") == "Done."
        assert await ask(bot, adapter, "and again") == "Again."
    asked = [sent(request) for request in model.requests]
    assert asked[0] == [FIND_TOOLS, *NAMES[:BASE_TOOLS]]
    assert "do_thing_250" in asked[1]
    assert all(later[: len(before)] == before for before, later in pairwise(asked))
    assert tools.ran == ["do_thing_250"]
    assert "- do_thing_250: " in last_result(model.requests[1])
    assert (await store.tool_memory(CONVERSATION)).most_used == ("do_thing_250",)


async def test_the_trace_shows_the_search_as_a_call(store: Store) -> None:
    model = ScriptedModel([finds("thing 250"), says("Found.")])
    adapter = RecordingAdapter()
    async with open_bot(store, model, adapter, many(), worker="one") as bot:
        await ask(bot, adapter, "look")
    traces = [view.trace for view in adapter.views if view.trace]
    assert [(line.tool, line.state) for line in traces[-1]] == [(FIND_TOOLS, "ok")]
    assert "thing 250" in traces[-1][0].arguments


async def test_a_tool_that_the_question_names_is_offered_at_once(store: Store) -> None:
    model = ScriptedModel([says("Yes.")])
    adapter = RecordingAdapter()
    async with open_bot(store, model, adapter, many(), worker="one") as bot:
        await ask(bot, adapter, "Can you do thing 123?")
    assert sent(model.requests[0])[-1] == "do_thing_123"


async def test_a_call_of_a_tool_that_was_not_offered_runs_and_is_offered_from_then_on(store: Store) -> None:
    model = ScriptedModel([calls("do_thing_299"), says("Done.")])
    tools, adapter = many(), RecordingAdapter()
    async with open_bot(store, model, adapter, tools, worker="one") as bot:
        await ask(bot, adapter, "do it")
    assert tools.ran == ["do_thing_299"]
    assert last_result(model.requests[1]) == "did do_thing_299"
    assert "do_thing_299" not in sent(model.requests[0]) and sent(model.requests[1])[-1] == "do_thing_299"


async def test_a_clear_forgets_what_was_found_and_a_new_talk_begins_with_the_most_used(store: Store) -> None:
    script = [finds("thing 250"), calls("do_thing_250"), says("Done."), finds("thing 260"), says("No."), says("New.")]
    model, adapter = ScriptedModel(script), RecordingAdapter()
    async with open_bot(store, model, adapter, many(), worker="one") as bot:
        await ask(bot, adapter, "do it")
        await ask(bot, adapter, "look")
        assert "do_thing_260" in (await store.tool_memory(CONVERSATION)).sent
        await bot.command("clear")
        await ask(bot, adapter, "hello")
    assert sent(model.requests[-1]) == [FIND_TOOLS, *NAMES[: BASE_TOOLS - 1], "do_thing_250"]


@pytest.mark.parametrize("has_result", [True, False])
async def test_after_a_crash_what_was_found_is_offered_and_a_search_without_a_result_is_made_again(
    store: Store, has_result: bool
) -> None:
    await store.accept(message("do it"), worker="dead", max_waiting=10)
    (turn,) = await store.claim("dead", serves=["fake/"], limit=1)
    steps: list[Step] = [ModelAnswered(round=0, answer=finds("thing 250")), CallStarted(round=0, call_id="call_0")]
    if has_result:
        result = ToolResult(call_id="call_0", text="These match:\n- do_thing_250: do_thing_250")
        steps.append(CallFinished(round=0, result=result))
    await store.record(turn.lease, steps)
    model, adapter = ScriptedModel([says("Found.")]), RecordingAdapter()
    async with open_bot(store, model, adapter, many(), worker="next") as bot:
        await ended(bot, adapter, [turn.lease.turn_id])
    (request,) = model.requests
    assert "do_thing_250" in sent(request)
    assert "- do_thing_250: " in last_result(request)


class ToolsOfManners(ScriptedTools):
    async def offer(self, asker: Asker | None) -> Offer:
        offer = await super().offer(asker)
        reads = ToolSpec(
            name=READ_RESOURCE, server="resources", tool=READ_RESOURCE, description="Reads.", parameters={}
        )
        manners = ServerInstructions(server="fake", text="Ask for the number first.")
        return replace(offer, tools=(*offer.tools, reads), instructions=(manners,))


async def test_what_servers_say_on_their_tools_is_in_the_prompt_and_the_bots_own_tools_come_first(store: Store) -> None:
    model, adapter = ScriptedModel([calls(READ_RESOURCE), says("Yes.")]), RecordingAdapter()
    tools = ToolsOfManners({**many().functions, READ_RESOURCE: returns("a memo")})
    async with open_bot(store, model, adapter, tools, worker="one") as bot:
        await ask(bot, adapter, "hello")
    first, second = model.requests
    assert first.system.startswith("Be brief.") and "> Ask for the number first." in first.system
    assert first.system == second.system
    assert sent(first)[:2] == [FIND_TOOLS, READ_RESOURCE] and sent(first) == sent(second)
    assert last_result(second) == "a memo"


async def test_an_endpoint_with_a_smaller_window_gets_fewer_tools_at_the_second_try(store: Store) -> None:
    refusal = ModelContextError("too long", limit_tokens=2_000)
    model, adapter = ScriptedModel([refusal, says("Yes.")]), RecordingAdapter()
    tools = ScriptedTools({name: returns("done") for name in NAMES[:40]})
    async with open_bot(store, model, adapter, tools, worker="one") as bot:
        assert (await ask(bot, adapter, "hello")).startswith("Yes.")
    first, second = map(sent, model.requests)
    assert first == NAMES[:40]
    assert second[0] == FIND_TOOLS and len(second) < 10
