"""What a test tells the server over HTTP: faults, scripted answers and the pace; and the requests it received."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.models.rehearsal.usage import PromptCache

# Refusals instead of an answer: kind -> status, error type, code, message.
REFUSALS = {
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "server_error": (500, "server_error", None, "The server had an error while processing your request."),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "not_found": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "content_filter": (400, "invalid_request_error", "content_filter", "The prompt triggered the content filter."),
    "context_too_long": (400, "invalid_request_error", "context_length_exceeded", "The input is too long."),
    "no_images": (400, "invalid_request_error", None, "Invalid content type. {} is only supported by certain models."),
    "tool": (400, "invalid_request_error", "invalid_function_parameters", "Invalid schema for function '{}': bad."),
    "reasoning_tools": (400, "invalid_request_error", None, "Function tools with reasoning_effort are not supported."),
}
STREAM_FAULTS = frozenset({"cut", "unfinished", "stall", "malformed_chunk"})
FAULT_KINDS = frozenset(REFUSALS) | STREAM_FAULTS | {"malformed_arguments", "unknown_tool"}


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that the next `times` requests meet; `after_chunks` pieces of the answer come before it.

    `tool` names the one that a refusal of the kind "tool" is about.
    """

    kind: str
    times: int = 1
    after_chunks: int | None = None
    retry_after_s: float = 1.0
    tool: str = ""


@dataclass(slots=True, kw_only=True)
class State:
    """What one server remembers from request to request."""

    control: bool
    prompts: PromptCache = field(default_factory=PromptCache)
    requests: deque[Any] = field(default_factory=lambda: deque[Any](maxlen=1000))
    received: int = 0
    faults: deque[Fault] = field(default_factory=deque[Fault])
    script: deque[dict[str, Any]] = field(default_factory=deque[dict[str, Any]])
    first_token_s: float = 0.0
    chunk_s: float = 0.0
    is_lenient: bool = False

    def next_fault(self) -> Fault | None:
        """Return the fault that this request meets, and count it."""
        if not self.faults:
            return None
        fault = self.faults[0]
        fault.times -= 1
        if fault.times <= 0:
            self.faults.popleft()
        return fault


def control_routes(state: State) -> list[Route]:
    """Return the addresses under /control/."""

    async def set_faults(request: Request) -> Response:
        try:
            faults = [Fault(**fault) for fault in (await request.json())["faults"]]
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"send {{'faults': [{{'kind': ..., 'times': 1}}]}}: {error}"}, 400)
        if unknown := {fault.kind for fault in faults} - FAULT_KINDS:
            return JSONResponse({"error": f"no such kinds: {sorted(unknown)}; known: {sorted(FAULT_KINDS)}"}, 400)
        state.faults.extend(faults)
        return Response(status_code=204)

    async def clear_faults(request: Request) -> Response:
        state.faults.clear()
        return Response(status_code=204)

    async def get_requests(request: Request) -> Response:
        return JSONResponse({"requests": list(state.requests), "total": state.received})

    async def set_pace(request: Request) -> Response:
        pace = await request.json()
        state.first_token_s, state.chunk_s = float(pace.get("first_token_s", 0)), float(pace.get("chunk_s", 0))
        return Response(status_code=204)

    async def set_script(request: Request) -> Response:
        state.script.extend((await request.json())["answers"])
        return Response(status_code=204)

    async def clear_script(request: Request) -> Response:
        state.script.clear()
        return Response(status_code=204)

    async def set_strictness(request: Request) -> Response:
        state.is_lenient = bool((await request.json())["lenient"])
        return Response(status_code=204)

    return [
        Route("/control/strictness", set_strictness, methods=["POST"]),
        Route("/control/faults", set_faults, methods=["POST"]),
        Route("/control/faults", clear_faults, methods=["DELETE"]),
        Route("/control/requests", get_requests),
        Route("/control/pace", set_pace, methods=["POST"]),
        Route("/control/script", set_script, methods=["POST"]),
        Route("/control/script", clear_script, methods=["DELETE"]),
    ]
