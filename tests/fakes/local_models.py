"""Model servers of one's own machine, as far as they say what they have: Ollama, LM Studio, llama.cpp, vLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def ollama_routes(models: Mapping[str, Sequence[str]], *, context: int = 4096) -> list[Route]:
    """Return Ollama's own routes: models with their capabilities; one is loaded once it was asked.

    https://docs.ollama.com/api/tags, https://docs.ollama.com/api-reference/show-model-details,
    https://docs.ollama.com/api/ps
    """

    async def tags(_: Request) -> Response:
        return JSONResponse({"models": [{"name": name, "model": name, "size": 1} for name in models]})

    async def show(request: Request) -> Response:
        name = (await request.json()).get("model")
        if name not in models:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        return JSONResponse({"details": {"family": "x"}, "capabilities": list(models[name])})

    async def loaded(_: Request) -> Response:
        return JSONResponse({"models": [{"name": name, "context_length": context} for name in models]})

    return [
        Route("/api/tags", tags),
        Route("/api/show", show, methods=["POST"]),
        Route("/api/ps", loaded),
    ]


def json_routes(answers: Mapping[str, Any]) -> list[Route]:
    """Return routes that answer a GET with JSON."""

    def answering(body: Any) -> Any:
        async def answer(_: Request) -> Response:
            return JSONResponse(body)

        return answer

    return [Route(path, answering(body)) for path, body in answers.items()]


# https://lmstudio.ai/docs/developer/rest/endpoints
LM_STUDIO = {
    "/api/v0/models": {
        "object": "list",
        "data": [
            {"id": "text-embed", "object": "model", "type": "embeddings", "state": "not-loaded"},
            {"id": "plain-7b", "type": "llm", "state": "not-loaded", "capabilities": []},
            {
                "id": "qwen2.5-7b-instruct",
                "type": "llm",
                "state": "loaded",
                "max_context_length": 32768,
                "loaded_context_length": 8192,
                "capabilities": ["tool_use"],
            },
        ],
    }
}
# https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
LLAMA_CPP = {
    "/v1/models": {"object": "list", "data": [{"id": "gemma.gguf", "object": "model", "owned_by": "llamacpp"}]},
    "/props": {
        "default_generation_settings": {"n_ctx": 16384},
        "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
    },
}
# https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
VLLM = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "Qwen/Qwen3-8B", "object": "model", "owned_by": "vllm", "max_model_len": 40960}],
    }
}
