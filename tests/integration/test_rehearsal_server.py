"""The rehearsal model's server, driven by the real openai SDK over loopback HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from bot.models.rehearsal import server as rehearsal_server
from bot.models.rehearsal.server import serve_rehearsal

PARAMETERS = {
    "type": "object",
    "properties": {"operation": {"type": "string"}, "a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["operation", "a", "b"],
}
GREETING = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FUNCTIONS: list[dict[str, Any]] = [
    {"name": "toolbridge__calculate", "description": "Calculate.", "parameters": PARAMETERS},
    {"name": "toolbridge__greet", "description": "Greet.", "parameters": GREETING},
]
CHAT_TOOLS: Any = [{"type": "function", "function": one} for one in FUNCTIONS]
RESPONSE_TOOLS: Any = [{"type": "function", "strict": False, **one} for one in FUNCTIONS]
BOTH = "2 + 3 and greet Ada"


@dataclass(kw_only=True)
class Rehearsal:
    """A running server with its SDK client; the SDK does not retry, so that each fault is seen."""

    root: str
    client: AsyncOpenAI
    http: httpx2.AsyncClient

    async def fail(self, kind: str, **details: Any) -> None:
        answer = await self.http.post(f"{self.root}/control/faults", json={"faults": [{"kind": kind, **details}]})
        assert answer.status_code == 204, answer.text

    async def script(self, *answers: dict[str, Any]) -> None:
        answer = await self.http.post(f"{self.root}/control/script", json={"answers": answers})
        assert answer.status_code == 204

    async def ask(self, text: str, **options: Any) -> str | None:
        create = cast("Callable[..., Awaitable[ChatCompletion]]", self.client.chat.completions.create)
        completion = await create(model="any", messages=[{"role": "user", "content": text}], **options)
        return completion.choices[0].message.content

    async def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return await self.http.post(f"{self.root}{path}", json=body, **options)

    async def stream(self, text: str, **options: Any) -> list[ChatCompletionChunk]:
        chunks = await self.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": text}], stream=True, **options
        )
        return [chunk async for chunk in chunks]


@asynccontextmanager
async def rehearse(*, timeout_s: float = 10.0) -> AsyncGenerator[Rehearsal]:
    async with (
        asyncio.timeout(30),
        serve_rehearsal(control=True) as url,
        AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=timeout_s) as client,
        httpx2.AsyncClient() as http,
    ):
        yield Rehearsal(root=url.removesuffix("/v1"), client=client, http=http)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# --- Chat Completions --------------------------------------------------------------------------------------------


async def test_a_chat_completion_asks_for_tools_at_once_and_then_answers() -> None:
    async with rehearse() as rehearsal:
        messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": BOTH}]
        first = await rehearsal.client.chat.completions.create(model="any", messages=messages, tools=CHAT_TOOLS)
        choice = first.choices[0]
        assert (first.model, choice.finish_reason, choice.message.content) == ("rehearsal", "tool_calls", None)
        calls = [call for call in choice.message.tool_calls or () if call.type == "function"]
        assert [json.loads(call.function.arguments) for call in calls] == [
            {"operation": "add", "a": 2, "b": 3},
            {"name": "Ada"},
        ]
        messages += [
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": calls[1].id, "content": [{"type": "text", "text": "Hello, Ada!"}]},
            {"role": "tool", "tool_call_id": calls[0].id, "content": "Result: 2.0 add 3.0 = 5.0"},
        ]
        second = await rehearsal.client.chat.completions.create(model="any", messages=messages, tools=CHAT_TOOLS)
        assert second.choices[0].finish_reason == "stop"
        assert second.choices[0].message.content == "- 2 + 3 = **5**\n- Hello, Ada!"


async def test_a_streamed_chat_completion_comes_in_pieces_with_usage_at_the_end() -> None:
    async with rehearse() as rehearsal:
        whole = await rehearsal.ask("what can you do?", tools=CHAT_TOOLS)
        chunks = await rehearsal.stream("what can you do?", tools=CHAT_TOOLS, stream_options={"include_usage": True})
        assert text_of(chunks) == whole
        assert sum(bool(text_of([chunk])) for chunk in chunks) > 5
        assert [choice.finish_reason for chunk in chunks[-3:] for choice in chunk.choices] == [None, "stop"]
        assert chunks[-1].choices == [] and chunks[-1].usage
        assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
        assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_without_being_asked_for_usage_a_stream_has_none() -> None:
    async with rehearse() as rehearsal:
        assert all(chunk.usage is None and chunk.choices for chunk in await rehearsal.stream("hello"))


async def test_parallel_tool_calls_are_streamed_by_index_with_split_arguments() -> None:
    async with rehearse() as rehearsal:
        calls: dict[int, dict[str, str]] = {}
        pieces = 0
        chunks = await rehearsal.stream(BOTH, tools=CHAT_TOOLS)
        for delta in (call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()):
            assert delta.function
            call = calls.setdefault(delta.index, {"id": delta.id or "", "name": delta.function.name or "", "json": ""})
            call["json"] += delta.function.arguments or ""
            pieces += 1
        assert [calls[0]["name"], calls[1]["name"]] == ["toolbridge__calculate", "toolbridge__greet"]
        assert json.loads(calls[0]["json"]) == {"operation": "add", "a": 2, "b": 3}
        assert calls[0]["id"] != calls[1]["id"] and pieces > 4
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_cached_tokens_are_those_of_the_common_beginning() -> None:
    async with rehearse() as rehearsal:
        messages: list[Any] = [{"role": "system", "content": "x" * 4000}, {"role": "user", "content": "hello"}]
        create = rehearsal.client.chat.completions.create
        usages = [
            (await create(model="any", messages=messages)).usage,
            (await create(model="any", messages=[*messages, {"role": "user", "content": "thanks"}])).usage,
            (await create(model="any", messages=[{"role": "user", "content": "hello"}])).usage,
        ]
        first, longer, other = [usage for usage in usages if usage and usage.prompt_tokens_details]
        assert first.prompt_tokens_details and first.prompt_tokens_details.cached_tokens == 0
        assert longer.prompt_tokens_details and longer.prompt_tokens > first.prompt_tokens
        assert abs((longer.prompt_tokens_details.cached_tokens or 0) - first.prompt_tokens) <= 1
        assert other.prompt_tokens_details and (other.prompt_tokens_details.cached_tokens or 0) < 5


async def test_tool_choice_none_gets_words() -> None:
    async with rehearse() as rehearsal:
        said = await rehearsal.ask("2 + 3", tools=CHAT_TOOLS, tool_choice="none")
        assert said and "no fitting `calculate` tool is offered" in said


@given(st.text())
def test_pieces_of_a_text_are_the_whole_text(text: str) -> None:
    assert "".join(rehearsal_server.word_groups(text)) == text


# --- Azure and the Responses API ---------------------------------------------------------------------------------


async def test_azure_clients_of_both_kinds_get_answers() -> None:
    async with rehearse() as rehearsal:
        async with AsyncAzureOpenAI(
            azure_endpoint=rehearsal.root, api_version="2024-10-21", api_key="secret", max_retries=0
        ) as azure:
            messages: list[Any] = [{"role": "user", "content": "hello"}]
            stream = await azure.chat.completions.create(model="my-deployment", messages=messages, stream=True)
            chunks = [chunk async for chunk in stream]
            assert chunks[0].choices == [] and text_of(chunks).startswith("Hello!")
            response = await azure.responses.create(model="my-deployment", input="hello")
            assert response.output_text.startswith("Hello!")
        async with AsyncOpenAI(base_url=f"{rehearsal.root}/openai/v1/", api_key="secret", max_retries=0) as v1:
            response = await v1.responses.create(model="my-deployment", input="hello")
            assert response.output_text.startswith("Hello!")
            assert [model.id async for model in v1.models.list()] == ["rehearsal"]


async def test_azure_wants_a_key_and_an_api_version() -> None:
    async with rehearse() as rehearsal:
        body = {"messages": [{"role": "user", "content": "hello"}]}
        path = "/openai/deployments/any/chat/completions"
        assert (await rehearsal.post(f"{path}?api-version=2024-10-21", body)).status_code == 401
        refused = await rehearsal.post(path, body, headers={"api-key": "secret"})
        assert refused.status_code == 400 and "api-version" in refused.json()["error"]["message"]
        answer = await rehearsal.post(f"{path}?api-version=1", body, headers={"Authorization": "Bearer x"})
        assert answer.status_code == 200


async def test_a_response_asks_for_tools_and_takes_their_outputs() -> None:
    async with rehearse() as rehearsal:
        asked: list[Any] = [{"role": "user", "content": BOTH}]
        create = rehearsal.client.responses.create
        first = await create(model="any", instructions="Be brief.", input=asked, tools=RESPONSE_TOOLS, store=False)
        assert (first.status, first.model) == ("completed", "rehearsal")
        calls = [item for item in first.output if item.type == "function_call"]
        assert [call.name for call in calls] == ["toolbridge__calculate", "toolbridge__greet"]
        outputs = ["Result: 2.0 add 3.0 = 5.0", "Hello, Ada!"]
        asked += [item.model_dump(exclude_none=True) for item in first.output]
        asked += [
            {"type": "function_call_output", "call_id": call.call_id, "output": text}
            for call, text in zip(calls, outputs, strict=True)
        ]
        second = await create(model="any", instructions="Be brief.", input=asked, tools=RESPONSE_TOOLS, store=False)
        assert second.output_text == "- 2 + 3 = **5**\n- Hello, Ada!"
        assert first.usage and second.usage
        assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens - 1


async def stream_response(rehearsal: Rehearsal, text: str) -> list[ResponseStreamEvent]:
    create = rehearsal.client.responses.create
    stream = await create(model="any", input=text, tools=RESPONSE_TOOLS, store=False, stream=True)
    return [event async for event in stream]


async def test_a_streamed_response_of_words_sends_the_events_of_the_real_api() -> None:
    async with rehearse() as rehearsal:
        events = await stream_response(rehearsal, "what can you do?")
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"} and len(kinds) > 12
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed" and last.response.output_text == deltas


async def test_a_streamed_response_of_calls_sends_their_arguments_in_pieces() -> None:
    async with rehearse() as rehearsal:
        events = await stream_response(rehearsal, BOTH)
    arguments = {0: "", 1: ""}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            arguments[event.output_index] += event.delta
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in done] == list(arguments.values())
    assert json.loads(arguments[1]) == {"name": "Ada"}
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["function_call", "function_call"]


# --- what OpenAI refuses -----------------------------------------------------------------------------------------

USER: Any = {"role": "user", "content": "hi"}
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED: Any = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: Any = {"role": "tool", "tool_call_id": "c1", "content": "ok"}


def function(name: str, **details: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **details}}


REFUSED_CHATS: dict[str, tuple[Any, str]] = {
    "no JSON object": ([], "model"),
    "no messages": ({"messages": []}, "at least one message"),
    "unknown role": ({"messages": [{"role": "robot", "content": "hi"}]}, "'robot'"),
    "no content": ({"messages": [{"role": "user", "content": None}]}, "'content'"),
    "unanswered call": ({"messages": [USER, CALLED, USER]}, "must be followed by tool messages"),
    "unanswered last call": ({"messages": [USER, CALLED]}, "did not have response messages: c1"),
    "result without call": ({"messages": [USER, RESULT]}, "must be a response to a preceding message"),
    "two results of one call": ({"messages": [USER, CALLED, RESULT, RESULT]}, "must be a response to a preceding"),
    "late result": ({"messages": [USER, CALLED, USER, RESULT]}, "must be followed by tool messages"),
    "one id twice": ({"messages": [USER, CALLED | {"tool_calls": [CALL, CALL]}, RESULT]}, "must differ"),
    "call without arguments": ({"messages": [USER, CALLED | {"tool_calls": [{"function": {"name": "f"}}]}]}, "an id"),
    "bad tool name": ({"messages": [USER], "tools": [function("a.b")]}, "pattern"),
    "long tool name": ({"messages": [USER], "tools": [function("a" * 65)]}, "64"),
    "no object schema": (
        {"messages": [USER], "tools": [function("f", parameters={})]},
        'type: "object"',
    ),
    "too many tools": ({"messages": [USER], "tools": [function("f")] * 129}, "got 129"),
    "empty tools": ({"messages": [USER], "tools": []}, "empty array"),
    "choice without tools": ({"messages": [USER], "tool_choice": "auto"}, "'tool_choice' is only allowed"),
    "stream options without stream": ({"messages": [USER], "stream_options": {}}, "'stream_options'"),
}
MESSAGE: Any = {"role": "user", "content": "hi"}
ITEM: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT: Any = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
REFUSED_RESPONSES: dict[str, tuple[Any, str]] = {
    "no input": ({}, "'input'"),
    "call without output": ({"input": [MESSAGE, ITEM]}, "No tool output found for function call c1"),
    "output without call": ({"input": [MESSAGE, OUTPUT]}, "No tool call found"),
    "unknown item": ({"input": [{"type": "thought"}]}, "'thought'"),
    "unknown role": ({"input": [{"role": "tool", "content": "hi"}]}, "'tool'"),
    "bad name": ({"input": [ITEM | {"name": "a b"}, OUTPUT]}, "pattern"),
    "too many tools": ({"input": "hi", "tools": [{"type": "function", "name": "f"}] * 129}, "got 129"),
}


async def test_what_openai_refuses_is_refused_with_its_kind_of_error() -> None:
    async with rehearse() as rehearsal:
        for path, cases in (("/v1/chat/completions", REFUSED_CHATS), ("/v1/responses", REFUSED_RESPONSES)):
            for what, (body, reason) in cases.items():
                answer = await rehearsal.post(path, {"model": "any", **body} if isinstance(body, dict) else body)
                error = answer.json()["error"]
                assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), what
                assert reason in error["message"], what
                assert error.keys() == {"message", "type", "param", "code"}, what


async def test_the_longest_valid_request_is_taken() -> None:
    async with rehearse() as rehearsal:
        tools = [function(f"{'x' * 60}_{at:03}") for at in range(128)]
        body = {"model": "any", "messages": [USER, CALLED, RESULT, USER, CALLED, RESULT], "tools": tools}
        assert (await rehearsal.post("/v1/chat/completions", body)).status_code == 200


# --- faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("server_error", openai.InternalServerError, None),
        ("unauthorized", openai.AuthenticationError, "invalid_api_key"),
        ("not_found", openai.NotFoundError, "model_not_found"),
        ("content_filter", openai.BadRequestError, "content_filter"),
        ("context_too_long", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_a_refusal_is_the_sdks_error_as_often_as_it_was_asked_for(
    kind: str, error: type[openai.APIStatusError], code: str | None
) -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail(kind, times=2, retry_after_s=7)
        for stream in (True, False):
            with pytest.raises(error) as caught:
                await rehearsal.ask("hello", stream=stream)
            assert caught.value.code == code
        assert caught.value.response.headers.get("Retry-After") == ("7" if kind == "rate_limit" else None)
        assert await rehearsal.ask("hello")


async def test_the_sdk_retries_after_the_wait_that_is_asked_for() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("rate_limit", retry_after_s=0.2)
        started = time.monotonic()
        patient = rehearsal.client.with_options(max_retries=1)
        await patient.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}])
        assert time.monotonic() - started >= 0.2


async def test_reasoning_with_tools_is_refused_unless_its_effort_is_none() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("reasoning_tools", times=2)
        with pytest.raises(openai.BadRequestError) as caught:
            await rehearsal.ask("hello", tools=CHAT_TOOLS)
        assert caught.value.param == "reasoning_effort"
        assert await rehearsal.ask("hello", tools=CHAT_TOOLS, reasoning_effort="none")


IMAGE = "data:image/png;base64,iVBORw0KGgo="


def chat_image(url: str = IMAGE, text: str = "2 + 3") -> dict[str, Any]:
    parts: list[Any] = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": "any", "messages": [{"role": "user", "content": parts}]}


def response_image(url: str = IMAGE, text: str = "2 + 3") -> dict[str, Any]:
    parts = [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    return {"model": "any", "input": [{"role": "user", "content": parts}]}


ASK_WITH_IMAGE = [("/v1/chat/completions", chat_image), ("/v1/responses", response_image)]


@pytest.mark.parametrize(("path", "body"), ASK_WITH_IMAGE)
async def test_an_image_is_told_by_its_size_and_type_and_does_not_keep_tools_from_being_called(
    path: str, body: Callable[..., dict[str, Any]]
) -> None:
    async with rehearse() as rehearsal:
        answer = await rehearsal.post(path, body(text="thanks"))
        assert "You sent an image: 8 bytes of image/png." in answer.text and "You are welcome." in answer.text
        tools = CHAT_TOOLS if "chat" in path else RESPONSE_TOOLS
        assert "toolbridge__calculate" in (await rehearsal.post(path, body() | {"tools": tools})).text


@pytest.mark.parametrize(("path", "body"), ASK_WITH_IMAGE)
async def test_images_are_refused_by_a_model_that_takes_none_and_text_is_not(
    path: str, body: Callable[..., dict[str, Any]]
) -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("no_images", times=2)
        refused = await rehearsal.post(path, body())
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].endswith("is only supported by certain models.")
        assert refused.json()["error"]["param"] == "messages.[0].content.[1].type"
        assert await rehearsal.ask("hello")


@pytest.mark.parametrize(("path", "body"), ASK_WITH_IMAGE)
@pytest.mark.parametrize("url", ["https://example.org/cat.png", "data:image/png;base64,abcde", "data:text/plain,x"])
async def test_an_image_that_is_none_is_refused(path: str, body: Callable[..., dict[str, Any]], url: str) -> None:
    async with rehearse() as rehearsal:
        refused = await rehearsal.post(path, body(url))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_image_url")


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", response_image), ("/v1/responses", chat_image)])
async def test_parts_of_the_other_protocol_are_refused(path: str, body: Callable[..., dict[str, Any]]) -> None:
    async with rehearse() as rehearsal:
        messages = next(iter([*body().values()][1:]))
        refused = await rehearsal.post(path, {"model": "any", "messages": messages, "input": messages})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


async def test_an_image_does_not_count_by_its_bytes() -> None:
    async with rehearse() as rehearsal:
        large = f"data:image/png;base64,{'A' * 400_000}"
        answer = await rehearsal.post("/v1/chat/completions", chat_image(large))
        assert answer.json()["usage"]["prompt_tokens"] < 100


async def test_what_the_bot_writes_around_files_is_no_request_but_their_text_is() -> None:
    async with rehearse() as rehearsal:
        text = (
            "[Ann] [The file `a.txt` was sent with this message:]\n```txt\nthanks\n```\n\n"
            "[The images, in their order: `a.png`, `b.png`.]\n\n"
            "[The file `x.pdf` was not read: it cannot be taken.]\n\n"
            "[Of the file `b.txt` only the first 2 of 3 characters were read.]"
        )
        assert await rehearsal.ask(text) == "You are welcome."


async def test_a_cut_stream_breaks_the_connection_after_some_chunks() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("cut", after_chunks=3)
        stream = await rehearsal.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "what can you do?"}], stream=True
        )
        chunks: list[ChatCompletionChunk] = []
        with pytest.raises(openai.APIConnectionError):
            await collect(stream, into=chunks)
        assert len(chunks) == 3 and text_of(chunks)
        await rehearsal.fail("cut")
        with pytest.raises(openai.APIConnectionError):
            await rehearsal.ask("hello")


async def collect(stream: AsyncIterator[ChatCompletionChunk], *, into: list[ChatCompletionChunk]) -> None:
    async for chunk in stream:
        into.append(chunk)  # noqa: PERF401  (what came before an error stays)


async def test_an_unfinished_stream_ends_without_its_last_event() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("unfinished", after_chunks=2)
        chunks = await rehearsal.stream("what can you do?")
        assert len(chunks) == 2 and all(chunk.choices[0].finish_reason is None for chunk in chunks)
        await rehearsal.fail("unfinished", after_chunks=1000)
        assert [event.type for event in await stream_response(rehearsal, "hello")][-1] == "response.output_item.done"


async def test_a_stalled_stream_sends_nothing_more() -> None:
    async with rehearse(timeout_s=0.3) as rehearsal:
        await rehearsal.fail("stall", after_chunks=2)
        with pytest.raises(openai.APITimeoutError):
            await rehearsal.stream("what can you do?")
        assert await rehearsal.ask("hello")


async def test_a_malformed_chunk_is_no_json() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("malformed_chunk")
        with pytest.raises(json.JSONDecodeError):
            await rehearsal.stream("hello")


async def test_a_content_filter_ends_a_stream_in_the_middle() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("content_filter", after_chunks=2, times=3)
        chunks = await rehearsal.stream("what can you do?")
        assert chunks[-1].choices[0].finish_reason == "content_filter"
        assert text_of(chunks).startswith("I am the rehearsal model")
        last = (await stream_response(rehearsal, "what can you do?"))[-1]
        assert last.type == "response.incomplete" and last.response.incomplete_details
        assert last.response.incomplete_details.reason == "content_filter"
        assert await rehearsal.ask("what can you do?") == text_of(chunks)


async def test_calls_come_with_broken_arguments_or_of_an_unknown_tool() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("malformed_arguments")
        await rehearsal.fail("unknown_tool")
        broken, unknown = [
            await rehearsal.client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "greet Ada"}], tools=CHAT_TOOLS
            )
            for _ in range(2)
        ]
        made = [choice.message.tool_calls or [] for choice in (broken.choices[0], unknown.choices[0])]
        first, second = [call.function for calls in made for call in calls if call.type == "function"]
        assert first.name == "toolbridge__greet"
        with pytest.raises(json.JSONDecodeError):
            json.loads(first.arguments)
        assert second.name not in {one["name"] for one in FUNCTIONS}


# --- control -----------------------------------------------------------------------------------------------------


async def test_scripted_answers_come_before_the_models_own() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.script({"text": "one two"}, {"tool_calls": [{"name": "f", "arguments": "{oops"}]})
        assert await rehearsal.ask("hello") == "one two"
        chunks = await rehearsal.stream("hello")
        calls = [call.function for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert "".join(function.arguments or "" for function in calls if function) == "{oops"
        assert text_of(await rehearsal.stream("hello")).startswith("Hello!")


async def test_received_bodies_can_be_read_and_faults_cleared() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.fail("quota", times=5)
        assert (await rehearsal.http.delete(f"{rehearsal.root}/control/faults")).status_code == 204
        await rehearsal.ask("hello")
        seen = (await rehearsal.http.get(f"{rehearsal.root}/control/requests")).json()
        assert seen == {"requests": [{"model": "any", "messages": [{"role": "user", "content": "hello"}]}], "total": 1}
        wrong = await rehearsal.http.post(f"{rehearsal.root}/control/faults", json={"faults": [{"kind": "flood"}]})
        assert wrong.status_code == 400 and "rate_limit" in wrong.json()["error"]


async def test_the_pace_can_be_slowed() -> None:
    async with rehearse() as rehearsal:
        await rehearsal.post("/control/pace", {"first_token_s": 0.2, "chunk_s": 0.05})
        started = time.monotonic()
        chunks = await rehearsal.stream("hello")
        assert time.monotonic() - started >= 0.2 + 0.05 * (len(chunks) - 1)


async def test_small_pieces_are_not_held_back() -> None:
    async with rehearse() as rehearsal:
        quickest_s = 1.0
        for _ in range(10):
            started = time.monotonic()
            await rehearsal.stream("hello")
            quickest_s = min(quickest_s, time.monotonic() - started)
        assert quickest_s < 0.035  # Nagle's algorithm with delayed acknowledgements costs 0.04 s


async def test_without_control_there_is_no_control_address() -> None:
    async with asyncio.timeout(10), serve_rehearsal() as url, httpx2.AsyncClient() as http:
        root = url.removesuffix("/v1")
        for path in ("faults", "requests", "pace", "script"):
            assert (await http.post(f"{root}/control/{path}", json={"faults": []})).status_code == 404


async def test_leaving_ends_within_a_second_even_with_open_streams() -> None:
    async with asyncio.timeout(10), AsyncOpenAI(base_url="http://unset", api_key="none", max_retries=0) as client:
        async with serve_rehearsal(control=True) as url, httpx2.AsyncClient() as http:
            faults = {"faults": [{"kind": "stall", "after_chunks": 1}]}
            await http.post(f"{url.removesuffix('/v1')}/control/faults", json=faults)
            stream = await client.with_options(base_url=url).chat.completions.create(
                model="any", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            await anext(aiter(stream))
            left_at = time.monotonic()
        assert time.monotonic() - left_at < 1
        with pytest.raises(openai.APIConnectionError):
            await anext(aiter(stream))


async def test_it_runs_as_a_process_of_its_own_until_sigterm() -> None:
    arguments = (sys.executable, "-m", "bot.models.rehearsal.server", "--control")
    pipe = asyncio.subprocess.PIPE
    async with asyncio.timeout(20):
        process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
        try:
            assert process.stdout
            url = (await process.stdout.readline()).decode().strip()
            async with httpx2.AsyncClient() as http:
                models = cast("dict[str, Any]", (await http.get(f"{url}/models")).json())
            assert models["data"][0]["id"] == "rehearsal"
            process.send_signal(signal.SIGTERM)
            rest, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert (process.returncode, rest, errors) == (0, b"", b"")
