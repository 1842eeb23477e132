"""The messages between the SDK and a transport: what a server answers is mended on its way."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, cast

import structlog
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from bot.text.apart import apart
from bot.tools.servers.faults import NOT_VALID
from bot.tools.servers.link import Link
from bot.tools.servers.mending import mend_result
from bot.tools.servers.reading import error_to, only_waiting

log = structlog.get_logger(__name__)

Incoming = SessionMessage | Exception
_MAX_ERROR_CHARS = 4_000
_ENTRY = 100  # so much work is one entry of a list, compared to one character


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


class Answers:
    """The messages from a server, mended. Their end is reported at once where `reports_end`."""

    def __init__(self, stream: ReadStream, link: Link, *, reports_end: bool) -> None:
        self._stream = stream
        self._link = link
        self._reports_end = reports_end

    async def receive(self) -> Incoming:
        return await self._mended(await self._stream.receive())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Incoming:
        try:
            return await self._mended(await self._stream.__anext__())
        except StopAsyncIteration:
            if self._reports_end:
                self._link.mark_ended()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)

    async def _mended(self, incoming: Incoming) -> Incoming:
        message = incoming.message if isinstance(incoming, SessionMessage) else None
        if isinstance(message, JSONRPCError) and message.id is None:  # a request that was not understood
            message.id = only_waiting(self._link.waiting)
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            return incoming
        method = self._link.waiting.pop(coerce_request_id(message.id), "")
        if not isinstance(message, JSONRPCResponse):
            message.error.message = message.error.message[:_MAX_ERROR_CHARS]
            return incoming
        mend = functools.partial(mend_result, method, message.result, report=self._link.leave_out)
        try:
            message.result = await apart(mend, size=_size(message.result))
        except Exception:  # an odd answer must not end the connection
            log.exception("tool_server_answer_not_mended", method=method)
            return SessionMessage(error_to(message.id, NOT_VALID))
        return incoming


def _size(result: Mapping[str, Any]) -> int:
    lists = (cast("list[object]", value) for value in result.values() if isinstance(value, list))
    return max(map(len, lists), default=0) * _ENTRY


class Requests:
    """The messages to a server; it is kept in mind which of them wait for an answer."""

    def __init__(self, stream: WriteStream, link: Link) -> None:
        self._stream = stream
        self._link = link

    async def send(self, item: SessionMessage, /) -> None:
        self._note(item)
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)

    def _note(self, item: SessionMessage) -> None:
        match item.message:
            case JSONRPCRequest(id=request, method=method, params=params):
                if method == "initialize":  # the question after its era, which came before, may stay unanswered
                    self._link.waiting.clear()
                self._link.waiting[coerce_request_id(request)] = method
                self._link.calls.sent(coerce_request_id(request))
                if method == "tools/list" and "cursor" not in (params or {}):
                    self._link.left_out = {}
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": str() | int() as request}):
                self._link.waiting.pop(coerce_request_id(request), None)
            case _:
                pass
