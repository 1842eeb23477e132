"""What is known of one connection to a tool server besides its messages."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TextIO

import structlog
from mcp.types import RequestId

from bot.text.redaction import redact
from bot.tools.config import HIDDEN, Endpoint
from bot.tools.servers.live import CallsOnLink

log = structlog.get_logger(__name__)

STDERR_LINES = 20  # that are kept of a server's standard error
_MAX_LINE_CHARS = 500
_LOGGED_A_SECOND = 100  # lines: a server that writes without an end would keep a processor busy
_STDERR_WAIT_S = 5.0  # far more than it takes to read what a pipe holds, also on a busy machine


class Link:
    """What is known of one connection besides its messages."""

    def __init__(self, endpoint: Endpoint, *, server: str, on_suspect: Callable[[], None]) -> None:
        self._secrets = endpoint.secrets
        self._log = log.bind(server=server)
        self._on_suspect = on_suspect
        self._stderr = deque[str](maxlen=STDERR_LINES)  # as it was written: secrets are hidden when it is shown
        self._stderr_file: TextIO | None = None
        self._stderr_mark = uuid.uuid4().hex  # a line of ours: what was written before it is read when it is
        self._has_read_stderr = asyncio.Event()
        self._has_read_stderr.set()
        self.has_ended = False
        self.waiting: dict[RequestId, str] = {}  # requests without an answer yet, with their methods
        self.calls = CallsOnLink(server=server)
        self.left_out: dict[str, str] = {}  # tools of the list that is being read, with the reason

    @property
    def stderr_lines(self) -> tuple[str, ...]:
        """The last lines that the process wrote to its standard error, without secrets."""
        lines = tuple(self._stderr)  # in one step: the thread that reads may add to it meanwhile
        return tuple(filter(None, map(self.hide_secrets, lines)))

    def mark_suspect(self) -> None:
        """Report that the connection may be broken."""
        self._on_suspect()

    def mark_ended(self) -> None:
        """Report that nothing more can arrive."""
        self.has_ended = True
        self._on_suspect()

    def leave_out(self, tool: str, reason: str) -> None:
        """Remember that a tool of the list cannot be offered, and why."""
        self.left_out[tool] = reason

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
        drain = (read_end, asyncio.get_running_loop())
        threading.Thread(target=self._drain, args=drain, name="tool-server-stderr", daemon=True).start()
        with os.fdopen(write_end, "w", encoding="utf-8") as file:
            self._stderr_file = file
            try:
                yield file
            finally:
                self._mark_stderr()
                self._stderr_file = None

    async def read_stderr(self) -> None:
        """Wait, for some seconds at most, until all that the process has written so far is read.

        The end of the pipe would be no sign of that: a process that it started may hold it open for ever.
        """
        self._mark_stderr()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_WAIT_S):
                await self._has_read_stderr.wait()

    def _mark_stderr(self) -> None:
        if self._stderr_file is not None:
            self._has_read_stderr.clear()
            with suppress(OSError):
                os.write(self._stderr_file.fileno(), f"\n{self._stderr_mark}\n".encode())

    def _drain(self, read_end: int, loop: asyncio.AbstractEventLoop) -> None:
        with os.fdopen(read_end, encoding="utf-8", errors="replace") as lines:
            second, logged = 0, 0
            while line := lines.readline(_MAX_LINE_CHARS):
                text = line.strip()
                if text == self._stderr_mark:
                    with suppress(RuntimeError):  # the loop may be closed by now
                        loop.call_soon_threadsafe(self._has_read_stderr.set)
                elif text:
                    self._stderr.append(text)
                    second, logged = (now, 0) if (now := int(time.monotonic())) != second else (second, logged + 1)
                    if logged < _LOGGED_A_SECOND:
                        self._log.debug("tool_server_stderr", line=self.hide_secrets(text))
