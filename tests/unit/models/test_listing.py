"""The size of the context in an endpoint's list of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.models.factory import open_model
from bot.models.listing import listed_context
from bot.settings import load_settings

VLLM = {"id": "ours", "object": "model", "owned_by": "vllm", "max_model_len": 32_768}


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        (VLLM, 32_768),
        ({"id": "ours", "context_length": 131_072}, 131_072),  # OpenRouter, Together
        ({"id": "ours", "context_window": 8_192, "active": True}, 8_192),  # Groq
        ({"id": "ours", "max_context_length": 40_960}, 40_960),  # Mistral
        ({"id": "ours", "context_length": 200_000, "max_model_len": 16_000}, 16_000),
        ({"id": "ours", "object": "model", "owned_by": "openai"}, None),
        ({"id": "ours", "context_length": None, "context_window": "8192", "max_model_len": True}, None),
        ({"id": "other", "context_length": 4_096}, None),
    ],
)
def test_the_size_is_that_of_the_model_that_answers(entry: dict[str, object], tokens: int | None) -> None:
    assert listed_context({"object": "list", "data": [{"id": "first", "context_length": 1}, entry]}, "ours") == tokens
    assert listed_context([entry], "ours") == tokens  # Together lists without an envelope


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "id", "context_length", "x"]), inner),
)


@given(anything)
def test_a_list_of_whatever_shape_is_read_or_left(listed: object) -> None:
    tokens = listed_context(listed, "ours")
    assert tokens is None or tokens > 0


@asynccontextmanager
async def listing(status: int, body: str) -> AsyncGenerator[tuple[str, list[str]]]:
    """An endpoint with nothing but a list; yields its URL and the requests that it gets."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", asked


@pytest.mark.parametrize(
    ("status", "body", "learnt"),
    [
        (200, json.dumps({"object": "list", "data": [VLLM]}), [32_768]),
        (200, "[]", [None]),
        (200, "<html>", []),
        (404, "{}", []),
        (500, "", []),
    ],
)
async def test_an_endpoint_is_asked_once_for_its_list_and_may_have_none(
    status: int, body: str, learnt: list[int | None]
) -> None:
    heard: list[int | None] = []
    async with listing(status, body) as (url, asked):
        settings = load_settings(env_file=None, openai_base_url=url, openai_model="ours")
        async with open_model(settings, learn=heard.append):
            async with asyncio.timeout(10):
                while not asked or len(heard) < len(learnt):  # noqa: ASYNC110  (a server of bytes sets no event)
                    await asyncio.sleep(0.005)
    assert heard in (learnt, [None]) and asked == ["GET /v1/models HTTP/1.1"]


async def test_closing_the_model_does_not_wait_for_the_list() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        settings = load_settings(env_file=None, openai_base_url=url, openai_model="ours")
        async with asyncio.timeout(10):
            async with open_model(settings, learn=lambda tokens: None):
                await asyncio.sleep(0.05)
