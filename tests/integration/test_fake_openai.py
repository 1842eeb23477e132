"""The loopback model endpoint, driven by the real openai SDK."""

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
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from tests.fakes.openai import chat_completions, responses, serve_openai
from tests.fakes.openai.strictness import FLAGGED

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
class Fake:
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
async def open_fake(*, timeout_s: float = 10.0) -> AsyncGenerator[Fake]:
    async with (
        asyncio.timeout(30),
        serve_openai(control=True) as url,
        AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=timeout_s) as client,
        httpx2.AsyncClient() as http,
    ):
        yield Fake(root=url.removesuffix("/v1"), client=client, http=http)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# --- Chat Completions --------------------------------------------------------------------------------------------


async def test_a_chat_completion_asks_for_tools_at_once_and_then_answers() -> None:
    async with open_fake() as fake:
        messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": BOTH}]
        first = await fake.client.chat.completions.create(model="any", messages=messages, tools=CHAT_TOOLS)
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
        second = await fake.client.chat.completions.create(model="any", messages=messages, tools=CHAT_TOOLS)
        assert second.choices[0].finish_reason == "stop"
        assert second.choices[0].message.content == "- 2 + 3 = **5**\n- Hello, Ada!"


async def test_a_streamed_chat_completion_comes_in_pieces_with_usage_at_the_end() -> None:
    async with open_fake() as fake:
        whole = await fake.ask("what can you do?", tools=CHAT_TOOLS)
        chunks = await fake.stream("what can you do?", tools=CHAT_TOOLS, stream_options={"include_usage": True})
        assert text_of(chunks) == whole
        assert sum(bool(text_of([chunk])) for chunk in chunks) > 5
        assert [choice.finish_reason for chunk in chunks[-3:] for choice in chunk.choices] == [None, "stop"]
        assert chunks[-1].choices == [] and chunks[-1].usage
        assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
        assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_without_being_asked_for_usage_a_stream_has_none() -> None:
    async with open_fake() as fake:
        assert all(chunk.usage is None and chunk.choices for chunk in await fake.stream("hello"))


async def test_parallel_tool_calls_are_streamed_by_index_with_split_arguments() -> None:
    async with open_fake() as fake:
        calls: dict[int, dict[str, str]] = {}
        pieces = 0
        chunks = await fake.stream(BOTH, tools=CHAT_TOOLS)
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
    async with open_fake() as fake:
        messages: list[Any] = [{"role": "system", "content": "x" * 4000}, {"role": "user", "content": "hello"}]
        create = fake.client.chat.completions.create
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
    async with open_fake() as fake:
        said = await fake.ask("2 + 3", tools=CHAT_TOOLS, tool_choice="none")
        assert said and "no fitting `calculate` tool is offered" in said


# --- Azure and the Responses API ---------------------------------------------------------------------------------


async def test_azure_clients_of_both_kinds_get_answers() -> None:
    async with open_fake() as fake:
        async with AsyncAzureOpenAI(
            azure_endpoint=fake.root, api_version="2024-10-21", api_key="secret", max_retries=0
        ) as azure:
            messages: list[Any] = [{"role": "user", "content": "hello"}]
            stream = await azure.chat.completions.create(model="my-deployment", messages=messages, stream=True)
            chunks = [chunk async for chunk in stream]
            assert chunks[0].choices == [] and text_of(chunks).startswith("Hello!")
            response = await azure.responses.create(model="my-deployment", input="hello")
            assert response.output_text.startswith("Hello!")
        async with AsyncOpenAI(base_url=f"{fake.root}/openai/v1/", api_key="secret", max_retries=0) as v1:
            response = await v1.responses.create(model="my-deployment", input="hello")
            assert response.output_text.startswith("Hello!")
            assert [model.id async for model in v1.models.list()] == ["rehearsal"]


async def test_azure_wants_a_key_and_an_api_version() -> None:
    async with open_fake() as fake:
        body = {"messages": [{"role": "user", "content": "hello"}]}
        path = "/openai/deployments/any/chat/completions"
        assert (await fake.post(f"{path}?api-version=2024-10-21", body)).status_code == 401
        refused = await fake.post(path, body, headers={"api-key": "secret"})
        assert refused.status_code == 400 and "api-version" in refused.json()["error"]["message"]
        answer = await fake.post(f"{path}?api-version=1", body, headers={"Authorization": "Bearer x"})
        assert answer.status_code == 200


async def test_a_response_asks_for_tools_and_takes_their_outputs() -> None:
    async with open_fake() as fake:
        asked: list[Any] = [{"role": "user", "content": BOTH}]
        create = fake.client.responses.create
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


async def stream_response(fake: Fake, text: str) -> list[ResponseStreamEvent]:
    create = fake.client.responses.create
    stream = await create(model="any", input=text, tools=RESPONSE_TOOLS, store=False, stream=True)
    return [event async for event in stream]


async def test_a_streamed_response_of_words_sends_the_events_of_the_real_api() -> None:
    async with open_fake() as fake:
        events = await stream_response(fake, "what can you do?")
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
    async with open_fake() as fake:
        events = await stream_response(fake, BOTH)
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
    "unknown parameter": ({"messages": [USER], "colour": "red"}, "Unrecognized request argument supplied: colour"),
    "too many tools": ({"messages": [USER], "tools": [function("f")] * 129}, "length 129"),
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
    "unknown parameter": ({"input": "hi", "colour": "red"}, "Unknown parameter: 'colour'."),
    "bad name": ({"input": [ITEM | {"name": "a b"}, OUTPUT]}, "pattern"),
    "too many tools": ({"input": "hi", "tools": [{"type": "function", "name": "f"}] * 129}, "length 129"),
}


OBJECT: dict[str, Any] = {"type": "object", "properties": {}}
AT_THE_TOP = "not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"
REFUSED_SCHEMAS: dict[str, tuple[dict[str, Any], str]] = {
    "no properties": ({"type": "object"}, "In context=(), object schema missing properties."),
    "no inner properties": (
        OBJECT | {"properties": {"at": {"type": "object"}}},
        "In context=('properties', 'at'), object schema missing properties.",
    ),
    "no items": (
        OBJECT | {"properties": {"tags": {"type": "array"}}},
        "In context=('properties', 'tags'), array schema missing items.",
    ),
    "no items in an alternative": (
        OBJECT | {"properties": {"tags": {"anyOf": [{"type": "null"}, {"type": ["array", "null"]}]}}},
        "In context=('properties', 'tags', 'anyOf', '1'), array schema missing items.",
    ),
    **{f"{keyword} at the top": (OBJECT | {keyword: [OBJECT]}, AT_THE_TOP) for keyword in ("anyOf", "allOf", "oneOf")},
    "enum at the top": (OBJECT | {"enum": [{}]}, AT_THE_TOP),
    "not at the top": (OBJECT | {"not": {}}, AT_THE_TOP),
    "null for properties": ({"type": "object", "properties": None}, "None is not of type 'object'"),
    "null for a schema": (OBJECT | {"properties": {"a": None}}, "None is not of type 'object', 'boolean'"),
    "null for required": (OBJECT | {"required": None}, "None is not of type 'array'"),
    "a name required twice": (OBJECT | {"required": ["a", "a"]}, "non-unique"),
    "a list of items": (OBJECT | {"properties": {"a": {"type": "array", "items": [{}]}}}, "is not of type 'object'"),
}


@pytest.mark.parametrize("what", REFUSED_SCHEMAS)
async def test_a_schema_that_openai_refuses_is_refused_in_its_words(what: str) -> None:
    schema, reason = REFUSED_SCHEMAS[what]
    chat = {"model": "any", "messages": [USER], "tools": [*CHAT_TOOLS, function("bad", parameters=schema)]}
    tools = [*RESPONSE_TOOLS, {"type": "function", "name": "bad", "parameters": schema}]
    async with open_fake() as fake:
        refused = await fake.post("/v1/chat/completions", chat)
        error = refused.json()["error"]
        assert refused.status_code == 400 and reason in error["message"]
        assert error["message"].startswith("Invalid schema for function 'bad': ")
        assert (error["param"], error["code"]) == ("tools[2].function.parameters", "invalid_function_parameters")
        refused = await fake.post("/v1/responses", {"model": "any", "input": "hi", "tools": tools})
        assert refused.json()["error"]["param"] == "tools[2].parameters"


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_prompt_with_flagged_words_anywhere_is_refused_as_azure_does(at: int) -> None:
    texts = ["hi", "hello", "again"]
    texts[at] = f"some {FLAGGED}"
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    async with open_fake() as fake:
        for path, name in (("/v1/chat/completions", "messages"), ("/v1/responses", "input")):
            refused = await fake.post(path, {"model": "any", name: messages})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["param"]) == (400, "content_filter", "prompt")
            assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"


async def test_a_lenient_endpoint_takes_any_tool_and_ignores_what_it_does_not_know() -> None:
    tool = function("a b", description="x" * 2000, parameters={"anyOf": [{}], "properties": None})
    body = {"model": "any", "messages": [USER | {"content": FLAGGED}], "tools": [tool] * 200, "colour": "red"}
    async with open_fake() as fake:
        assert (await fake.post("/v1/chat/completions", body)).status_code == 400
        await fake.post("/control/strictness", {"lenient": True})
        assert (await fake.post("/v1/chat/completions", body)).status_code == 200


async def test_a_description_is_refused_beyond_1024_characters() -> None:
    async with open_fake() as fake:
        for length, status in ((1024, 200), (1025, 400)):
            tool = function("f", description="x" * length)
            answer = await fake.post("/v1/chat/completions", {"model": "any", "messages": [USER], "tools": [tool]})
            assert answer.status_code == status
        assert answer.json()["error"] == {
            "message": "Invalid 'tools[0].function.description': string too long. Expected a string with maximum "
            "length 1024, but got a string with length 1025 instead.",
            "type": "invalid_request_error",
            "param": "tools[0].function.description",
            "code": "string_above_max_length",
        }


def test_the_parameters_that_it_knows_are_those_of_the_sdk() -> None:
    chat = {*CompletionCreateParamsStreaming.__annotations__, *CompletionCreateParamsNonStreaming.__annotations__}
    assert chat == chat_completions.PARAMETERS
    response = {*ResponseCreateParamsStreaming.__annotations__, *ResponseCreateParamsNonStreaming.__annotations__}
    assert response == responses.PARAMETERS


async def test_what_openai_refuses_is_refused_with_its_kind_of_error() -> None:
    async with open_fake() as fake:
        for path, cases in (("/v1/chat/completions", REFUSED_CHATS), ("/v1/responses", REFUSED_RESPONSES)):
            for what, (body, reason) in cases.items():
                answer = await fake.post(path, {"model": "any", **body} if isinstance(body, dict) else body)
                error = answer.json()["error"]
                assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), what
                assert reason in error["message"], what
                assert error.keys() == {"message", "type", "param", "code"}, what


async def test_the_longest_valid_request_is_taken() -> None:
    async with open_fake() as fake:
        tools = [function(f"{'x' * 60}_{at:03}") for at in range(128)]
        body = {"model": "any", "messages": [USER, CALLED, RESULT, USER, CALLED, RESULT], "tools": tools}
        assert (await fake.post("/v1/chat/completions", body)).status_code == 200


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
    async with open_fake() as fake:
        await fake.fail(kind, times=2, retry_after_s=7)
        for stream in (True, False):
            with pytest.raises(error) as caught:
                await fake.ask("hello", stream=stream)
            assert caught.value.code == code
        assert caught.value.response.headers.get("Retry-After") == ("7" if kind == "rate_limit" else None)
        assert await fake.ask("hello")


async def test_the_sdk_retries_after_the_wait_that_is_asked_for() -> None:
    async with open_fake() as fake:
        await fake.fail("rate_limit", retry_after_s=0.2)
        started = time.monotonic()
        patient = fake.client.with_options(max_retries=1)
        await patient.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}])
        assert time.monotonic() - started >= 0.2


async def test_reasoning_with_tools_is_refused_unless_its_effort_is_none() -> None:
    async with open_fake() as fake:
        await fake.fail("reasoning_tools", times=2)
        with pytest.raises(openai.BadRequestError) as caught:
            await fake.ask("hello", tools=CHAT_TOOLS)
        assert caught.value.param == "reasoning_effort"
        assert await fake.ask("hello", tools=CHAT_TOOLS, reasoning_effort="none")


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
    async with open_fake() as fake:
        answer = await fake.post(path, body(text="thanks"))
        assert "You sent an image: 8 bytes of image/png." in answer.text and "You are welcome." in answer.text
        tools = CHAT_TOOLS if "chat" in path else RESPONSE_TOOLS
        assert "toolbridge__calculate" in (await fake.post(path, body() | {"tools": tools})).text


@pytest.mark.parametrize(("path", "body"), ASK_WITH_IMAGE)
async def test_images_are_refused_by_a_model_that_takes_none_and_text_is_not(
    path: str, body: Callable[..., dict[str, Any]]
) -> None:
    async with open_fake() as fake:
        await fake.fail("no_images", times=2)
        refused = await fake.post(path, body())
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].endswith("is only supported by certain models.")
        assert refused.json()["error"]["param"] == "messages.[0].content.[1].type"
        assert await fake.ask("hello")


@pytest.mark.parametrize(("path", "body"), ASK_WITH_IMAGE)
@pytest.mark.parametrize("url", ["https://example.org/cat.png", "data:image/png;base64,abcde", "data:text/plain,x"])
async def test_an_image_that_is_none_is_refused(path: str, body: Callable[..., dict[str, Any]], url: str) -> None:
    async with open_fake() as fake:
        refused = await fake.post(path, body(url))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_image_url")


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", response_image), ("/v1/responses", chat_image)])
async def test_parts_of_the_other_protocol_are_refused(path: str, body: Callable[..., dict[str, Any]]) -> None:
    async with open_fake() as fake:
        name = "messages" if "chat" in path else "input"
        _, messages = body().values()
        refused = await fake.post(path, {"model": "any", name: messages})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


async def test_an_image_does_not_count_by_its_bytes() -> None:
    async with open_fake() as fake:
        large = f"data:image/png;base64,{'A' * 400_000}"
        answer = await fake.post("/v1/chat/completions", chat_image(large))
        assert answer.json()["usage"]["prompt_tokens"] < 100


async def test_what_the_bot_writes_around_files_is_no_request_but_their_text_is() -> None:
    async with open_fake() as fake:
        text = (
            "⟦from U1: Ann⟧\n⟦The file `a.txt` was sent with this message:⟧\n```txt\nthanks\n```\n\n"
            "⟦The images, in their order: `a.png`, `b.png`.⟧\n\n"
            "⟦The file `x.pdf` was not read: it cannot be taken.⟧\n\n"
            "⟦Of the file `b.txt` only the first 2 of 3 characters were read.⟧"
        )
        assert await fake.ask(text) == "You are welcome."


async def test_a_cut_stream_breaks_the_connection_after_some_chunks() -> None:
    async with open_fake() as fake:
        await fake.fail("cut", after_chunks=3)
        stream = await fake.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "what can you do?"}], stream=True
        )
        chunks: list[ChatCompletionChunk] = []
        with pytest.raises(openai.APIConnectionError):
            await collect(stream, into=chunks)
        assert len(chunks) == 3 and text_of(chunks)
        await fake.fail("cut")
        with pytest.raises(openai.APIConnectionError):
            await fake.ask("hello")


async def collect(stream: AsyncIterator[ChatCompletionChunk], *, into: list[ChatCompletionChunk]) -> None:
    async for chunk in stream:
        into.append(chunk)  # noqa: PERF401  (what came before an error stays)


async def test_an_unfinished_stream_ends_without_its_last_event() -> None:
    async with open_fake() as fake:
        await fake.fail("unfinished", after_chunks=2)
        chunks = await fake.stream("what can you do?")
        assert len(chunks) == 2 and all(chunk.choices[0].finish_reason is None for chunk in chunks)
        await fake.fail("unfinished", after_chunks=1000)
        assert [event.type for event in await stream_response(fake, "hello")][-1] == "response.output_item.done"


async def test_a_stalled_stream_sends_nothing_more() -> None:
    async with open_fake(timeout_s=0.3) as fake:
        await fake.fail("stall", after_chunks=2)
        with pytest.raises(openai.APITimeoutError):
            await fake.stream("what can you do?")
        assert await fake.ask("hello")


async def test_a_malformed_chunk_is_no_json() -> None:
    async with open_fake() as fake:
        await fake.fail("malformed_chunk")
        with pytest.raises(json.JSONDecodeError):
            await fake.stream("hello")


async def test_a_content_filter_ends_a_stream_in_the_middle() -> None:
    async with open_fake() as fake:
        await fake.fail("content_filter", after_chunks=2, times=3)
        chunks = await fake.stream("what can you do?")
        assert chunks[-1].choices[0].finish_reason == "content_filter"
        assert text_of(chunks).startswith("I am the rehearsal model")
        last = (await stream_response(fake, "what can you do?"))[-1]
        assert last.type == "response.incomplete" and last.response.incomplete_details
        assert last.response.incomplete_details.reason == "content_filter"
        assert await fake.ask("what can you do?") == text_of(chunks)


async def test_calls_come_with_broken_arguments_or_of_an_unknown_tool() -> None:
    async with open_fake() as fake:
        await fake.fail("malformed_arguments")
        await fake.fail("unknown_tool")
        broken, unknown = [
            await fake.client.chat.completions.create(
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
    async with open_fake() as fake:
        await fake.script({"text": "one two"}, {"tool_calls": [{"name": "f", "arguments": "{oops"}]})
        assert await fake.ask("hello") == "one two"
        chunks = await fake.stream("hello")
        calls = [call.function for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert "".join(function.arguments or "" for function in calls if function) == "{oops"
        assert text_of(await fake.stream("hello")).startswith("Hello!")


async def test_received_bodies_can_be_read_and_faults_cleared() -> None:
    async with open_fake() as fake:
        await fake.fail("quota", times=5)
        assert (await fake.http.delete(f"{fake.root}/control/faults")).status_code == 204
        await fake.ask("hello")
        seen = (await fake.http.get(f"{fake.root}/control/requests")).json()
        assert seen == {"requests": [{"model": "any", "messages": [{"role": "user", "content": "hello"}]}], "total": 1}
        wrong = await fake.http.post(f"{fake.root}/control/faults", json={"faults": [{"kind": "flood"}]})
        assert wrong.status_code == 400 and "rate_limit" in wrong.json()["error"]


async def test_the_pace_can_be_slowed() -> None:
    async with open_fake() as fake:
        await fake.post("/control/pace", {"first_token_s": 0.2, "chunk_s": 0.05})
        started = time.monotonic()
        chunks = await fake.stream("hello")
        assert time.monotonic() - started >= 0.2 + 0.05 * (len(chunks) - 1)


async def test_small_pieces_are_not_held_back() -> None:
    async with open_fake() as fake:
        quickest_s = 1.0
        for _ in range(30):
            started = time.monotonic()
            await fake.stream("hello")
            quickest_s = min(quickest_s, time.monotonic() - started)
        assert quickest_s < 0.035  # Nagle's algorithm with delayed acknowledgements costs 0.04 s


async def test_without_control_there_is_no_control_address() -> None:
    async with asyncio.timeout(10), serve_openai() as url, httpx2.AsyncClient() as http:
        root = url.removesuffix("/v1")
        for path in ("faults", "requests", "pace", "script"):
            assert (await http.post(f"{root}/control/{path}", json={"faults": []})).status_code == 404


async def test_leaving_ends_within_a_second_even_with_open_streams() -> None:
    async with asyncio.timeout(10), AsyncOpenAI(base_url="http://unset", api_key="none", max_retries=0) as client:
        async with serve_openai(control=True) as url, httpx2.AsyncClient() as http:
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
    arguments = (sys.executable, "-m", "tests.fakes.openai", "--control")
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
