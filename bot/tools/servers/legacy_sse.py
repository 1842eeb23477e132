"""The legacy transport of 2024-11-05: one stream of events from the server, a POST for each message to it.

https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from httpx2 import EventSource, ServerSentEvent
from mcp import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCRequest

from bot.tools.config import HttpEndpoint
from bot.tools.servers.cures import http_cure, network_trouble
from bot.tools.servers.events import MendedEvents
from bot.tools.servers.faults import made_here, tells_of_lost_session
from bot.tools.servers.link import Link
from bot.tools.servers.streams import Incoming, Streams
from bot.tools.servers.web import NEVER_SENT, fault_of_status, new_http_client
from bot.tools.servers.weighing import MAX_MESSAGE_BYTES, read_weighed

_NO_SSE = "its answer is not a stream of events"


@asynccontextmanager
async def open_legacy_sse(endpoint: HttpEndpoint, link: Link) -> AsyncGenerator[Streams]:
    """Open the server's stream. Raises MCPError where there is none."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(new_http_client(endpoint))
        response = await _open_stream(client, endpoint.url)
        stack.push_async_callback(response.aclose)
        events = aiter(EventSource(response_of(response, link), max_event_size=MAX_MESSAGE_BYTES * 2))
        address = await _address(events, endpoint.url)
        to_sdk, incoming = anyio.create_memory_object_stream[Incoming](0)
        outgoing, from_sdk = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as pumps:
            pumps.start_soon(_read, events, to_sdk, link)
            pumps.start_soon(_write, _Poster(client, address, link), from_sdk, to_sdk)
            try:
                yield incoming, outgoing
            finally:
                pumps.cancel_scope.cancel()
                for stream in (incoming, outgoing, to_sdk, from_sdk):
                    stream.close()


def response_of(response: httpx2.Response, link: Link) -> httpx2.Response:
    """Return the response with events that can be read."""
    return httpx2.Response(
        response.status_code,
        headers={"content-type": "text/event-stream"},
        stream=MendedEvents(response, lambda: link.waiting),
        request=response.request,
    )


async def _open_stream(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    request = client.build_request("GET", url, headers={"Accept": "text/event-stream", "Cache-Control": "no-store"})
    try:
        response = await client.send(request, stream=True)
    except httpx2.RequestError as error:
        said, cure = network_trouble(error)
        raise _error(made_here(said, fault="unsent", cure=cure)) from error
    if response.is_success and response.headers.get("content-type", "").startswith("text/event-stream"):
        return response
    await response.aclose()
    status = f"HTTP {response.status_code} {response.reason_phrase}"
    said = _NO_SSE if response.is_success else status
    raise _error(made_here(said, fault="turned_away", cure=http_cure(response.status_code, response.headers)))


async def _address(events: AsyncIterator[ServerSentEvent], url: str) -> str:
    """Return where messages are posted to: the server's first event says so, and it may name no other host."""
    try:
        async for event in events:
            if event.event == "endpoint":
                address = urljoin(url, event.data.strip())
                if urlsplit(address)[:2] != urlsplit(url)[:2]:
                    raise _error(made_here("it wants messages to be sent to another host", fault="turned_away"))
                return address
    except httpx2.RequestError as error:
        said, cure = network_trouble(error)
        raise _error(made_here(said, fault="lost", cure=cure)) from error
    raise _error(made_here("its stream ended at once", fault="lost"))


async def _read(events: AsyncIterator[ServerSentEvent], to_sdk: MemoryObjectSendStream[Incoming], link: Link) -> None:
    try:
        async with to_sdk:
            async for event in events:
                if event.event == "message" and event.data.strip():
                    raw = event.data.encode("utf-8", "replace")
                    for message in await read_weighed(raw, waiting=link.waiting):
                        await to_sdk.send(SessionMessage(message))
    except (httpx2.RequestError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the end of the stream: requests in progress learn of it


class _Poster:
    """Posts messages; what becomes of a request that is refused is an answer to it."""

    def __init__(self, client: httpx2.AsyncClient, address: str, link: Link) -> None:
        self._client = client
        self._address = address
        self._link = link

    async def post(self, item: SessionMessage) -> ErrorData | None:
        """Post one message; return the error that replaces its answer, None where the stream will bring one."""
        content = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            response = await self._client.post(
                self._address, content=content, headers={"Content-Type": "application/json"}
            )
        except httpx2.RequestError as error:
            self._link.mark_suspect()
            said, cure = network_trouble(error)
            return made_here(said, fault="unsent" if isinstance(error, NEVER_SENT) else "lost", cure=cure)
        if response.is_success:
            return None
        self._link.mark_suspect()
        status = response.status_code
        if status == 404 or tells_of_lost_session(response.text):
            return made_here("the server no longer knows the session", fault="session")
        said = f"HTTP {status} {response.reason_phrase}"
        return made_here(said, fault=fault_of_status(status), cure=http_cure(status, response.headers))


async def _write(
    poster: _Poster,
    from_sdk: MemoryObjectReceiveStream[SessionMessage],
    to_sdk: MemoryObjectSendStream[Incoming],
) -> None:
    async def post(item: SessionMessage) -> None:
        error = await poster.post(item)
        if error is not None and isinstance(item.message, JSONRPCRequest):
            answer = JSONRPCError(jsonrpc="2.0", id=item.message.id, error=error)
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the stream may have ended
                await to_sdk.send(SessionMessage(answer))

    async with from_sdk, anyio.create_task_group() as posts:
        async for item in from_sdk:
            if isinstance(item.message, JSONRPCRequest):
                posts.start_soon(post, item)
            else:
                await post(item)


def _error(data: ErrorData) -> MCPError:
    return MCPError(code=data.code, message=data.message, data=data.data)
