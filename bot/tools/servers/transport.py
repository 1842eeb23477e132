"""The transport to one tool server: a child process, streamable HTTP, or the legacy HTTP with server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp.client.streamable_http import streamable_http_client

from bot.tools.config import Endpoint, StdioEndpoint
from bot.tools.servers.legacy_sse import open_legacy_sse
from bot.tools.servers.link import Link
from bot.tools.servers.process import open_process
from bot.tools.servers.streams import Answers, Requests, Streams
from bot.tools.servers.web import FaultBarrier
from bot.tools.servers.weighing import MAX_MESSAGE_BYTES

_MAX_EVENT_BYTES = 2 * MAX_MESSAGE_BYTES  # of the SDK, whose own limit is 1 MiB; larger ones never reach it


@asynccontextmanager
async def open_transport(endpoint: Endpoint, link: Link, *, is_legacy_sse: bool) -> AsyncGenerator[Streams]:
    """Start or reach the server; faults are reported to `link`.

    Raises:
        OSError: Its command cannot be started.
        MCPError: It has no legacy stream.
    """
    if isinstance(endpoint, StdioEndpoint):
        async with open_process(endpoint, link) as streams:
            yield _watched(streams, link, reports_end=True)
    elif is_legacy_sse:
        async with open_legacy_sse(endpoint, link) as streams:
            yield _watched(streams, link, reports_end=True)
    else:
        async with (
            FaultBarrier(endpoint, link) as client,
            streamable_http_client(endpoint.url, http_client=client, max_sse_event_size=_MAX_EVENT_BYTES) as streams,
        ):
            yield _watched(streams, link, reports_end=False)


def _watched(streams: Streams, link: Link, *, reports_end: bool) -> Streams:
    read, write = streams
    return Answers(read, link, reports_end=reports_end), Requests(write, link)
