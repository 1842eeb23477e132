"""The rehearsal model behind the Model port, beside the same rules behind an endpoint."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import Attachment, ModelAnswer, ToolSpec, UserMessage
from bot.models.factory import open_model
from bot.models.rehearsal.model import RehearsalModel, word_groups
from bot.ports.model import Model, ModelProgress, ModelRequest
from bot.settings import Settings
from tests.fakes.openai import serve_openai

NUMBER = {"type": "number"}
CALCULATE = ToolSpec(
    name="bundled__calculate",
    server="bundled",
    tool="calculate",
    description="Calculate with two numbers.",
    parameters={
        "type": "object",
        "properties": {"operation": {"type": "string"}, "a": NUMBER, "b": NUMBER},
        "required": ["operation", "a", "b"],
    },
)
GREET = ToolSpec(
    name="bundled__greet",
    server="bundled",
    tool="greet",
    description="Greet.",
    parameters={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)
PNG = Attachment(name="a.png", mime_type="image/png", data=b"\x89PNG")
QUESTION = ModelRequest(system="You are a test.", messages=(UserMessage(text="2 + 3"),), tools=(CALCULATE, GREET))


def asks(text: str, **more: Any) -> ModelRequest:
    return replace(QUESTION, messages=(UserMessage(text=text, **more),))


async def ask(model: Model, request: ModelRequest) -> tuple[ModelAnswer, list[ModelProgress]]:
    progress: list[ModelProgress] = []
    async with asyncio.timeout(20):
        deadline = asyncio.get_running_loop().time() + 15
        return await model.complete(request, deadline=deadline, progress=progress.append), progress


async def test_a_stop_takes_effect_in_the_middle_of_an_answer() -> None:
    begun = asyncio.Event()
    deadline = asyncio.get_running_loop().time() + 15
    request = asks("what can you do?")
    asking = asyncio.create_task(RehearsalModel().complete(request, deadline=deadline, progress=lambda _: begun.set()))
    async with asyncio.timeout(10):
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@given(st.text())
def test_pieces_of_a_text_are_the_whole_text(text: str) -> None:
    assert "".join(word_groups(text)) == text


@asynccontextmanager
async def at_an_endpoint() -> AsyncGenerator[Model]:
    async with serve_openai() as url:
        settings = Settings(_env_file=None, openai_base_url=url, openai_model="rehearsal")  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        async with open_model(settings) as model:
            yield model


async def test_in_process_it_answers_as_it_does_behind_an_endpoint() -> None:
    requests = [
        QUESTION,
        asks("hello"),
        asks("what can you do?"),
        asks("greet me", speaker="Ann"),
        asks("[Bob] greet me", speaker="Ann ]x"),
        asks("thanks \ud83d", images=(PNG,)),
        replace(QUESTION, may_call_tools=False),
        replace(QUESTION, tools=()),
    ]
    here = RehearsalModel()
    async with at_an_endpoint() as there:
        for request in requests:
            (one, told), (other, streamed) = await ask(here, request), await ask(there, request)
            assert told == streamed
            assert one.message.text == other.message.text
            assert [replace(call, id="") for call in one.message.tool_calls] == [
                replace(call, id="") for call in other.message.tool_calls
            ]
            assert one.usage.output_tokens == other.usage.output_tokens
            if not any(message.images for message in request.messages if isinstance(message, UserMessage)):
                assert one.usage == replace(other.usage, unpriced_tokens=0)  # a price list knows nothing of it


async def test_without_an_endpoint_the_rehearsal_model_is_opened() -> None:
    async with open_model(Settings(_env_file=None)) as model:  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        assert model.name == "rehearsal" and isinstance(model, RehearsalModel)


def test_it_needs_neither_an_sdk_nor_a_web_server() -> None:
    code = (
        "import sys, bot.models.factory, bot.models.rehearsal.model; "
        "sys.exit(bool({'openai', 'httpx2', 'uvicorn', 'starlette', 'aiohttp', 'mcp'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ})
