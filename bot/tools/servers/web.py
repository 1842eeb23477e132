"""A tool server over HTTP: every fault is an answer to the request that it hits, and says what became of it."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
from asyncio import timeout
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from typing import Any, cast

import httpx2
from httpx2 import USE_CLIENT_DEFAULT
from mcp.shared.dispatcher import coerce_request_id
from mcp.types import REQUEST_TIMEOUT, ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse

from bot.tools.config import HttpEndpoint
from bot.tools.servers.cures import http_cure, network_trouble
from bot.tools.servers.events import MendedEvents
from bot.tools.servers.faults import NOT_VALID, Fault, made_here, tells_of_lost_session
from bot.tools.servers.link import Link
from bot.tools.servers.reading import Waiting, is_message, read_messages
from bot.tools.servers.weighing import LIGHT_BYTES, MAX_MESSAGE_BYTES, TOO_LARGE, is_heavy, read_weighed, with_turns

_CONNECT_TIMEOUT_S = 10.0
_SESSION_END_TIMEOUT_S = 1.0  # for reporting to a server that its session ends
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_GATEWAY_STATUS = (502, 503, 504)  # a proxy lost the server behind it
_SESSION_LOST = "the server no longer knows the session"
_JSON = "application/json"


def new_http_client(endpoint: HttpEndpoint) -> httpx2.AsyncClient:
    """Return an HTTP client for this endpoint."""
    return httpx2.AsyncClient(**_options(endpoint))


def _options(endpoint: HttpEndpoint) -> dict[str, Any]:
    return {
        "headers": dict(endpoint.headers),
        "verify": _trusted_roots(),
        "timeout": httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S),  # calls have a deadline, streams none
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20),
    }


@functools.cache  # loading takes a tenth of a second, too long for each try to reach a server that is down
def _trusted_roots() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class FaultBarrier(httpx2.AsyncClient):
    """An HTTP client whose faults are answers.

    In the SDK, an exception of one request cancels the task that owns the connection, and with it all other requests.
    Here each exception, and each answer that is no MCP, becomes an error answer to its own request, marked with what
    became of that request.
    """

    def __init__(self, endpoint: HttpEndpoint, link: Link) -> None:
        super().__init__(**_options(endpoint))
        self._link = link

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = USE_CLIENT_DEFAULT,
        follow_redirects: Any = USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        if request.method == "DELETE":
            return await self._end_session(request)
        try:
            response = await super().send(request, stream=True, auth=auth, follow_redirects=follow_redirects)
        except httpx2.RequestError as error:
            self._link.mark_suspect()
            said, cure = network_trouble(error)
            fault: Fault = "unsent" if isinstance(error, NEVER_SENT) else "lost"
            return _answer(request, made_here(said, fault=fault, cure=cure))
        if response.is_success and _content_type(response) == "text/event-stream":
            return _with_mended_events(request, response, self._link)
        return await self._read(request, response)

    async def _read(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """Read the whole answer, so that its faults are found here."""
        try:
            body = await _body(response)
        except httpx2.RequestError as error:
            self._link.mark_suspect()
            said, cure = network_trouble(error)
            return _answer(request, made_here(said, fault="lost", cure=cure))
        whole = httpx2.Response(
            response.status_code, headers=_plain_headers(response), content=body or b"", request=request
        )
        waiting = _waiting(request)
        if response.is_redirect or not waiting:
            whole.next_request = response.next_request
            return whole
        if body is None:
            return _answer(request, made_here(TOO_LARGE, fault="unclear"))
        if response.is_success:
            return await _read_success(request, whole, waiting)
        return await self._read_error(request, whole, waiting)

    async def _read_error(
        self, request: httpx2.Request, response: httpx2.Response, waiting: Waiting
    ) -> httpx2.Response:
        reply = await _reply(response.content, waiting)
        error = reply.error if isinstance(reply, JSONRPCError) else None
        if _is_session_gone(request, response, error):
            self._link.mark_suspect()
            return _answer(request, made_here(_SESSION_LOST, fault="session"))
        status = f"HTTP {response.status_code} {response.reason_phrase}"
        fault = fault_of_status(response.status_code)
        is_call = "tools/call" in waiting.values()
        wants_sign_in = response.status_code in (401, 403)
        if error is not None and not wants_sign_in and (response.status_code == 400 or not is_call):
            return _answer(request, error)  # the server's own words; its code may tell which era it is of
        if response.status_code != 429:  # its next request would be one too many as well
            self._link.mark_suspect()
        said = f"{status}: {error.message}" if error is not None and error.message else status
        return _answer(request, made_here(said, fault=fault, cure=http_cure(response.status_code, response.headers)))

    async def _end_session(self, request: httpx2.Request) -> httpx2.Response:
        """End the session on the server, without waiting long for one that ignores this or is gone."""
        with suppress(httpx2.RequestError, TimeoutError):
            async with timeout(_SESSION_END_TIMEOUT_S):
                await super().send(request)
        return httpx2.Response(204, request=request)


async def _read_success(request: httpx2.Request, response: httpx2.Response, waiting: Waiting) -> httpx2.Response:
    if _content_type(response) == _JSON and not await is_heavy(response.content) and is_message(response.content):
        if len(response.content) > LIGHT_BYTES:
            await asyncio.sleep(0)  # the SDK reads it once more
        return response
    reply = await _reply(response.content, waiting)
    if reply is not None:
        return _answer(request, reply, headers=_plain_headers(response))
    if not response.content.strip():
        said = f"HTTP {response.status_code} without an answer"
    elif _content_type(response) in ("", _JSON):
        said = NOT_VALID
    else:
        said = f"it answers with {_content_type(response)} instead of MCP"
    return _answer(request, made_here(said, fault="unclear", cure=http_cure(response.status_code, response.headers)))


async def _reply(body: bytes, waiting: Waiting) -> JSONRPCResponse | JSONRPCError | None:
    """Return the answer in a body: it belongs to the request that the body answers, whatever id it has."""
    for message in await read_weighed(body, waiting=waiting):
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            message.id = next(iter(waiting))
            return message
    return None


def fault_of_status(status: int) -> Fault:
    """Return what became of a request that was answered with this status and no JSON-RPC."""
    if status in _GATEWAY_STATUS:
        return "lost"
    return "unclear" if status >= 500 or status == 408 else "turned_away"


def _is_session_gone(request: httpx2.Request, response: httpx2.Response, error: ErrorData | None) -> bool:
    """Return whether the server forgot our session, so that it ran nothing (it restarted, or the session expired)."""
    if "mcp-session-id" not in request.headers:
        return False
    said = response.text if error is None else error.message
    if response.status_code == 404 and (error is None or error.code == REQUEST_TIMEOUT):
        return True  # the specification's way, and the TypeScript SDK's
    return tells_of_lost_session(said)


def _waiting(request: httpx2.Request) -> Waiting:
    """Return the request's id and method; nothing where it wants no answer."""
    if request.method != "POST":
        return {}
    try:
        document: object = json.loads(request.content)
    except ValueError:
        return {}
    message = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    return {message["id"]: str(message["method"])} if "id" in message and "method" in message else {}


async def _body(response: httpx2.Response) -> bytes | None:
    """Return the whole body, None where it is too large."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in with_turns(response.aiter_bytes()):
            parts.append(part)
            size += len(part)
            if size > MAX_MESSAGE_BYTES:
                return None
    finally:
        await response.aclose()
    return b"".join(parts)


def _with_mended_events(request: httpx2.Request, response: httpx2.Response, link: Link) -> httpx2.Response:
    def on_question(data: bytes) -> None:
        asking = [message for message in read_messages(data, waiting={}) if isinstance(message, JSONRPCRequest)]
        for message, origin in product(asking, _waiting(request)):
            link.calls.came_with(message.id, coerce_request_id(origin))

    return httpx2.Response(
        response.status_code,
        headers=_plain_headers(response) | {"content-type": "text/event-stream"},
        stream=MendedEvents(response, functools.partial(_waiting, request), on_question=on_question),
        request=request,
    )


def _answer(
    request: httpx2.Request, answer: JSONRPCMessage | ErrorData, *, headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    if isinstance(answer, ErrorData):
        answer = JSONRPCError(jsonrpc="2.0", id=next(iter(_waiting(request)), None), error=answer)
    status = 200 if isinstance(answer, JSONRPCResponse) else 503
    content = answer.model_dump_json(by_alias=True, exclude_unset=True)
    all_headers = {**(headers or {}), "content-type": _JSON}
    return httpx2.Response(status, headers=all_headers, content=content, request=request)


def _content_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _plain_headers(response: httpx2.Response) -> dict[str, str]:
    gone = ("content-encoding", "content-length", "transfer-encoding")
    return {name: value for name, value in response.headers.items() if name.lower() not in gone}
