"""The rehearsal model behind OpenAI's and Azure's wire protocols: Chat Completions and Responses on a loopback port.

It refuses what OpenAI refuses, with errors of the same shape. With `control` it can be told to fail, to be slow, or
what to answer; without it those addresses do not exist. Run alone: `python -m bot.models.rehearsal.server [--port N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import signal
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.domain.messages import AssistantMessage, Attachment, Message, ToolCall, ToolMessage, ToolSpec, UserMessage
from bot.models.rehearsal.rules import answer

MODEL_NAME = "rehearsal"


@asynccontextmanager
async def serve_rehearsal(*, port: int = 0, control: bool = False) -> AsyncGenerator[str]:
    """Serve on 127.0.0.1 (port 0: a free one) and yield the base URL, which ends in /v1; leaving cuts open streams."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        # Connections inherit it; asyncio sets it only on sockets that were made for IPPROTO_TCP by name, and without it
        # Nagle's algorithm holds small chunks back for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _Server(
            uvicorn.Config(
                _application(_State(control=control)),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # a cut stream is an exception in uvicorn's eyes
                access_log=False,
                server_header=False,
                timeout_keep_alive=60,  # clients drop idle connections first (after 5 s), so none meets a closed one
                timeout_graceful_shutdown=0,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="rehearsal-server")
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


# --- routes and control ------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Fault:
    kind: str
    times: int = 1
    after_chunks: int | None = None
    retry_after_s: float = 1.0


@dataclass(slots=True, kw_only=True)
class _State:
    """What one server remembers from request to request."""

    control: bool
    prompts: deque[str] = field(default_factory=lambda: deque[str](maxlen=64))
    requests: deque[Any] = field(default_factory=lambda: deque[Any](maxlen=1000))
    received: int = 0
    faults: deque[_Fault] = field(default_factory=deque[_Fault])
    script: deque[dict[str, Any]] = field(default_factory=deque[dict[str, Any]])
    first_token_s: float = 0.0
    chunk_s: float = 0.0

    def next_fault(self) -> _Fault | None:
        if not self.faults:
            return None
        fault = self.faults[0]
        fault.times -= 1
        if fault.times <= 0:
            self.faults.popleft()
        return fault


_Handler = Callable[[Request], Awaitable[Response]]


def _application(state: _State) -> Starlette:
    chat, responses = _endpoint(state, _CHAT), _endpoint(state, _RESPONSES)
    posts = {
        "/v1/chat/completions": chat,
        "/openai/v1/chat/completions": chat,
        "/openai/deployments/{name}/chat/completions": chat,
        "/v1/responses": responses,
        "/openai/v1/responses": responses,
        "/openai/responses": responses,
    }
    routes = [Route(path, handle, methods=["POST"]) for path, handle in posts.items()]
    routes += [Route(f"{prefix}/models", _models) for prefix in ("/v1", "/openai/v1", "/openai")]
    if state.control:
        routes += _control_routes(state)
    return Starlette(routes=routes)


async def _models(request: Request) -> Response:
    model = {"id": MODEL_NAME, "object": "model", "created": 0, "owned_by": "toolbridge"}
    return JSONResponse({"object": "list", "data": [model]})


def _control_routes(state: _State) -> list[Route]:
    async def set_faults(request: Request) -> Response:
        try:
            faults = [_Fault(**fault) for fault in (await request.json())["faults"]]
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"send {{'faults': [{{'kind': ..., 'times': 1}}]}}: {error}"}, 400)
        if unknown := {fault.kind for fault in faults} - _FAULT_KINDS:
            return JSONResponse({"error": f"no such kinds: {sorted(unknown)}; known: {sorted(_FAULT_KINDS)}"}, 400)
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

    return [
        Route("/control/faults", set_faults, methods=["POST"]),
        Route("/control/faults", clear_faults, methods=["DELETE"]),
        Route("/control/requests", get_requests),
        Route("/control/pace", set_pace, methods=["POST"]),
        Route("/control/script", set_script, methods=["POST"]),
    ]


# --- one request -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """An answer on its way out; the arguments of its calls are JSON unless a fault or a script wants otherwise."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    is_filtered: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        return _tokens(self.text) + sum(_tokens(call.name + call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wire:
    """One of the two protocols."""

    check: Callable[[dict[str, Any]], None]  # raises RefusedError
    messages: Callable[[dict[str, Any]], list[Message]]
    image_part: str  # the type of a content's part that is an image
    tool: Callable[[dict[str, Any]], dict[str, Any]]  # the part of a tool that has its name and parameters
    prompt_fields: tuple[str, ...]
    whole: Callable[[_Reply, dict[str, Any]], dict[str, Any]]
    stream: Callable[[_Reply, dict[str, Any]], tuple[list[bytes], list[bytes]]]  # content, and what ends it


class RefusedError(Exception):
    """The request is refused as OpenAI would refuse it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        self.headers: dict[str, str] = {}


def _endpoint(state: _State, wire: _Wire) -> _Handler:
    async def handle(request: Request) -> Response:
        try:
            body = await _body(request, state)
            _check_tools(body, wire)
            wire.check(body)
            fault = state.next_fault()
            _refuse(fault, body, wire)
            return _response(_reply(body, wire, state, fault), body, wire=wire, state=state, fault=fault)
        except RefusedError as refused:
            return JSONResponse(refused.body, refused.status, headers=refused.headers)

    return handle


async def _body(request: Request, state: _State) -> dict[str, Any]:
    path = request.url.path
    if path.startswith("/openai/") and not (request.headers.get("api-key") or request.headers.get("authorization")):
        raise RefusedError("Access denied: neither an api-key nor a bearer token was sent.", status=401, code="401")
    if path.startswith("/openai/") and not path.startswith("/openai/v1/") and "api-version" not in request.query_params:
        raise RefusedError("Missing required query parameter: api-version", code="BadRequest")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RefusedError("We could not parse the JSON body of your request.") from None
    if state.control:
        state.received += 1
        state.requests.append(body)
    body = {"model": request.path_params.get("name"), **_dict(body)}
    if not isinstance(body["model"], str):
        raise RefusedError("you must provide a model parameter", param="model")
    return {**body, "is_azure": "/deployments/" in path}


def _reply(body: dict[str, Any], wire: _Wire, state: _State, fault: _Fault | None) -> _Reply:
    whole = "".join(json.dumps(one) + "\n" for name in wire.prompt_fields for one in _list(body.get(name)))
    prompt = _DATA_URL.sub(lambda url: hashlib.sha256(url[0].encode()).hexdigest(), whole)
    reply = _scripted(state.script.popleft()) if state.script else _planned(body, wire)
    if fault:
        reply = _spoilt(reply, fault, _tools(body, wire))
    cached = max((_common_prefix(prompt, earlier) for earlier in state.prompts), default=0) // 4
    state.prompts.append(prompt)
    return replace(reply, input_tokens=_tokens(prompt), cached_tokens=cached)


def _planned(body: dict[str, Any], wire: _Wire) -> _Reply:
    may_call = body.get("tool_choice") != "none"
    planned = answer(wire.messages(body), _tools(body, wire) if may_call else [])
    calls = tuple(_call(one.name, json.dumps(one.arguments, ensure_ascii=False)) for one in planned.calls)
    return _Reply(text=planned.text, calls=calls)


def _scripted(script: Mapping[str, Any]) -> _Reply:
    """Take a scripted answer; arguments that are a string are sent as they stand, JSON or not."""
    calls = [(one["name"], one.get("arguments", {})) for one in script.get("tool_calls", [])]
    as_text = tuple(_call(name, args if isinstance(args, str) else json.dumps(args)) for name, args in calls)
    return _Reply(text=script.get("text", ""), calls=as_text)


def _call(name: str, arguments: str) -> ToolCall:
    return ToolCall(id=f"call_{uuid.uuid4().hex[:24]}", name=name, arguments=arguments)


def _tools(body: dict[str, Any], wire: _Wire) -> list[ToolSpec]:
    specs: list[ToolSpec] = []
    for tool in _list(body.get("tools")):
        one = wire.tool(_dict(tool))
        server, _, bare = str(one["name"]).rpartition("__")
        about, schema = str(one.get("description") or ""), _dict(one.get("parameters"))
        specs.append(ToolSpec(name=one["name"], server=server, tool=bare, description=about, parameters=schema))
    return specs


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4


def _common_prefix(one: str, other: str) -> int:
    """Return how many leading characters are the same, by bisection (comparing slices is far faster than a loop)."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


# --- faults ------------------------------------------------------------------------------------------------------

_REFUSALS = {  # kind: status, error type, code, message
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "server_error": (500, "server_error", None, "The server had an error while processing your request."),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "not_found": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "content_filter": (400, "invalid_request_error", "content_filter", "The prompt triggered the content filter."),
    "context_too_long": (400, "invalid_request_error", "context_length_exceeded", "The input is too long."),
    "no_images": (400, "invalid_request_error", None, "Invalid content type. {} is only supported by certain models."),
    "reasoning_tools": (400, "invalid_request_error", None, "Function tools with reasoning_effort are not supported."),
}
_STREAM_FAULTS = {"cut", "unfinished", "stall", "malformed_chunk"}
_FAULT_KINDS = frozenset(_REFUSALS) | _STREAM_FAULTS | {"malformed_arguments", "unknown_tool"}


class _CutError(Exception):
    """Raised while a response is under way, so that its connection is closed in the middle."""


def _refuse(fault: _Fault | None, body: dict[str, Any], wire: _Wire) -> None:
    if not fault or fault.kind not in _REFUSALS or (fault.kind == "content_filter" and fault.after_chunks is not None):
        return
    has_tools = "messages" in body and body.get("tools")  # the Responses API takes tools with reasoning
    if fault.kind == "reasoning_tools" and (not has_tools or body.get("reasoning_effort") == "none"):
        return
    if fault.kind == "no_images" and not _has_images(body, wire):
        return
    status, kind, code, message = _REFUSALS[fault.kind]
    message = message.format(wire.image_part)
    param = {
        "reasoning_tools": "reasoning_effort",
        "context_too_long": "messages",
        "no_images": "messages.[0].content.[1].type",
    }.get(fault.kind)
    refused = RefusedError(message, status=status, kind=kind, code=code, param=param)
    if fault.kind == "rate_limit":
        refused.headers["Retry-After"] = f"{fault.retry_after_s:g}"
    raise refused


def _spoilt(reply: _Reply, fault: _Fault, tools: Sequence[ToolSpec]) -> _Reply:
    """Return the reply with the fault in it, where the fault is one of content."""
    match fault.kind:
        case "malformed_arguments":
            names = [*(call.name for call in reply.calls), *(tool.name for tool in tools)]
            return replace(reply, text="", calls=(_call(names[0], '{"broken": '),)) if names else reply
        case "unknown_tool":
            return replace(reply, text="", calls=(_call("no_such_tool", "{}"),))
        case "content_filter":
            pieces = word_groups(reply.text)[: fault.after_chunks]
            return replace(reply, text="".join(pieces), calls=(), is_filtered=True)
        case _:
            return reply


def _response(reply: _Reply, body: dict[str, Any], *, wire: _Wire, state: _State, fault: _Fault | None) -> Response:
    is_stream = bool(body.get("stream"))
    if is_stream:
        content, ending = wire.stream(reply, body)
    else:
        whole = json.dumps(wire.whole(reply, body)).encode()
        content, ending = [whole[: len(whole) // 2]], [whole[len(whole) // 2 :]]
    media_type = "text/event-stream" if is_stream else "application/json"
    return StreamingResponse(_paced(content, ending, state=state, fault=fault), media_type=media_type)


async def _paced(
    content: Sequence[bytes], ending: Sequence[bytes], *, state: _State, fault: _Fault | None
) -> AsyncGenerator[bytes]:
    """Send the pieces at the pace that is set; a fault of the stream comes after its number of pieces of content."""
    fault = fault if fault and fault.kind in _STREAM_FAULTS else None
    fault_at = min(1 if fault.after_chunks is None else fault.after_chunks, len(content)) if fault else -1
    first_token_s, chunk_s = state.first_token_s, state.chunk_s
    for at, piece in enumerate((*content, *ending)):
        if fault and at == fault_at:
            if fault.kind == "unfinished":
                return
            yield await _broken(fault.kind)
        if pause_s := chunk_s if at else first_token_s:
            await asyncio.sleep(pause_s)
        yield piece


async def _broken(kind: str) -> bytes:
    if kind == "cut":
        raise _CutError
    if kind == "stall":
        await asyncio.Event().wait()  # until the client leaves, which cancels this
    return b'data: {"choices": [\n\n'


# --- what both protocols share -----------------------------------------------------------------------------------

_MAX_TOOLS = 128
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _check_tools(body: dict[str, Any], wire: _Wire) -> None:
    tools = _list(body.get("tools"))
    if wire is _CHAT and not tools:
        _check_no_tools(body)
    if len(tools) > _MAX_TOOLS:
        message = f"Invalid 'tools': array too long. Expected at most {_MAX_TOOLS}, but got {len(tools)}."
        raise RefusedError(message, param="tools", code="array_above_max_length")
    for at, one in enumerate(wire.tool(_dict(tool)) for tool in tools):
        _check_name(one.get("name"), f"tools[{at}].name")
        if "parameters" in one and _dict(one["parameters"]).get("type") != "object":
            message = f"Invalid schema for function '{one['name']}': schema must be of 'type: \"object\"'."
            raise RefusedError(message, param=f"tools[{at}].parameters", code="invalid_function_parameters")


def _check_no_tools(body: dict[str, Any]) -> None:
    if body.get("tools") is not None:
        message = "Invalid 'tools': empty array. Expected at least one tool."
        raise RefusedError(message, param="tools", code="empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body:
            raise RefusedError(f"'{name}' is only allowed when 'tools' are specified.", param=name)


def _check_name(name: object, param: str) -> None:
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        message = f"Invalid '{param}': expected a string that matches the pattern '^[a-zA-Z0-9_-]{{1,64}}$'."
        raise RefusedError(message, param=param, code="invalid_value")


def _text(content: object) -> str:
    """Return a content's text, be it a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(str(_dict(part).get("text") or "") for part in _list(content))


_DATA_URL = re.compile(r"data:(?P<type>image/[a-z]+);base64,(?P<data>[A-Za-z0-9+/]+={0,2})")


def _check_parts(content: object, param: str, kinds: Sequence[str]) -> None:
    """Refuse parts of a kind that only the other protocol knows, and images that cannot be read."""
    parts = [] if isinstance(content, str) else [_dict(part) for part in _list(content)]
    for at, part in enumerate(parts):
        if part.get("type") not in kinds:
            text = f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(kinds)}."
            raise RefusedError(text, param=f"{param}[{at}].type", code="invalid_value")
        if "image_url" in part and _image(part) is None:
            text = "The image is no data URL with base64 in it."
            raise RefusedError(text, param=f"{param}[{at}].image_url", code="invalid_image_url")


def _images(content: object) -> tuple[Attachment, ...]:
    parts = [_dict(part) for part in _list(content)]
    images = [_image(part) for part in parts if "image_url" in part]
    return tuple(image for image in images if image)


def _image(part: Mapping[str, Any]) -> Attachment | None:
    url: object = part["image_url"]
    found = _DATA_URL.fullmatch(str(_dict(url).get("url") or url))  # Chat Completions wraps it in an object
    try:
        return Attachment(name="", mime_type=found["type"], data=base64.b64decode(found["data"])) if found else None
    except ValueError:
        return None


def _has_images(body: dict[str, Any], wire: _Wire) -> bool:
    return any(message.images for message in wire.messages(body) if isinstance(message, UserMessage))


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    """Return a list as it is, nothing as none, and anything else as the only item."""
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


def word_groups(text: str) -> list[str]:
    """Cut a text into groups of words, as an endpoint streams it."""
    return re.findall(r"\s*(?:\S+\s*){1,3}|\s+", text)


def _argument_pieces(arguments: str) -> list[str]:
    return [arguments[at : at + 16] for at in range(0, len(arguments), 16)]


def _event(data: Mapping[str, Any]) -> bytes:
    """Write a server-sent event; those of the Responses API carry their type in the event line too."""
    head = f"event: {data['type']}\n" if "type" in data else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# --- Chat Completions --------------------------------------------------------------------------------------------

_ROLES = ("system", "developer", "user", "assistant", "tool")


def _check_chat(body: dict[str, Any]) -> None:
    messages = [_dict(message) for message in _list(body.get("messages"))]
    if not messages:
        message = "Invalid 'messages': expected an array with at least one message."
        raise RefusedError(message, param="messages", code="empty_array")
    if "stream_options" in body and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RefusedError(message, param="stream_options")
    for at, message in enumerate(messages):
        _check_message(message, f"messages[{at}]")
    _check_pairs(messages)


def _check_message(message: dict[str, Any], param: str) -> None:
    if message.get("role") not in _ROLES:
        text = f"Invalid value: '{message.get('role')}'. Supported values are: {', '.join(_ROLES)}."
        raise RefusedError(text, param=f"{param}.role", code="invalid_value")
    calls, content = _list(message.get("tool_calls")), message.get("content")
    if not isinstance(content, str | list) and not (content is None and calls):
        text = f"Invalid value for 'content': expected a string or an array, got {type(content).__name__}."
        raise RefusedError(text, param=f"{param}.content", code="invalid_type")
    if message["role"] == "user":
        _check_parts(message["content"], f"{param}.content", ("text", "image_url"))
    for at, call in enumerate(calls):
        function = _dict(_dict(call).get("function"))
        _check_name(function.get("name"), f"{param}.tool_calls[{at}].function.name")
        if not isinstance(function.get("arguments"), str) or not isinstance(_dict(call).get("id"), str):
            raise RefusedError(
                "A tool call needs an id and its arguments as a string.", param=f"{param}.tool_calls[{at}]"
            )


def _check_pairs(messages: Sequence[dict[str, Any]]) -> None:
    """Refuse a tool call without exactly one tool message right after it, and a tool message without its call."""
    awaited: list[str] = []
    for at, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in awaited:
                text = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise RefusedError(text, param=f"messages[{at}].role")
            awaited.remove(message["tool_call_id"])
        elif awaited:
            text = (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each of them. "
                f"The following tool_call_ids did not have response messages: {', '.join(awaited)}"
            )
            raise RefusedError(text, param=f"messages[{at}]")
        else:
            awaited = [_dict(call)["id"] for call in _list(message.get("tool_calls"))]
        if len(set(awaited)) < len(awaited):
            raise RefusedError("The ids of a message's tool calls must differ.", param=f"messages[{at}].tool_calls")


def _chat_messages(body: dict[str, Any]) -> list[Message]:
    return [message for one in _list(body["messages"]) if (message := _chat_message(_dict(one)))]


def _chat_message(message: dict[str, Any]) -> Message | None:
    text = _text(message.get("content"))
    match message["role"]:
        case "user":
            return UserMessage(text=text, images=_images(message.get("content")))
        case "assistant":
            calls = [(call["id"], call["function"]) for call in _list(message.get("tool_calls"))]
            made = tuple(ToolCall(id=key, name=call["name"], arguments=call["arguments"]) for key, call in calls)
            return AssistantMessage(text=text, tool_calls=made)
        case "tool":
            return ToolMessage(call_id=message["tool_call_id"], text=text)
        case _:
            return None


def _chat_whole(reply: _Reply, body: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in reply.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    return {**_chat_head("chat.completion"), "choices": [choice], "usage": _chat_usage(reply)}


def _chat_stream(reply: _Reply, body: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    head = _chat_head("chat.completion.chunk")
    with_usage = bool(_dict(body.get("stream_options")).get("include_usage"))
    if with_usage:
        head["usage"] = None

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice]})

    content = [chunk(delta) for delta in _chat_deltas(reply)]
    if body["is_azure"]:  # Azure tells of its content filter first
        content.insert(0, _event({**head, "id": "", "model": "", "choices": [], "prompt_filter_results": []}))
    ending = [chunk({}, _finish_reason(reply))]
    if with_usage:
        ending.append(_event({**head, "choices": [], "usage": _chat_usage(reply)}))
    return content, [*ending, b"data: [DONE]\n\n"]


def _chat_deltas(reply: _Reply) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if reply.calls and not reply.text else "", "refusal": None}
    yield from ({"content": piece} for piece in word_groups(reply.text))
    for at, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": at, "id": call.id, "type": "function", "function": function}]}
        for piece in _argument_pieces(call.arguments):
            yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}


def _chat_head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": MODEL_NAME}


def _finish_reason(reply: _Reply) -> str:
    return "content_filter" if reply.is_filtered else "tool_calls" if reply.calls else "stop"


def _chat_usage(reply: _Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


# --- Responses ---------------------------------------------------------------------------------------------------

_ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning")


def _check_responses(body: dict[str, Any]) -> None:
    items = [_item(one) for one in _list(body.get("input"))]
    if not items:
        raise RefusedError("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    called: list[str] = []
    for at, item in enumerate(items):
        _check_item(item, f"input[{at}]")
        key = str(item.get("call_id"))
        if item["type"] == "function_call":
            called.append(key)
        elif item["type"] == "function_call_output":
            if key not in called:
                raise RefusedError(f"No tool call found for function call output with call_id {key}.", param="input")
            called.remove(key)
    if called:
        raise RefusedError(f"No tool output found for function call {called[0]}.", param="input")


def _check_item(item: dict[str, Any], param: str) -> None:
    if item["type"] not in _ITEM_TYPES:
        text = f"Invalid value: '{item['type']}'. Supported values are: {', '.join(_ITEM_TYPES)}."
        raise RefusedError(text, param=f"{param}.type", code="invalid_value")
    if item["type"] == "message" and item.get("role") not in _ROLES[:-1]:
        text = f"Invalid value: '{item.get('role')}'. Supported values are: {', '.join(_ROLES[:-1])}."
        raise RefusedError(text, param=f"{param}.role", code="invalid_value")
    if item.get("role") == "user":
        _check_parts(item.get("content"), f"{param}.content", ("input_text", "input_image"))
    if item["type"] == "function_call":
        _check_name(item.get("name"), f"{param}.name")
        if not isinstance(item.get("arguments"), str) or not isinstance(item.get("call_id"), str):
            raise RefusedError("A function call needs a call_id and its arguments as a string.", param=param)


def _item(item: object) -> dict[str, Any]:
    """Return an input item with its type; a bare string is a user message."""
    return {"type": "message", **(_dict(item) or {"role": "user", "content": item})}


def _responses_messages(body: dict[str, Any]) -> list[Message]:
    """Read the items; function calls that stand together are one answer, as they were when it was given."""
    messages: list[Message] = []
    for item in map(_item, _list(body["input"])):
        match item["type"], item.get("role"):
            case "message", "user":
                content = item.get("content")
                messages.append(UserMessage(text=_text(content), images=_images(content)))
            case "message", "assistant":
                messages.append(AssistantMessage(text=_text(item.get("content"))))
            case "function_call", _:
                call = ToolCall(id=item["call_id"], name=item["name"], arguments=item["arguments"])
                last = messages[-1] if messages else None
                if isinstance(last, AssistantMessage):
                    messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
                else:
                    messages.append(AssistantMessage(text="", tool_calls=(call,)))
            case "function_call_output", _:
                messages.append(ToolMessage(call_id=item["call_id"], text=_text(item.get("output"))))
            case _:
                pass
    return messages


def _responses_whole(reply: _Reply, body: dict[str, Any]) -> dict[str, Any]:
    return _finished_response(_response_head(body), reply, _output(reply))


def _responses_stream(reply: _Reply, body: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    head, output = _response_head(body), _output(reply)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": head},
        {"type": "response.in_progress", "response": head},
    ]
    for at, item in enumerate(output):
        events += _message_events(item, at) if item["type"] == "message" else _call_events(item, at)
    kind = "response.incomplete" if reply.is_filtered else "response.completed"
    events.append({"type": kind, "response": _finished_response(head, reply, output)})
    sent = [_event({**event, "sequence_number": at}) for at, event in enumerate(events)]
    return sent[:-1], sent[-1:]


def _message_events(item: dict[str, Any], at: int) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": at}
    in_part = {**place, "content_index": 0}
    added: dict[str, Any] = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": at, "item": added}
    yield {"type": "response.content_part.added", **in_part, "part": {**part, "text": ""}}
    for piece in word_groups(part["text"]):
        yield {"type": "response.output_text.delta", **in_part, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **in_part, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **in_part, "part": part}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _call_events(item: dict[str, Any], at: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": at}
    added = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": at, "item": added}
    for piece in _argument_pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    named = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **named}
    yield {"type": "response.output_item.done", "output_index": at, "item": item}


def _output(reply: _Reply) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    status = "incomplete" if reply.is_filtered else "completed"
    if reply.text or not reply.calls:
        part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        spoken = {"type": "message", "role": "assistant", "status": status, "content": [part]}
        output.append({"id": f"msg_{uuid.uuid4().hex}", **spoken})
    for call in reply.calls:
        named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        output.append({"id": f"fc_{uuid.uuid4().hex}", "type": "function_call", "status": status, **named})
    return output


def _response_head(body: dict[str, Any]) -> dict[str, Any]:
    echoed = ("instructions", "max_output_tokens", "temperature", "top_p", "previous_response_id")
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": MODEL_NAME,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "store": body.get("store", True),
        "metadata": body.get("metadata") or {},
        "usage": None,
        **{name: body.get(name) for name in echoed},
    }


def _finished_response(head: dict[str, Any], reply: _Reply, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **head,
        "status": "incomplete" if reply.is_filtered else "completed",
        "incomplete_details": {"reason": "content_filter"} if reply.is_filtered else None,
        "output": output,
        "usage": {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": reply.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        },
    }


_CHAT = _Wire(
    check=_check_chat,
    messages=_chat_messages,
    image_part="image_url",
    tool=lambda tool: _dict(tool.get("function")),
    prompt_fields=("tools", "messages"),
    whole=_chat_whole,
    stream=_chat_stream,
)
_RESPONSES = _Wire(
    check=_check_responses,
    messages=_responses_messages,
    image_part="input_image",
    tool=lambda tool: tool,
    prompt_fields=("tools", "instructions", "input"),
    whole=_responses_whole,
    stream=_responses_stream,
)


# --- a process of its own ----------------------------------------------------------------------------------------


def main() -> None:
    """Serve until SIGTERM or SIGINT; the base URL is the one line on standard output."""
    parser = argparse.ArgumentParser(prog="python -m bot.models.rehearsal.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--control", action="store_true", help="offer /control/..., which makes it fail on demand")
    options = parser.parse_args()
    asyncio.run(_serve_until_told(port=options.port, control=options.control))


async def _serve_until_told(*, port: int, control: bool) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(told.set))
    async with serve_rehearsal(port=port, control=control) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await told.wait()


if __name__ == "__main__":
    main()
