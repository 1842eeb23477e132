"""The transport to one tool server, a child process or HTTP: a fault is isolated to the request it hits."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

import httpx2
import structlog
from httpx2 import USE_CLIENT_DEFAULT
from mcp import MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR, JSONRPCResponse

from bot.text.redaction import redact
from bot.tools.config import HIDDEN, Endpoint, HttpEndpoint, StdioEndpoint

log = structlog.get_logger(__name__)

MAX_EVENT_BYTES = 32 * 1024 * 1024  # of one streamed answer; the SDK's own limit is 1 MiB
_CONNECT_TIMEOUT_S = 10.0
_SESSION_END_TIMEOUT_S = 1.0  # for reporting to a server that its session ends
_MAX_LINE_CHARS = 500  # of a server's standard error
_STDERR_WAIT_S = 0.5
_MARK = "toolbridge"  # in the data of an error that was made here: what became of the request

Fault = Literal["unsent", "lost", "refused"]
Incoming = SessionMessage | Exception

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_GATEWAY_STATUS = (502, 503, 504)  # a proxy lost the server behind it


class ReadStream(Protocol):
    """The messages from a server, in the shape that the SDK's own transports give them."""

    async def receive(self) -> Incoming: ...
    async def aclose(self) -> None: ...
    def __aiter__(self) -> ReadStream: ...
    async def __anext__(self) -> Incoming: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None: ...


class WriteStream(Protocol):
    """The messages to a server, likewise."""

    async def send(self, item: SessionMessage, /) -> None: ...
    async def aclose(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None: ...


Streams = tuple[ReadStream, WriteStream]


def fault_of(error: MCPError) -> Fault:
    """Return what became of a request that failed.

    "unsent": it never reached the server; "lost": it may have run; "refused": the server answered with an error.
    """
    if error.code != CONNECTION_CLOSED:
        return "refused"
    return "unsent" if error.data == {_MARK: "unsent"} else "lost"


class Link:
    """What is known of one connection besides its messages."""

    def __init__(self, endpoint: Endpoint, *, server: str, on_suspect: Callable[[], None]) -> None:
        self._secrets = endpoint.secrets
        self._log = log.bind(server=server)
        self._on_suspect = on_suspect
        self.has_ended = False
        self.stderr_line = ""  # the last one that the process wrote to its standard error
        self._has_read_stderr = asyncio.Event()
        self._has_read_stderr.set()

    def mark_suspect(self) -> None:
        """Report that the connection may be broken."""
        self._on_suspect()

    def mark_ended(self) -> None:
        """Report that nothing more can arrive."""
        self.has_ended = True
        self._on_suspect()

    def hide_secrets(self, text: str) -> str:
        """Return the text without the endpoint's secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return redact(text)

    @contextmanager
    def stderr(self) -> Generator[TextIO]:
        """Yield a file for a process to write to; its lines go to the log at debug level.

        The reading thread ends when the process and all that inherited the file have closed it.
        """
        read_end, write_end = os.pipe()
        self._has_read_stderr.clear()
        drain = (read_end, asyncio.get_running_loop())
        threading.Thread(target=self._drain, args=drain, name="tool-server-stderr", daemon=True).start()
        with os.fdopen(write_end, "w", encoding="utf-8") as file:
            yield file

    async def read_stderr(self) -> None:
        """Wait, for a moment at most, until all that a process wrote before it ended is read."""
        with suppress(TimeoutError):  # a process that it started may hold the file open
            async with asyncio.timeout(_STDERR_WAIT_S):
                await self._has_read_stderr.wait()

    def _drain(self, read_end: int, loop: asyncio.AbstractEventLoop) -> None:
        with os.fdopen(read_end, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(_MAX_LINE_CHARS):
                if text := self.hide_secrets(line.strip()):
                    self.stderr_line = text
                    self._log.debug("tool_server_stderr", line=text)
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(self._has_read_stderr.set)


@asynccontextmanager
async def open_transport(endpoint: Endpoint, link: Link) -> AsyncGenerator[Streams]:
    """Start or reach the server; faults are reported to `link`. Raises OSError where its command cannot be started."""
    if isinstance(endpoint, StdioEndpoint):
        with link.stderr() as errlog:
            async with stdio_client(_parameters(endpoint), errlog=errlog) as (read, write):
                yield _WatchedMessages(read, link), write
    else:
        async with (
            _FaultBarrier(endpoint, link) as client,
            streamable_http_client(endpoint.url, http_client=client, max_sse_event_size=MAX_EVENT_BYTES) as streams,
        ):
            read, write = streams
            yield _Messages(read), write


def _parameters(endpoint: StdioEndpoint) -> StdioServerParameters:
    return StdioServerParameters(
        command=endpoint.program,
        args=list(endpoint.args),
        env=dict(endpoint.env),
        cwd=endpoint.cwd,
        encoding_error_handler="replace",
    )


class _Messages:
    """The messages from a server. A result without a type counts as complete."""

    def __init__(self, stream: ReadStream) -> None:
        self._stream = stream

    async def receive(self) -> Incoming:
        return _with_type(await self._stream.receive())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Incoming:
        return _with_type(await self._stream.__anext__())

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)


class _WatchedMessages(_Messages):
    """The messages from a process; its end is reported at once, not with the next request."""

    def __init__(self, stream: ReadStream, link: Link) -> None:
        super().__init__(stream)
        self._link = link

    async def __anext__(self) -> Incoming:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            self._link.mark_ended()
            raise


def _with_type(message: Incoming) -> Incoming:
    # The SDK refuses such a result of a modern server, though the tool has run and its answer is there.
    if isinstance(message, SessionMessage) and isinstance(message.message, JSONRPCResponse):
        message.message.result.setdefault("resultType", "complete")
    return message


class _FaultBarrier(httpx2.AsyncClient):
    """An HTTP client whose faults are answers.

    In the SDK, an exception of one request cancels the task that owns the connection, and with it all other requests.
    Here each exception becomes an error answer to its own request, marked with what became of that request.
    """

    def __init__(self, endpoint: HttpEndpoint, link: Link) -> None:
        super().__init__(
            headers=dict(endpoint.headers),
            verify=_trusted_roots(),
            timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT_S),  # calls have a deadline, streams none
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        )
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
            return _error_answer(
                request, _describe(error), fault="unsent" if isinstance(error, _NEVER_SENT) else "lost"
            )
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return response  # read by the SDK, which keeps faults of such a stream with their request
        return await self._read(request, response)

    async def _read(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """Read the whole answer, so that its faults are found here, and describe errors."""
        try:
            body = await response.aread()
        except httpx2.RequestError as error:
            self._link.mark_suspect()
            return _error_answer(request, _describe(error), fault="lost")
        if response.is_redirect or not response.is_error:
            return response
        if _is_session_gone(request, response, body):
            self._link.mark_suspect()
            return _error_answer(request, "the server no longer knows the session", fault="unsent")
        if response.headers.get("content-type", "").startswith("application/json") and b"jsonrpc" in body:
            return response
        is_lost = response.status_code in _GATEWAY_STATUS
        said = f"HTTP {response.status_code} {response.reason_phrase}"
        return _error_answer(request, said, fault="lost" if is_lost else "refused")

    async def _end_session(self, request: httpx2.Request) -> httpx2.Response:
        """End the session on the server, without waiting long for one that ignores this or is gone."""
        with suppress(httpx2.RequestError, TimeoutError):
            async with asyncio.timeout(_SESSION_END_TIMEOUT_S):
                await super().send(request)
        return httpx2.Response(204, request=request)


@functools.cache  # loading takes a tenth of a second, too long for each try to reach a server that is down
def _trusted_roots() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _is_session_gone(request: httpx2.Request, response: httpx2.Response, body: bytes) -> bool:
    """Return whether the server forgot our session, so that it ran nothing (it restarted, or the session expired)."""
    if "mcp-session-id" not in request.headers:
        return False
    # The specification says 404; servers that say 400 name the session in their text.
    return response.status_code == 404 or (response.status_code == 400 and b"session" in body.lower())


def _error_answer(request: httpx2.Request, message: str, *, fault: Fault) -> httpx2.Response:
    code = INTERNAL_ERROR if fault == "refused" else CONNECTION_CLOSED
    error = {"code": code, "message": message, "data": {_MARK: fault}}
    return httpx2.Response(503, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)


def _describe(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return f"no connection ({error})" if str(error) else "no connection"
        case _:
            return f"the connection broke ({type(error).__name__})"
