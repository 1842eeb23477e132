"""A tool server as a child process: one JSON-RPC message per line of its standard input and output.

The SDK has such a transport too. This one answers a call whose reply cannot be read, reads a large line in linear
time, and bounds it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TextIO

import anyio
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.os.win32.utilities import (
    FallbackProcess,
    close_process_job,
    create_windows_process,
    get_windows_executable_command,
    terminate_windows_process_tree,
)
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

from bot.tools.config import StdioEndpoint
from bot.tools.servers.lines import LineSplitter, LongLine
from bot.tools.servers.link import Link
from bot.tools.servers.reading import unreadable
from bot.tools.servers.storms import NoticeGate
from bot.tools.servers.streams import Incoming, Streams
from bot.tools.servers.weighing import MAX_MESSAGE_BYTES, TOO_LARGE, read_weighed

# https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#shutdown: close its input, wait, then kill
_FLUSH_S = 0.5
_EXIT_S = 2.0
_POLL_S = 0.01

_Process = Process | FallbackProcess


@asynccontextmanager
async def open_process(endpoint: StdioEndpoint, link: Link) -> AsyncGenerator[Streams]:
    """Start the server's process; at the end it is stopped with all that it started. Raises OSError."""
    with link.stderr() as errlog:
        process = await _spawn(endpoint, errlog)
        try:
            async with _pumped(process, link) as streams:
                yield streams
        finally:
            _close_transport(process)


@asynccontextmanager
async def _pumped(process: _Process, link: Link) -> AsyncGenerator[Streams]:
    to_sdk, incoming = anyio.create_memory_object_stream[Incoming](0)
    outgoing, from_sdk = anyio.create_memory_object_stream[SessionMessage](0)
    has_written = anyio.Event()
    async with anyio.create_task_group() as pumps:
        pumps.start_soon(_read, process, to_sdk, link)
        pumps.start_soon(_write, process, from_sdk, to_sdk, has_written)
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                incoming.close()
                outgoing.close()
                with anyio.move_on_after(_FLUSH_S):
                    await has_written.wait()
                await _stop(process)
                for stream in (to_sdk, from_sdk):
                    stream.close()
            pumps.cancel_scope.cancel()


def _close_transport(process: _Process) -> None:
    """Close what is left, also where a second cancellation cut the stop short: anyio's shield does not stop asyncio's.

    Otherwise the garbage collector would close it after the end of the loop. No public part of anyio or asyncio closes
    the transport of a process.
    """
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if isinstance(transport, asyncio.SubprocessTransport):
        transport.close()


async def _spawn(endpoint: StdioEndpoint, errlog: TextIO) -> _Process:
    env = get_default_environment() | dict(endpoint.env)
    if sys.platform == "win32":
        command = await anyio.to_thread.run_sync(get_windows_executable_command, endpoint.program)
        return await create_windows_process(command, list(endpoint.args), env, errlog, endpoint.cwd)
    command = [endpoint.program, *endpoint.args]
    return await anyio.open_process(command, env=env, stderr=errlog, cwd=endpoint.cwd, start_new_session=True)


async def _read(process: _Process, to_sdk: MemoryObjectSendStream[Incoming], link: Link) -> None:
    assert process.stdout is not None
    splitter, gate = LineSplitter(MAX_MESSAGE_BYTES), NoticeGate()
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        async with to_sdk:
            while True:
                for line in splitter.feed(await process.stdout.receive()):
                    for message in await _messages(line, link, gate):
                        await to_sdk.send(SessionMessage(message))
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while True:  # unread output would keep the server from ending
            await process.stdout.receive()


async def _messages(line: bytes | LongLine, link: Link, gate: NoticeGate) -> list[JSONRPCMessage]:
    if isinstance(line, LongLine):
        return unreadable(line.head, line.tail, waiting=link.waiting, why=TOO_LARGE)
    if not line or line.isspace() or not gate.admits(line):
        return []
    return await read_weighed(line, waiting=link.waiting)


async def _write(
    process: _Process,
    from_sdk: MemoryObjectReceiveStream[SessionMessage],
    to_sdk: MemoryObjectSendStream[Incoming],
    has_written: anyio.Event,
) -> None:
    assert process.stdin is not None
    try:
        async with from_sdk:
            async for item in from_sdk:
                line = item.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"
                await process.stdin.send(line.encode())
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        to_sdk.close()  # requests end now, instead of waiting for a server that hears nothing
    finally:
        has_written.set()


async def _stop(process: _Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    if not await _has_exited(process):
        await _kill_tree(process)
        await _has_exited(process)
    close_process_job(process)
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdout.aclose()
    with anyio.move_on_after(_FLUSH_S):  # until its transport is closed; not for what inherited its output
        await process.wait()


async def _kill_tree(process: _Process) -> None:
    if sys.platform == "win32":
        await terminate_windows_process_tree(process)
    elif isinstance(process, Process):
        await terminate_posix_process_tree(process, _EXIT_S)


async def _has_exited(process: _Process) -> bool:
    """Wait a moment for the process's end; not by `wait`, which waits for all that inherited its output as well."""
    with anyio.move_on_after(_EXIT_S):
        while process.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(_POLL_S)
    return process.returncode is not None
