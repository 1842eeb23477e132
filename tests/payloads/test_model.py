"""What model endpoints really answer is read as it stands beside it, in every file of `model/`.

A payload is the `api`, the `answers` of the endpoint in their order (the last one for ever), each with status, headers
and body, and `is_cut` where the connection is dropped after the last byte. An expectation names what becomes of it: the
`text`, `calls` and `thoughts` of the answer, `notes` or `says` (what they or the error contain), the `error`, the
`partial` text that stays, the `pause_s` that is asked for, how many `requests` it took, and of the `next` request the
assistant's message.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.backoff import Backoff
from bot.domain.errors import ModelError, ModelRateLimitError, ModelStreamError
from bot.domain.messages import ModelAnswer, ToolMessage, ToolSpec, UserMessage
from bot.domain.turns import TextArrived, TextTakenBack
from bot.models.endpoint import Patience
from bot.models.factory import open_model
from bot.ports.model import Model, ModelProgress, ModelRequest
from bot.settings import Settings
from tests.fakes.openai.raw import Answer, Endpoint, serve_answers
from tests.payloads.reading import Sample, samples

NAMES = ("trains__next", "trains__list_stations", "trains__cancel_bookings", "trains__list_services")
TOOLS = tuple(
    ToolSpec(name=name, server="trains", tool=name.partition("__")[2], description="", parameters={"type": "object"})
    for name in NAMES
)
REQUEST = ModelRequest(system="s", messages=(UserMessage(text="q"),), tools=TOOLS)
PATIENCE = Patience(backoff=Backoff(first_s=0.01), fault_retries=1, rate_limit_retries=1)
WAIT_S = 15.0


def read_answer(given: dict[str, Any]) -> Answer:
    headers = given.get("headers") or {"content-type": "text/event-stream"}
    body = given["body"] if isinstance(given["body"], str) else json.dumps(given["body"])
    return Answer(
        status=given.get("status", 200), headers=headers, pieces=(body.encode(),), is_cut=given.get("is_cut", False)
    )


async def ask(model: Model, request: ModelRequest, told: list[ModelProgress]) -> ModelAnswer:
    async with asyncio.timeout(WAIT_S + 10):
        deadline = asyncio.get_running_loop().time() + WAIT_S
        return await model.complete(request, deadline=deadline, progress=told.append)


def shown(told: list[ModelProgress]) -> str:
    """Return the text that is left in the channel."""
    text = ""
    for item in told:
        text = text + item.text if isinstance(item, TextArrived) else "" if item == TextTakenBack() else text
    return text


def read_arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def outcome_of(model: Model, endpoint: Endpoint, *, wants_next: bool) -> tuple[dict[str, Any], str]:
    """Return what became of the payload, and all sentences about it."""
    told: list[ModelProgress] = []
    try:
        answer = await ask(model, REQUEST, told)
    except ModelError as error:
        partial = error.partial if isinstance(error, ModelStreamError) else ""
        pause_s = error.retry_after_s if isinstance(error, ModelRateLimitError) else 0
        outcome = {"error": type(error).__name__, "partial": partial, "pause_s": pause_s}
        return outcome | {"requests": len(endpoint.bodies)}, str(error)
    assert shown(told) == answer.message.text
    calls = [[call.name, read_arguments(call.arguments)] for call in answer.message.tool_calls]
    outcome = {"text": answer.message.text, "calls": calls, "thoughts": answer.thoughts, "is_cut": answer.is_cut}
    outcome["requests"] = len(endpoint.bodies)
    if wants_next:
        results = tuple(ToolMessage(call_id=call.id, text="r") for call in answer.message.tool_calls)
        await ask(model, replace(REQUEST, messages=(*REQUEST.messages, answer.message, *results)), [])
        sent = endpoint.bodies[-1]
        outcome["next"] = sent["messages"][2] if "messages" in sent else sent["input"][1:-1]
    return outcome, " ".join(answer.notes)


@pytest.mark.parametrize("sample", [pytest.param(sample, id=sample.name) for sample in samples("model")])
async def test_an_answer_of_an_endpoint_is_read_as_it_stands_beside_it(sample: Sample) -> None:
    expect = dict(sample.expect)
    says = expect.pop("says", [])
    async with serve_answers(*map(read_answer, sample.payload["answers"])) as endpoint:
        given: dict[str, Any] = {"openai_base_url": f"{endpoint.url}/v1", "openai_model": "m-1", "openai_api_key": "k"}
        given["model_api"] = sample.payload.get("api", "chat")
        settings = Settings(_env_file=None, **given)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        async with open_model(settings, patience=PATIENCE) as model:
            outcome, sentences = await outcome_of(model, endpoint, wants_next="next" in expect)
            refused_tools = dict(model.refused_tools)
    if "pause_s" in expect:
        assert expect["pause_s"] <= outcome.pop("pause_s") <= expect.pop("pause_s") * 1.1
    assert list(refused_tools) == expect.pop("refused_tools", [])
    assert [part for part in says if part not in sentences] == [], sentences
    assert {name: value for name, value in outcome.items() if value or name in expect} == {"requests": 1} | expect
