"""Model servers on this machine are found where they usually listen, with their models that support tools."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from bot.models.local import LocalModel, LocalServer, Place, context_of_ollama, find_local, usual_places
from tests.fakes.local_models import LLAMA_CPP, LM_STUDIO, VLLM, json_routes, ollama_routes
from tests.fakes.openai import serve_openai


def at(url: str, kind: Any) -> Place:
    return Place(kind=kind, address=url.removeprefix("http://").removesuffix("/v1"))


async def test_ollama_says_which_of_its_models_support_tools() -> None:
    models = {"llama2:7b": ["completion"], "qwen3:8b": ["completion", "tools", "thinking"]}
    async with serve_openai(routes=ollama_routes(models)) as url:
        assert await find_local([at(url, "Ollama")]) == [
            LocalServer(kind="Ollama", url=url, models=(LocalModel(name="qwen3:8b", has_tools=True),), without_tools=1)
        ]
        assert await context_of_ollama(url, "qwen3:8b") == 4096


@pytest.mark.parametrize(
    ("kind", "answers", "found"),
    [
        ("LM Studio", LM_STUDIO, LocalModel(name="qwen2.5-7b-instruct", has_tools=True, context_tokens=8192)),
        ("llama.cpp", LLAMA_CPP, LocalModel(name="gemma.gguf", has_tools=True, context_tokens=16384)),
        ("vLLM", VLLM, LocalModel(name="Qwen/Qwen3-8B", context_tokens=40960)),
    ],
)
async def test_the_others_list_their_models(kind: str, answers: dict[str, Any], found: LocalModel) -> None:
    async with serve_openai(routes=json_routes(answers)) as url:
        [server] = await find_local([at(url, kind)])
    assert (server.kind, server.models) == (kind, (found,))


async def test_a_server_that_says_what_it_is_may_be_on_the_others_port() -> None:
    async with serve_openai(routes=json_routes(VLLM)) as url:
        [server] = await find_local([at(url, "llama.cpp")])
    assert server.kind == "vLLM"


async def test_what_listens_and_never_answers_costs_the_time_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = Place(kind="vLLM", address=f"127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(30), serve_openai(routes=json_routes(LM_STUDIO)) as url:
            found = await find_local([place, at(url, "LM Studio")])
    assert [server.kind for server in found] == ["LM Studio"]


@pytest.mark.parametrize("answer", [None, [], {"models": [7, {"name": 3}]}, {"data": {}}, {"models": "x"}, "x"])
async def test_another_program_on_the_port_is_no_model_server(answer: Any) -> None:
    other = json_routes({"/api/tags": answer, "/api/v0/models": answer, "/v1/models": answer})
    async with serve_openai(routes=other) as url:
        assert await find_local([at(url, "Ollama"), at(url, "LM Studio"), at(url, "vLLM")]) == []


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("", "127.0.0.1:11434"),
        ("0.0.0.0", "127.0.0.1:11434"),
        (":9999", "127.0.0.1:9999"),
        ("http://gpu.local:80/", "gpu.local:80"),
        ("[::1]:7", "[::1]:7"),
        ("https://x y", "127.0.0.1:11434"),
    ],
)
def test_ollamas_own_variable_says_where_it_listens(written: str, address: str) -> None:
    assert usual_places({"OLLAMA_HOST": written})[0].address == address
