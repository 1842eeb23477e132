"""What endpoints do wrong, or in their own way: answers byte for byte from a loopback socket, through the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.backoff import Backoff
from bot.domain.errors import (
    ModelAccessError,
    ModelContentFilterError,
    ModelContextError,
    ModelQuotaError,
    ModelRateLimitError,
    ModelRequestError,
    ModelStreamError,
    ModelUnavailableError,
    SettingsError,
)
from bot.domain.messages import AssistantMessage, Attachment, ModelAnswer, ToolCall, ToolMessage, ToolSpec, UserMessage
from bot.domain.turns import Paused, TextArrived
from bot.models.azure import Cloud, cloud_of, is_azure
from bot.models.chat_fold import ChatFold
from bot.models.endpoint import Patience
from bot.models.factory import open_model
from bot.models.pauses import retry_after_s
from bot.models.refusals import StreamRefusalError
from bot.models.responses import ResponsesFold
from bot.models.thoughts import Said
from bot.ports.model import Model, ModelProgress, ModelRequest
from bot.settings import Settings
from tests.fakes.openai.raw import Answer, Endpoint, serve_answers

KEY = "hunter2.Winter"
TOOL = ToolSpec(name="s__t", server="s", tool="t", description="", parameters={"type": "object", "properties": {}})
QUESTION = ModelRequest(system="s", messages=(UserMessage(text="q"),), tools=(TOOL,), cache_key="c")
PATIENCE = Patience(backoff=Backoff(first_s=0.01))
AZURE = {"azure_openai_deployment": "d", "azure_openai_api_key": KEY}
CLASSIC = {"azure_openai_api_version": "2024-10-21"}


def events(*data: Any, done: bool = True, **more: Any) -> Answer:
    pieces = [f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n".encode() for one in data]
    return Answer(pieces=(*pieces, *([b"data: [DONE]\n\n"] if done else [])), **more)


def refusal(status: int, headers: dict[str, str] | None = None, **error: Any) -> Answer:
    body = json.dumps(error if "detail" in error else {"error": error}).encode()
    return Answer(status=status, headers={"content-type": "application/json", **(headers or {})}, pieces=(body,))


def delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def calls(*calls: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return delta(finish, tool_calls=list(calls))


FINE = events(delta(content="fine"), delta("stop"))


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serve_answers() as endpoint:
        yield endpoint


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own argument)


@asynccontextmanager
async def opened(endpoint: Endpoint, *, patience: Patience = PATIENCE, **values: Any) -> AsyncGenerator[Model]:
    openai = {"openai_base_url": f"{endpoint.url}/v1", "openai_model": "m", "openai_api_key": KEY}
    is_azure = any(name.startswith("azure") for name in values)
    async with open_model(settings(**(values if is_azure else openai | values)), patience=patience) as model:
        yield model


async def ask(
    model: Model, request: ModelRequest = QUESTION, *, progress: list[ModelProgress] | None = None
) -> ModelAnswer:
    told: list[ModelProgress] = [] if progress is None else progress
    async with asyncio.timeout(30):
        return await model.complete(request, deadline=asyncio.get_running_loop().time() + 20, progress=told.append)


async def answer_to(endpoint: Endpoint, *answers: Answer, **values: Any) -> ModelAnswer:
    endpoint.answers = list(answers)
    async with opened(endpoint, **values) as model:
        return await ask(model)


# --- the ways of local servers -----------------------------------------------------------------------------------


async def test_calls_that_all_have_index_0_are_told_apart_by_their_ids(endpoint: Endpoint) -> None:
    function = {"name": "s__t", "arguments": "{}"}
    chunk = calls({"index": 0, "id": "a", "function": function}, {"index": 0, "id": "b", "function": function})
    answer = await answer_to(endpoint, events(chunk, delta("stop")))
    assert [call.id for call in answer.message.tool_calls] == ["a", "b"]


async def test_calls_without_index_and_id_are_told_apart_by_their_names(endpoint: Endpoint) -> None:
    answer = await answer_to(
        endpoint,
        events(
            calls({"function": {"name": "s__t", "arguments": '{"a"'}}),
            calls({"function": {"arguments": ": 1}"}}),
            calls({"function": {"name": "s__t", "arguments": "{}"}}),
            delta("tool_calls"),
        ),
    )
    first, second = answer.message.tool_calls
    assert (first.arguments, second.arguments) == ('{"a": 1}', "{}")
    assert first.id and second.id and first.id != second.id


async def test_an_id_that_comes_twice_is_replaced(endpoint: Endpoint) -> None:
    chunks = [calls({"index": at, "id": "same", "function": {"name": "s__t", "arguments": "{}"}}) for at in range(3)]
    answer = await answer_to(endpoint, events(*chunks, delta("tool_calls")))
    ids = [call.id for call in answer.message.tool_calls]
    assert ids[0] == "same" and len(set(ids)) == 3


async def test_a_new_id_in_each_delta_of_a_call_does_not_split_it(endpoint: Endpoint) -> None:
    chunks = [calls({"index": 0, "id": f"id{at}", "function": {"arguments": part}}) for at, part in enumerate('{"a"}')]
    chunks[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] = "s__t"
    answer = await answer_to(endpoint, events(*chunks, delta("tool_calls")))
    assert answer.message.tool_calls == (ToolCall(id="id0", name="s__t", arguments='{"a"}'),)


async def test_a_name_repeated_in_each_delta_does_not_split_a_call(endpoint: Endpoint) -> None:
    parts = ['{"a', '": [1', "]}"]
    chunks = [calls({"index": 0, "id": "i", "function": {"name": "s__t", "arguments": part}}) for part in parts]
    answer = await answer_to(endpoint, events(*chunks, delta("tool_calls")))
    assert answer.message.tool_calls == (ToolCall(id="i", name="s__t", arguments='{"a": [1]}'),)


async def test_arguments_that_come_as_an_object_become_their_text(endpoint: Endpoint) -> None:
    chunk = calls({"index": 0, "id": "i", "function": {"name": "s__t", "arguments": {"a": 1}}}, finish="stop")
    [call] = (await answer_to(endpoint, events(chunk))).message.tool_calls
    assert json.loads(call.arguments) == {"a": 1}


@pytest.mark.parametrize("arguments", ["", '{"a', "{}"])
async def test_the_calls_of_an_answer_at_the_output_limit_are_not_run(endpoint: Endpoint, arguments: str) -> None:
    chunk = calls({"index": 0, "id": "i", "function": {"name": "s__t", "arguments": arguments}})
    answer = await answer_to(endpoint, events(chunk, delta("length")))
    assert len(endpoint.bodies) == 2 and answer.message.tool_calls == ()
    [note] = answer.notes
    assert "output limit while it asked for `s__t`, so nothing was run" in note and "MODEL_MAX_OUTPUT_TOKENS" in note


async def test_an_answer_whose_call_was_cut_is_asked_for_once_more(endpoint: Endpoint) -> None:
    chunk = calls({"index": 0, "id": "i", "function": {"name": "s__t", "arguments": '{"a'}})
    answer = await answer_to(endpoint, events(delta(content="So: "), chunk, delta("length")), FINE)
    assert answer.message.text == "fine" and answer.notes == ()


async def test_an_answer_in_words_at_the_output_limit_says_so(endpoint: Endpoint) -> None:
    answer = await answer_to(endpoint, events(delta(content="half"), delta("length")))
    assert answer.is_cut and answer.message.text == "half" and len(endpoint.bodies) == 1


async def test_comments_empty_choices_and_line_ends_of_every_kind_are_read(endpoint: Endpoint) -> None:
    body = (
        b": OPENROUTER PROCESSING\r\n\r\n"
        b'event: message\r\ndata: {"choices": [], "prompt_filter_results": []}\r\n\r\n'
        b'data:{"choices": null}\n\ndata: {"choices": [{"delta": null}]}\r\r'
        b'data: {"choices": [{"delta": {"content": "gr\xc3\xb6\xc3\x9fer"},\ndata: "finish_reason": "stop"}]}\n\n'
        b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2,\n'
        b'data: "prompt_tokens_details": null}}\n\n'
    )
    pieces = tuple(body[at : at + 7] for at in range(0, len(body), 7))
    answer = await answer_to(endpoint, Answer(pieces=pieces))
    assert answer.message.text == "größer"
    assert (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens) == (7, 0, 2)


async def test_a_byte_order_mark_and_events_without_data_do_no_harm(endpoint: Endpoint) -> None:
    body = (
        b'\xef\xbb\xbfdata: {"choices": [{"delta": {"content": "fi"}}]}\n\nretry: 3000\n\nevent: ping\n\nid: 7\n\n'
        b'data: {"choices": [{"delta": {"content": "ne"}, "finish_reason": "stop"}]}\n\n'
    )
    answer = await answer_to(endpoint, Answer(pieces=(body,)))
    assert answer.message.text == "fine" and len(endpoint.bodies) == 1


async def test_characters_are_put_together_however_the_bytes_are_cut(endpoint: Endpoint) -> None:
    body = 'data: {"choices": [{"delta": {"content": "größer 😀"}, "finish_reason": "stop"}]}\n\n'.encode()
    answer = await answer_to(endpoint, Answer(pieces=tuple(bytes([byte]) for byte in body)))
    assert answer.message.text == "größer 😀"


@pytest.mark.parametrize("content_type", [None, "text/plain", "text/event-stream; charset=iso-8859-1"])
async def test_an_answer_is_read_whatever_its_type_is_said_to_be(endpoint: Endpoint, content_type: str | None) -> None:
    fine = Answer(
        headers={"content-type": content_type} if content_type else {},
        pieces=('data: {"choices": [{"delta": {"content": "größer"}, "finish_reason": "stop"}]}\n\n'.encode(),),
    )
    assert (await answer_to(endpoint, fine)).message.text == "größer"


async def test_an_event_that_is_not_ended_by_an_empty_line_does_not_count(endpoint: Endpoint) -> None:
    cut = Answer(pieces=(b'data: {"choices": [{"delta": {"content": "cut"}, "finish_reason": "stop"}]}\n',))
    assert (await answer_to(endpoint, cut, FINE)).message.text == "fine"


async def test_a_large_event_is_read_and_one_without_end_is_not_waited_for(endpoint: Endpoint) -> None:
    large = "x" * 3_000_000
    assert (await answer_to(endpoint, events(delta("stop", content=large)))).message.text == large
    endless = Answer(pieces=(b"data: ", *([b"x" * 1_000_000] * 34)), stays_open=True)
    assert (await answer_to(endpoint, endless, FINE)).message.text == "fine"


async def test_bytes_that_are_no_text_are_asked_for_again(endpoint: Endpoint) -> None:
    noise = Answer(pieces=(b"data: \xff\xfe\x00\n\n",))
    assert (await answer_to(endpoint, noise, FINE)).message.text == "fine"


async def test_halves_of_characters_in_an_answer_are_replaced(endpoint: Endpoint) -> None:
    answer = await answer_to(endpoint, events(delta(content="ab \ud83d"), delta("stop", content="😀")))
    assert answer.message.text == "ab \ufffd😀"


async def test_a_connection_that_stays_open_after_the_end_does_not_hold_the_answer_up(endpoint: Endpoint) -> None:
    answer = await answer_to(endpoint, replace(FINE, stays_open=True))
    assert answer.message.text == "fine"


async def test_a_connection_that_is_cut_after_the_end_does_no_harm(endpoint: Endpoint) -> None:
    assert (await answer_to(endpoint, replace(FINE, is_cut=True))).message.text == "fine"
    assert len(endpoint.bodies) == 1


async def test_a_history_with_broken_arguments_is_sent_as_json_objects(endpoint: Endpoint) -> None:
    wrong = ['{"a": ', "", "[1]", '{"a": 1}']
    asked = tuple(ToolCall(id=str(at), name="s__t", arguments=one) for at, one in enumerate(wrong))
    results = tuple(ToolMessage(call_id=call.id, text="r") for call in asked)
    endpoint.answers = [FINE]
    async with opened(endpoint) as model:
        await ask(
            model,
            replace(QUESTION, messages=(*QUESTION.messages, AssistantMessage(text="", tool_calls=asked), *results)),
        )
    sent = [call["function"]["arguments"] for call in endpoint.bodies[0]["messages"][2]["tool_calls"]]
    assert [json.loads(one) for one in sent] == [
        {"malformed_arguments": '{"a": '},
        {},
        {"malformed_arguments": "[1]"},
        {"a": 1},
    ]
    assert endpoint.bodies[0]["messages"][2]["content"] is None


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, message="This model's maximum context length is 4096 tokens.", code=400, type="BadRequestError"),
        refusal(400, message="the request exceeds the size", code=400, type="exceed_context_size_error"),
        events({"error": {"code": 500, "message": "exceeds", "type": "exceed_context_size_error"}}, done=False),
        refusal(429, message="Request too large for m on tokens per min (TPM): Limit 9", code="rate_limit_exceeded"),
    ],
    ids=["vllm", "llama.cpp", "llama.cpp in the stream", "more than a minute's tokens"],
)
async def test_a_context_that_is_too_long_is_recognised(endpoint: Endpoint, answer: Answer) -> None:
    with pytest.raises(ModelContextError):
        await answer_to(endpoint, answer)
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize("where", ["status", "type"])
async def test_no_quota_is_recognised(endpoint: Endpoint, where: str) -> None:
    answer = refusal(402, message="pay") if where == "status" else refusal(429, message="m", type="insufficient_quota")
    with pytest.raises(ModelQuotaError):
        await answer_to(endpoint, answer)


async def test_a_filter_that_refuses_the_question_is_told_as_such(endpoint: Endpoint) -> None:
    answer = refusal(400, message="policy", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})
    with pytest.raises(ModelContentFilterError):
        await answer_to(endpoint, answer)


async def test_what_an_endpoint_says_is_quoted_short_and_without_secrets(endpoint: Endpoint) -> None:
    message = f"Bad thing\nwith {KEY}, sk-abcdef123456, Bearer xyz.abc and {'f' * 40}. " + "blah " * 200
    with pytest.raises(ModelRequestError, match="Bad thing with") as caught:
        await answer_to(endpoint, refusal(400, message=message))
    said = str(caught.value)
    assert KEY not in said and "abcdef" not in said and "xyz" not in said and "ffff" not in said
    assert "\n" not in said and len(said) < 500


async def test_a_refused_key_is_never_quoted(endpoint: Endpoint) -> None:
    with pytest.raises(ModelAccessError) as caught:
        await answer_to(endpoint, refusal(401, message=f"Incorrect API key provided: {KEY}"))
    assert KEY not in str(caught.value) and "OPENAI_API_KEY" in str(caught.value)


async def test_a_proxys_page_is_not_quoted(endpoint: Endpoint) -> None:
    page = Answer(status=502, headers={"content-type": "text/html"}, pieces=(b"<html>secret place</html>",))
    with pytest.raises(ModelUnavailableError, match="502") as caught:
        await answer_to(endpoint, page)
    assert "secret" not in str(caught.value)


async def test_an_endpoint_that_does_not_stream_is_said_to_be_none(endpoint: Endpoint) -> None:
    page = Answer(headers={"content-type": "text/html; charset=utf-8"}, pieces=(b"<html>Welcome</html>",))
    with pytest.raises(ModelUnavailableError, match="text/html, not an event stream"):
        await answer_to(endpoint, page)


@pytest.mark.parametrize(
    "event", ["[]", "17", '{"choices": 5}', '{"choices": [{"delta": "x"}]}', '{"choices": [null]}']
)
async def test_events_of_an_unknown_shape_are_asked_for_again(endpoint: Endpoint, event: str) -> None:
    answer = await answer_to(endpoint, events(event, delta("stop", content="no")), FINE)
    assert answer.message.text == "fine"


CHAT_NAMES = ["choices", "delta", "content", "tool_calls", "index", "function", "arguments", "finish_reason", "usage"]
RESPONSES_NAMES = ["type", "item", "response", "output", "call_id", "text", "incomplete_details", "reason"]
NAMES = st.sampled_from([*CHAT_NAMES, *RESPONSES_NAMES, "id", "name", "message", "error", "code"])
VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=5),
    st.sampled_from(["response.completed", "response.output_item.done", "response.output_text.delta", "function_call"]),
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=20,
)


@pytest.mark.parametrize("fold_type", [ChatFold, ResponsesFold])
@hypothesis.settings(max_examples=50)
@given(data=st.data())
def test_no_event_breaks_a_fold_in_an_unforeseen_way(
    fold_type: type[ChatFold | ResponsesFold], data: st.DataObject
) -> None:
    fold = fold_type()
    for event in data.draw(st.lists(st.dictionaries(NAMES, JSON), max_size=4)):
        with contextlib.suppress(AttributeError, KeyError, TypeError, StreamRefusalError, ModelContentFilterError):
            assert isinstance(fold.add(event), Said)
    if fold.is_finished:
        assert fold.answer().message.kind == "assistant"


async def test_responses_of_an_unknown_shape_are_asked_for_again(endpoint: Endpoint) -> None:
    fine = events(finished(text_item("fine")))
    odd = ({"type": "response.completed"}, finished({"type": "function_call"}), finished({}), finished(usage=[1]))
    for event in odd:
        assert (await answer_to(endpoint, events(event), fine, model_api="responses")).message.text == "fine"


async def test_an_error_in_the_stream_before_any_word_is_asked_for_again(endpoint: Endpoint) -> None:
    broken = events({"error": {"message": "overloaded", "type": "server_error"}}, done=False)
    assert (await answer_to(endpoint, broken, FINE)).message.text == "fine"


async def test_an_error_in_the_stream_after_words_gives_them(endpoint: Endpoint) -> None:
    broken = events(delta(content="half "), {"error": {"message": "engine dead"}}, done=False)
    with pytest.raises(ModelStreamError, match="engine dead") as caught:
        await answer_to(endpoint, broken)
    assert caught.value.partial == "half "


async def test_nothing_is_told_twice_when_a_parameter_is_refused_after_words(endpoint: Endpoint) -> None:
    refused = {"error": {"message": "not with tools", "code": 400, "param": "reasoning_effort"}}
    with pytest.raises(ModelStreamError, match="not with tools") as caught:
        await answer_to(endpoint, events(delta(content="half "), refused, done=False), FINE)
    assert caught.value.partial == "half " and len(endpoint.bodies) == 1


async def test_a_filter_that_refuses_in_the_stream_is_told_as_such_even_after_words(endpoint: Endpoint) -> None:
    refused = {"error": {"message": "policy", "code": "content_filter"}}
    with pytest.raises(ModelContentFilterError):
        await answer_to(endpoint, events(delta(content="half "), refused, done=False))


async def test_an_endpoint_that_nobody_serves_is_tried_three_times(endpoint: Endpoint) -> None:
    with socket.socket() as unused:  # bound, not listening
        unused.bind(("127.0.0.1", 0))
        values: dict[str, Any] = {"openai_base_url": f"http://127.0.0.1:{unused.getsockname()[1]}", "openai_model": "m"}
        told: list[ModelProgress] = []
        async with opened(endpoint, **values) as model:
            with pytest.raises(ModelUnavailableError, match=r"cannot be reached.*OPENAI_BASE_URL"):
                await ask(model, progress=told)
    assert [one.reason for one in told if isinstance(one, Paused)] == ["The model cannot be reached."] * 2


async def test_the_pause_in_milliseconds_comes_before_the_one_in_seconds(endpoint: Endpoint) -> None:
    busy = refusal(429, {"retry-after-ms": "30", "retry-after": "900"}, message="m", code="rate_limit_exceeded")
    endpoint.answers = [busy, FINE]
    told: list[ModelProgress] = []
    async with opened(endpoint) as model:
        await ask(model, progress=told)
    assert isinstance(told[0], Paused) and 0.03 <= told[0].wait_s <= 0.04
    assert told[1:] == [TextArrived(text="fine")]


async def test_without_a_named_pause_each_wait_is_longer_than_the_last(endpoint: Endpoint) -> None:
    busy = refusal(429, {"retry-after": "soon"}, message="m")
    endpoint.answers = [busy, busy, busy, FINE]
    told: list[ModelProgress] = []
    async with opened(endpoint) as model:
        await ask(model, progress=told)
    waits = [one.wait_s for one in told if isinstance(one, Paused)]
    assert len(waits) == 3 and 0.01 <= waits[0] < waits[1] < waits[2] < 0.05


async def test_a_wait_can_be_cancelled(endpoint: Endpoint) -> None:
    endpoint.answers = [refusal(429, {"retry-after": "15"}, message="m")]
    waiting = asyncio.Event()
    async with opened(endpoint) as model, asyncio.timeout(10):
        deadline = asyncio.get_running_loop().time() + 20
        asking = asyncio.create_task(model.complete(QUESTION, deadline=deadline, progress=lambda _: waiting.set()))
        await waiting.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


def test_a_date_in_the_future_is_a_pause() -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert 58 <= (retry_after_s({"retry-after": at}) or 0) <= 60


@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(str)))
def test_a_pause_is_a_number_of_seconds_or_nothing(value: str) -> None:
    pause = retry_after_s({"retry-after": value})
    assert pause is None or 0 <= pause < float("inf")


# --- what an endpoint refuses is left out ------------------------------------------------------------------------

NO_EFFORT = refusal(400, message="Function tools with reasoning are not supported.", param="reasoning_effort")


async def test_reasoning_is_switched_off_where_it_forbids_tools_and_that_is_remembered(endpoint: Endpoint) -> None:
    endpoint.answers = [NO_EFFORT, FINE]
    async with opened(endpoint) as model:
        await ask(model)
        await ask(model)
    assert [body.get("reasoning_effort") for body in endpoint.bodies] == [None, "none", "none"]


async def test_reasoning_that_the_operator_asked_for_is_not_switched_off(endpoint: Endpoint) -> None:
    with pytest.raises(ModelRequestError, match="reasoning"):
        await answer_to(endpoint, NO_EFFORT, model_reasoning_effort="high")
    assert [body["reasoning_effort"] for body in endpoint.bodies] == ["high"]


async def test_reasoning_that_is_refused_even_when_off_is_an_error(endpoint: Endpoint) -> None:
    with pytest.raises(ModelRequestError):
        await answer_to(endpoint, NO_EFFORT)
    assert len(endpoint.bodies) == 2


async def test_conversations_that_learn_of_a_refusal_at_once_are_all_answered(endpoint: Endpoint) -> None:
    endpoint.choose = lambda body: FINE if body.get("reasoning_effort") == "none" else NO_EFFORT
    async with opened(endpoint) as model:
        answers = await asyncio.gather(*(ask(model) for _ in range(3)))
    assert [answer.message.text for answer in answers] == ["fine"] * 3


async def test_conversations_that_learn_of_a_refused_tool_at_once_lose_only_that_one(endpoint: Endpoint) -> None:
    bad = refusal(400, message="Invalid schema.", param="tools[0].function.parameters")
    endpoint.choose = lambda body: bad if body["tools"][0]["function"]["name"] == "s__t0" else FINE
    tools = tuple(replace(TOOL, name=f"s__t{number}") for number in range(4))
    async with opened(endpoint) as model:
        answers = await asyncio.gather(*(ask(model, replace(QUESTION, tools=tools)) for _ in range(3)))
        assert list(model.refused_tools) == ["s__t0"]
    assert [answer.message.text for answer in answers] == ["fine"] * 3 and all(answer.notes for answer in answers)


SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "fine"}]}
RESPONSES_FINE = events({"type": "response.completed", "response": {"output": [SAID]}})
VAGUE = refusal(400, message="Request contains an invalid argument.", type="INVALID_ARGUMENT")


def names_in(body: dict[str, Any]) -> list[str]:
    return [tool["name"] if "name" in tool else tool["function"]["name"] for tool in body.get("tools", ())]


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_tool_that_is_refused_without_its_name_is_found_left_out_and_said(endpoint: Endpoint, api: str) -> None:
    fine = FINE if api == "chat" else RESPONSES_FINE
    endpoint.choose = lambda body: VAGUE if {"s__t5", "s__t9"} & {*names_in(body)} else fine
    tools = tuple(replace(TOOL, name=f"s__t{number}", tool=f"t{number}") for number in range(12))
    async with opened(endpoint, model_api=api) as model:
        told: list[ModelProgress] = []
        answers = await asyncio.gather(*(ask(model, replace(QUESTION, tools=tools), progress=told) for _ in range(3)))
        assert model.refused_tools == dict.fromkeys(["s__t5", "s__t9"], "Request contains an invalid argument")
        sent = len(endpoint.bodies)
        await ask(model, replace(QUESTION, tools=tools))
    assert [answer.message.text for answer in answers] == ["fine"] * 3
    assert sent <= 3 * 3 + 2 * 10  # once for all three questions
    assert len(endpoint.bodies) == sent + 1  # and for those that follow
    (note,) = {note for answer in answers for note in answer.notes if "s/t5" in note}
    assert "`s/t5` (Request contains an invalid argument)" in note
    assert any(isinstance(one, Paused) and "without naming it" in one.reason for one in told)
    questions = [body for body in endpoint.bodies if "q" in str(body.get("messages", body.get("input")))]
    assert len(questions) < sent  # the tries do not carry the conversation


async def test_a_vague_refusal_that_has_another_cause_is_told_after_one_try_and_not_tried_again(
    endpoint: Endpoint,
) -> None:
    endpoint.choose = lambda body: VAGUE if body["messages"][-1]["content"] == "q" else FINE
    async with opened(endpoint) as model:
        for _ in range(2):
            with pytest.raises(ModelRequestError, match="invalid argument"):
                await ask(model)
        assert model.refused_tools == {}
    assert len(endpoint.bodies) == 3


UNKNOWN = (
    ("prompt_cache_key", refusal(400, message="Unrecognized request argument supplied: prompt_cache_key", param=None)),
    ("stream_options", refusal(400, message="Unrecognized request argument supplied: stream_options", param=None)),
    ("stream_options", refusal(422, detail=[{"type": "extra_forbidden", "loc": ["body", "stream_options"]}])),
)


@pytest.mark.parametrize(("name", "refused"), UNKNOWN, ids=["azure", "old azure", "strict server"])
async def test_an_optional_argument_that_an_endpoint_does_not_know_is_left_out(
    endpoint: Endpoint, name: str, refused: Answer
) -> None:
    await answer_to(endpoint, refused, FINE, **AZURE, azure_openai_endpoint=endpoint.url)
    assert [name in body for body in endpoint.bodies] == [True, False]


async def test_a_refusal_that_only_happens_to_use_an_arguments_name_changes_nothing(endpoint: Endpoint) -> None:
    with pytest.raises(ModelRequestError):
        await answer_to(endpoint, refusal(400, message="Your request may not include cats."), model_api="responses")
    assert len(endpoint.bodies) == 1


# --- images ------------------------------------------------------------------------------------------------------

CAT = Attachment(name="cat.png", mime_type="image/png", data=b"\x89PNG\r\n\x1a\n")
SEE = replace(QUESTION, messages=(UserMessage(text="q", images=(CAT,)),))


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, message="Invalid content type. image_url is only supported by certain models.", param="messages"),
        refusal(500, message="image input is not supported - hint: you may need to provide the mmproj", code=500),
        refusal(400, message="facebook/opt-125m is not a multimodal model", code=400, type="BadRequestError"),
        refusal(400, message="At most 0 image(s) may be provided in one prompt.", code=400),
        refusal(404, message="No endpoints found that support image input", code=404),
        refusal(422, message="Failed to deserialize: messages[1]: unknown variant `image_url`, expected `text`"),
        refusal(400, message="Model does not support images. Please use a model that does."),
        refusal(400, message="Image input is not enabled for this model"),
        events({"error": {"code": 400, "message": "This model doesn't support image inputs."}}, done=False),
    ],
    ids=["openai", "llama.cpp", "vllm", "new vllm", "openrouter", "deepseek", "lm studio", "mistral", "in the stream"],
)
async def test_a_model_without_eyes_is_recognised_in_many_words_and_asked_without_images(
    endpoint: Endpoint, answer: Answer
) -> None:
    endpoint.answers = [answer, FINE]
    progress: list[ModelProgress] = []
    async with opened(endpoint) as model:
        first, second = await ask(model, SEE, progress=progress), await ask(model, SEE)
    assert first.message.text == second.message.text == "fine"
    assert first.notes == second.notes == ("The model `m` did not take `cat.png`, so it answered without seeing it.",)
    assert not [item for item in progress if isinstance(item, Paused)]
    assert ["base64" in json.dumps(body) for body in endpoint.bodies] == [True, False, False]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, message="You uploaded an unsupported file.", code="invalid_image_format"),
        refusal(400, message="Failed to decode the image."),
        refusal(400, message="'messages.1': for 'role:user', messages.content must be a string"),
        Answer(status=413, headers={"content-type": "text/html"}, pieces=(b"<html>Too large</html>",)),
    ],
    ids=["code", "words", "a string", "a proxy"],
)
async def test_images_that_are_refused_once_are_sent_again_another_time(endpoint: Endpoint, answer: Answer) -> None:
    endpoint.answers = [answer, FINE]
    async with opened(endpoint) as model:
        assert (await ask(model, SEE)).notes
        assert (await ask(model, SEE)).notes == ()
    assert ["base64" in json.dumps(body) for body in endpoint.bodies] == [True, False, True]


async def test_a_response_that_fails_because_of_an_image_is_asked_for_without_it(endpoint: Endpoint) -> None:
    failed = {"type": "response.failed", "response": {"error": {"code": "image_parse_error", "message": "bad"}}}
    done: dict[str, Any] = {"type": "response.completed", "response": {"output": []}}
    answer = await answer_to_see(endpoint, events(failed), events(done), model_api="responses")
    assert answer.notes
    assert endpoint.bodies[0]["input"][0]["content"][1] == {
        "type": "input_image",
        "image_url": "data:image/png;base64,iVBORw0KGgo=",
        "detail": "auto",
    }
    assert isinstance(endpoint.bodies[1]["input"][0]["content"], str)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(400, message="The image broke a rule.", code="content_filter"), ModelContentFilterError),
        (refusal(400, message="Images and text exceed the context length."), ModelContextError),
        (refusal(400, message="Unknown parameter: 'x'."), ModelRequestError),
        (refusal(401, message="No images for strangers."), ModelAccessError),
    ],
    ids=["filter", "context", "something else", "key"],
)
async def test_other_refusals_of_a_request_with_images_stay_what_they_are(
    endpoint: Endpoint, answer: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await answer_to_see(endpoint, answer)
    assert len(endpoint.bodies) == 1


async def test_words_about_images_in_the_refusal_of_a_text_change_nothing(endpoint: Endpoint) -> None:
    with pytest.raises(ModelRequestError):
        await answer_to(endpoint, refusal(400, message="This model does not support images."))
    assert len(endpoint.bodies) == 1


async def answer_to_see(endpoint: Endpoint, *answers: Answer, **values: Any) -> ModelAnswer:
    endpoint.answers = list(answers)
    async with opened(endpoint, **values) as model:
        return await ask(model, SEE)


# --- the Responses API -------------------------------------------------------------------------------------------


def finished(*items: dict[str, Any], kind: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": {"output": list(items), "usage": None, **more}}


def text_item(text: str) -> dict[str, Any]:
    return {"type": "message", "id": "msg", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call_item(call_id: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": "fc", "call_id": call_id, "name": "s__t", "arguments": arguments}


async def test_reasoning_comes_back_verbatim_when_it_is_encrypted_and_not_otherwise(endpoint: Endpoint) -> None:
    sealed: dict[str, Any] = {"type": "reasoning", "id": "r1", "summary": [], "encrypted_content": "gAAA"}
    bare: dict[str, Any] = {"type": "reasoning", "id": "r2", "summary": []}
    endpoint.answers = [events(finished(sealed, bare, call_item("a")), done=False)]
    async with opened(endpoint, model_api="responses", model_reasoning_effort="low") as model:
        first = await ask(model)
        result = ToolMessage(call_id="a", text="done")
        await ask(model, replace(QUESTION, messages=(*QUESTION.messages, first.message, result)))
    assert [item["type"] for item in first.message.replay] == ["reasoning", "function_call"]
    output = {"type": "function_call_output", "call_id": "a", "output": "done"}
    asked = {name: value for name, value in call_item("a").items() if name != "id"}
    sealed.pop("id")  # what is not stored is not known by its id
    assert endpoint.bodies[1]["input"] == [{"role": "user", "content": "q"}, sealed, asked, output]
    assert endpoint.bodies[0]["reasoning"] == {"effort": "low"}
    assert endpoint.bodies[0]["tools"][0]["strict"] is False


async def test_reasoning_of_another_account_is_left_behind(endpoint: Endpoint) -> None:
    refused = refusal(400, message="could not be verified", code="invalid_encrypted_content", param=None)
    endpoint.answers = [refused, events(finished(text_item("on")), done=False)]
    past = AssistantMessage(text="past", replay=({"type": "reasoning", "id": "r", "encrypted_content": "x"},))
    async with opened(endpoint, model_api="responses") as model:
        answer = await ask(model, replace(QUESTION, messages=(past, *QUESTION.messages)))
    assert answer.message.text == "on"
    assert endpoint.bodies[1]["input"][0] == {"role": "assistant", "content": "past"}


async def test_include_is_left_out_where_a_model_cannot_encrypt(endpoint: Endpoint) -> None:
    refused = refusal(400, message="Encrypted content is not supported with this model.", param="include")
    answer = await answer_to(endpoint, refused, events(finished(text_item("on"))), model_api="responses")
    assert answer.message.text == "on"
    assert ["include" in body for body in endpoint.bodies] == [True, False]


async def test_ids_that_come_twice_are_replaced_in_the_items_too(endpoint: Endpoint) -> None:
    message = (
        await answer_to(endpoint, events(finished(call_item("a"), call_item("a"))), model_api="responses")
    ).message
    ids = [call.id for call in message.tool_calls]
    assert len(set(ids)) == 2 and [item["call_id"] for item in message.replay] == ids


async def test_two_messages_of_one_response_are_two_paragraphs(endpoint: Endpoint) -> None:
    parts: list[dict[str, Any]] = []
    for text in ("one", "two"):
        parts.append({"type": "response.output_item.added", "item": {"type": "message"}})
        parts.append({"type": "response.output_text.delta", "delta": text})
    answer = await answer_to(
        endpoint, events(*parts, finished(text_item("one"), text_item("two"))), model_api="responses"
    )
    assert answer.message.text == "one\n\ntwo"


async def test_the_calls_of_a_response_at_its_output_limit_are_not_run(endpoint: Endpoint) -> None:
    end = finished(call_item("a", '{"x'), kind="incomplete", incomplete_details={"reason": "max_output_tokens"})
    answer = await answer_to(endpoint, events(end), model_api="responses")
    assert answer.message.tool_calls == answer.message.replay == () and "nothing was run" in answer.notes[0]


async def test_a_response_that_a_filter_ended_is_told_as_such(endpoint: Endpoint) -> None:
    end = finished(kind="incomplete", incomplete_details={"reason": "content_filter"})
    with pytest.raises(ModelContentFilterError):
        await answer_to(endpoint, events(end), model_api="responses")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "later"}}},
        {"type": "error", "code": "rate_limit_exceeded", "message": "later", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "later"}},
        {"error": {"code": "rate_limit_exceeded", "message": "later"}},
    ],
    ids=["failed", "error", "wrapped error", "bare error"],
)
async def test_a_response_that_fails_is_asked_for_again(endpoint: Endpoint, event: dict[str, Any]) -> None:
    fine = events({"type": "response.output_text.delta", "delta": "fine"}, finished(text_item("fine")))
    endpoint.answers = [events(event), fine]
    told: list[ModelProgress] = []
    async with opened(endpoint, model_api="responses") as model:
        await ask(model, progress=told)
    assert isinstance(told[0], Paused) and told[0].reason == "The model is busy."
    assert told[1:] == [TextArrived(text="fine")]


# --- opening -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
async def test_azure_is_found_whichever_part_of_its_url_was_copied(endpoint: Endpoint, path: str) -> None:
    place = AZURE | {"azure_openai_endpoint": endpoint.url + path}
    await answer_to(endpoint, FINE, **place)
    await answer_to(endpoint, FINE, **place, **CLASSIC)
    responses = events(finished(text_item("on")))
    await answer_to(endpoint, responses, **place, model_api="responses")
    await answer_to(endpoint, responses, **place, **CLASSIC, model_api="responses")
    assert endpoint.paths == [
        "/openai/v1/chat/completions",
        "/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "/openai/v1/responses",
        "/openai/responses?api-version=2024-10-21",
    ]
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}" and endpoint.headers[1]["api-key"] == KEY


AZURE_FORMS = {
    "/openai/deployments/d/chat/completions?api-version=2024-10-21": (
        "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    ),
    "/?api-version=2024-10-21": "/openai/deployments/d/chat/completions?api-version=2024-10-21",
    "/openai/responses?api-version=2025-04-01-preview": (
        "/openai/deployments/d/chat/completions?api-version=2025-04-01-preview"
    ),
    "/openai/v1/chat/completions": "/openai/v1/chat/completions",
    "/openai/v1/chat/completions?api-version=preview": "/openai/v1/chat/completions?api-version=preview",
    "/api/projects/p": "/openai/v1/chat/completions",
    "/api/projects/p/openai/v1": "/openai/v1/chat/completions",
    "/models": "/models/chat/completions?api-version=2024-05-01-preview",
    "/models/chat/completions?api-version=2025-01-01": "/models/chat/completions?api-version=2025-01-01",
    "/team-a/openai": "/team-a/openai/v1/chat/completions",
}


@pytest.mark.parametrize("pasted", AZURE_FORMS)
async def test_azure_is_asked_at_the_right_address_whatever_was_pasted(endpoint: Endpoint, pasted: str) -> None:
    await answer_to(endpoint, FINE, **AZURE, azure_openai_endpoint=endpoint.url + pasted)
    assert endpoint.paths == [AZURE_FORMS[pasted]]
    assert endpoint.headers[0]["api-key"] == KEY


@pytest.mark.parametrize("version", ["preview", "latest"])
async def test_a_version_of_the_v1_endpoint_goes_into_its_query(endpoint: Endpoint, version: str) -> None:
    place = AZURE | {"azure_openai_endpoint": endpoint.url, "azure_openai_api_version": version}
    await answer_to(endpoint, FINE, **place)
    assert endpoint.paths == [f"/openai/v1/chat/completions?api-version={version}"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/", "/v1/responses", "/v1"])
async def test_a_whole_url_is_taken_for_the_endpoint(endpoint: Endpoint, path: str) -> None:
    await answer_to(endpoint, FINE, openai_base_url=endpoint.url + path)
    assert endpoint.paths == ["/v1/chat/completions"]


async def test_a_gateway_in_front_of_azure_gets_the_key_in_its_own_header_too(endpoint: Endpoint) -> None:
    await answer_to(endpoint, FINE, openai_base_url=f"{endpoint.url}/gateway/openai/v1")
    assert endpoint.headers[0]["api-key"] == KEY and endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    await answer_to(endpoint, FINE)
    assert "api-key" not in endpoint.headers[1]


@pytest.mark.parametrize(
    ("host", "scope", "authority"),
    [
        ("x.openai.azure.com", "https://cognitiveservices.azure.com/.default", ""),
        ("x.services.ai.azure.com", "https://cognitiveservices.azure.com/.default", ""),
        ("x.openai.azure.us", "https://cognitiveservices.azure.us/.default", "login.microsoftonline.us"),
        ("x.cognitiveservices.azure.cn", "https://cognitiveservices.azure.cn/.default", "login.chinacloudapi.cn"),
        ("gateway.example.com", "https://cognitiveservices.azure.com/.default", ""),
    ],
)
def test_identities_sign_in_to_the_cloud_of_the_host(host: str, scope: str, authority: str) -> None:
    assert cloud_of(host) == Cloud(scope=scope, authority=authority)
    assert is_azure(host) == (host != "gateway.example.com")


# --- what the operator adds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, AZURE, AZURE | CLASSIC], ids=["openai", "azure", "classic"])
async def test_parameters_and_headers_of_the_operator_go_with_every_request(
    endpoint: Endpoint, more: dict[str, str]
) -> None:
    extra = {"model_extra_body": '{"top_k": 5, "stream_options": null}', "model_headers": '{"X-Team": "red team"}'}
    place = {"azure_openai_endpoint": endpoint.url} if more else {}
    await answer_to(endpoint, FINE, **more, **place, **extra)
    [body] = endpoint.bodies
    assert body["top_k"] == 5 and "stream_options" not in body
    assert endpoint.headers[0]["x-team"] == "red team"


async def test_a_header_of_the_operator_wins_and_is_never_quoted(endpoint: Endpoint) -> None:
    refused = refusal(400, message="who is Fernwood.Hill?")
    with pytest.raises(ModelRequestError) as caught:
        await answer_to(endpoint, refused, model_headers='{"Authorization": "Fernwood.Hill"}')
    assert endpoint.headers[0]["authorization"] == "Fernwood.Hill" and "Fernwood" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "max_tokens"),
        (AZURE, "max_completion_tokens"),
        ({"model_api": "responses"}, "max_output_tokens"),
    ],
)
async def test_the_output_limit_is_sent_under_the_name_that_the_endpoint_knows(
    endpoint: Endpoint, values: dict[str, str], name: str
) -> None:
    place = {"azure_openai_endpoint": endpoint.url} if values is AZURE else {}
    answer = events(finished(text_item("on"))) if "model_api" in values else FINE
    await answer_to(endpoint, answer, **values, **place, model_max_output_tokens=900)
    assert {key: value for key, value in endpoint.bodies[0].items() if key.startswith("max_")} == {name: 900}


async def test_a_name_of_the_output_limit_that_is_refused_is_replaced_by_the_other(endpoint: Endpoint) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    await answer_to(endpoint, refusal(400, message=message, param="max_tokens"), FINE, model_max_output_tokens=900)
    assert [body.get("max_completion_tokens") for body in endpoint.bodies] == [None, 900]
    assert "max_tokens" not in endpoint.bodies[1]


@pytest.mark.parametrize(
    ("values", "error", "named"),
    [
        (
            {"model_extra_body": '{"top_k": 5}'},
            {"message": "Unknown parameter: 'top_k'."},
            "`top_k` in MODEL_EXTRA_BODY",
        ),
        ({"model_max_output_tokens": 9}, {"message": "too large", "param": "max_tokens"}, "MODEL_MAX_OUTPUT_TOKENS"),
        ({"model_reasoning_effort": "odd"}, {"message": "bad", "param": "reasoning_effort"}, "MODEL_REASONING_EFFORT"),
        ({}, {"message": "something else"}, "OPENAI_MODEL and OPENAI_BASE_URL"),
    ],
)
async def test_the_setting_at_fault_is_the_one_that_is_named(
    endpoint: Endpoint, values: dict[str, Any], error: dict[str, str], named: str
) -> None:
    with pytest.raises(ModelRequestError) as caught:
        await answer_to(endpoint, refusal(400, **error), **values)
    assert named in str(caught.value)


@pytest.mark.parametrize("key", ["k", "ollama", "m"])
async def test_a_short_placeholder_key_is_not_cut_out_of_ordinary_words(endpoint: Endpoint, key: str) -> None:
    said = "ollama makes no milk"
    with pytest.raises(ModelRequestError, match=said):
        await answer_to(endpoint, refusal(400, message=said), openai_api_key=key)


# --- the endpoint's own limits -------------------------------------------------------------------------------------


def spent(reset: str) -> Answer:
    limits = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    return replace(FINE, headers={"content-type": "text/event-stream", **limits})


async def test_a_limit_that_is_used_up_is_waited_for_and_said(endpoint: Endpoint) -> None:
    endpoint.answers = [spent("300ms"), FINE]
    told: list[ModelProgress] = []
    async with opened(endpoint) as model:
        await ask(model, progress=told)
        assert told == [TextArrived(text="fine")]
        await ask(model, progress=told)
    [wait] = [one for one in told if isinstance(one, Paused)]
    assert wait.reason == "The model's own limit is reached, so questions take turns." and 0 < wait.wait_s <= 0.3


async def test_a_limit_that_is_used_up_for_longer_than_the_turn_is_an_error(endpoint: Endpoint) -> None:
    endpoint.answers = [spent("40s"), FINE]
    async with opened(endpoint) as model, asyncio.timeout(10):
        await ask(model)
        deadline = asyncio.get_running_loop().time() + 0.2
        with pytest.raises(ModelRateLimitError, match="asks to wait 40 s"):
            await model.complete(QUESTION, deadline=deadline, progress=lambda _: None)
    assert len(endpoint.bodies) == 1


async def test_the_operators_limits_make_questions_take_turns_between_people(endpoint: Endpoint) -> None:
    endpoint.answers = [FINE]
    order: list[str] = []

    async def one(asker: str) -> None:
        await ask(model, replace(QUESTION, asker=asker))
        order.append(asker)

    async with opened(endpoint, model_requests_per_minute=60) as model:  # a burst of 10, then one a second
        await asyncio.gather(*(ask(model) for _ in range(10)))
        await asyncio.gather(*(one(asker) for asker in ["ada"] * 5 + ["ben"]))
    assert order.index("ben") <= 2


# --- addresses that cannot work ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        AZURE | {"azure_openai_endpoint": "https://x.openai.azure.com/openai/deployments/e/chat/completions"},
        AZURE | {"azure_openai_endpoint": "x.openai.azure.com"},
        {"openai_base_url": "localhost:11434/v1", "openai_model": "m"},
        {"openai_base_url": "http://[broken", "openai_model": "m"},
    ],
)
async def test_an_address_that_cannot_work_is_refused_before_anything_is_sent(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        async with open_model(settings(**values)):
            pass


@pytest.mark.parametrize("more", [{}, CLASSIC], ids=["v1", "classic"])
async def test_without_a_key_azure_gets_a_token_of_the_managed_identity(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    token = {"access_token": "entra-token", "expires_on": int(time.time()) + 9999, "token_type": "Bearer"}
    token["resource"] = "https://cognitiveservices.azure.com"
    given = Answer(headers={"content-type": "application/json"}, pieces=(json.dumps(token).encode(),))
    place = {"azure_openai_endpoint": endpoint.url, "azure_openai_deployment": "d"}
    answer = await answer_to(endpoint, given, FINE, **place, **more)
    assert answer.message.text == "fine"
    assert endpoint.headers[-1]["authorization"] == "Bearer entra-token"


async def test_an_identity_without_a_token_is_an_error_that_says_what_to_do(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    place = {"azure_openai_endpoint": endpoint.url, "azure_openai_deployment": "d"}
    with pytest.raises(ModelAccessError, match="az login"):
        await answer_to(endpoint, refusal(400, message="no identity"), **place)


async def test_without_the_azure_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    values = {"azure_openai_endpoint": "https://x.openai.azure.com", "azure_openai_deployment": "d"}
    with pytest.raises(SettingsError, match=r"pip install 'toolbridge\[azure\]'"):
        async with open_model(settings(**values)):
            pass


async def test_a_proxy_is_not_used_for_this_machines_own_servers(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await answer_to(endpoint, FINE)).message.text == "fine"


def test_the_sdk_is_not_imported_before_a_model_is_opened() -> None:
    code = "import sys, bot.turns.tokens, bot.models.factory; sys.exit(bool({'openai', 'tiktoken'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ})
