"""The server: its addresses, and the way of one request from the body to the response."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.openai.chat_completions import ChatCompletions
from tests.fakes.openai.control import Fault, State, control_routes
from tests.fakes.openai.faults import paced, refuse
from tests.fakes.openai.reply import Reply, make_reply
from tests.fakes.openai.responses import Responses
from tests.fakes.openai.strictness import RequestRefusedError, check_request
from tests.fakes.openai.wire import MODEL_NAME, Wire, as_dict


@asynccontextmanager
async def serve_openai(*, port: int = 0, control: bool = False, routes: Sequence[Route] = ()) -> AsyncGenerator[str]:
    """Serve on 127.0.0.1 (port 0: a free one) and yield the base URL, which ends in /v1; leaving cuts open streams.

    `routes` come before its own: what else the server is.
    """
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        # Connections inherit it. asyncio sets it only on sockets made for IPPROTO_TCP by name; without it Nagle's
        # algorithm holds small chunks back for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _Server(
            uvicorn.Config(
                _application(State(control=control), routes),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # uvicorn takes a cut stream for an exception
                access_log=False,
                server_header=False,
                timeout_keep_alive=60,  # clients drop idle connections after 5 s, so none uses a closed one
                timeout_graceful_shutdown=0,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="openai-server")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await serving
            if server.server_state.tasks:
                await asyncio.wait(server.server_state.tasks)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # signals belong to the process, in which this server is a guest


def _application(state: State, more: Sequence[Route]) -> Starlette:
    chat, responses = _Endpoint(state, ChatCompletions()), _Endpoint(state, Responses())
    endpoints = {
        "/v1/chat/completions": chat,
        "/openai/v1/chat/completions": chat,
        "/openai/deployments/{name}/chat/completions": chat,
        "/v1/responses": responses,
        "/openai/v1/responses": responses,
        "/openai/responses": responses,
    }
    routes = [*more, *(Route(path, endpoint.answer, methods=["POST"]) for path, endpoint in endpoints.items())]
    routes += [Route(f"{prefix}/models", _models) for prefix in ("/v1", "/openai/v1", "/openai")]
    if state.control:
        routes += control_routes(state)
    return Starlette(routes=routes)


async def _models(request: Request) -> Response:
    model = {"id": MODEL_NAME, "object": "model", "created": 0, "owned_by": "toolbridge"}
    return JSONResponse({"object": "list", "data": [model]})


class _Endpoint:
    """One of the two protocols at its addresses."""

    def __init__(self, state: State, wire: Wire) -> None:
        self._state = state
        self._wire = wire

    async def answer(self, request: Request) -> Response:
        try:
            body = await self._read(request)
            check_request(body, self._wire, is_lenient=self._state.is_lenient)
            fault = self._state.next_fault()
            refuse(fault, body, self._wire)
            reply = make_reply(body, self._wire, self._state, fault)
            is_azure = "/deployments/" in request.url.path
            return self._respond(reply, body, fault, is_azure=is_azure)
        except RequestRefusedError as refused:
            return JSONResponse(refused.body, refused.status, headers=refused.headers)

    async def _read(self, request: Request) -> dict[str, Any]:
        _check_access(request)
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            raise RequestRefusedError("We could not parse the JSON body of your request.") from None
        if self._state.control:
            self._state.received += 1
            self._state.requests.append(body)
        body = {"model": request.path_params.get("name"), **as_dict(body)}
        if not isinstance(body["model"], str):
            raise RequestRefusedError("you must provide a model parameter", param="model")
        return body

    def _respond(self, reply: Reply, body: dict[str, Any], fault: Fault | None, *, is_azure: bool) -> Response:
        if body.get("stream"):
            content, ending = self._wire.stream(reply, body, is_azure=is_azure)
            media_type = "text/event-stream"
        else:
            whole = json.dumps(self._wire.whole(reply, body)).encode()
            content, ending = [whole[: len(whole) // 2]], [whole[len(whole) // 2 :]]
            media_type = "application/json"
        return StreamingResponse(paced(content, ending, state=self._state, fault=fault), media_type=media_type)


def _check_access(request: Request) -> None:
    path = request.url.path
    if not path.startswith("/openai/"):
        return
    if not (request.headers.get("api-key") or request.headers.get("authorization")):
        text = "Access denied: neither an api-key nor a bearer token was sent."
        raise RequestRefusedError(text, status=401, code="401")
    if not path.startswith("/openai/v1/") and "api-version" not in request.query_params:
        raise RequestRefusedError("Missing required query parameter: api-version", code="BadRequest")
