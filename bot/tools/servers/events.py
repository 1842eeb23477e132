"""Server-sent events whose data is mended on the way: one unreadable message does not end a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2

from bot.text.apart import PIECE
from bot.tools.servers.lines import LineSplitter, LongLine
from bot.tools.servers.reading import Waiting, is_message, unreadable
from bot.tools.servers.storms import NoticeGate
from bot.tools.servers.weighing import LIGHT_BYTES, MAX_MESSAGE_BYTES, TOO_LARGE, is_heavy, read_weighed, with_turns


class MendedEvents(httpx2.AsyncByteStream):
    """The events of a response, each with one message that can be read."""

    def __init__(
        self,
        response: httpx2.Response,
        waiting: Callable[[], Waiting],
        *,
        on_question: Callable[[bytes], None] | None = None,
    ) -> None:
        self._response = response
        self._waiting = waiting
        self._on_question = on_question
        self._gate = NoticeGate()
        self._splitter = LineSplitter(MAX_MESSAGE_BYTES)
        self._lines: list[bytes | LongLine] = []
        self._size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in with_turns(self._response.aiter_bytes()):
            for line in self._splitter.feed(piece):
                async for event in self._take(line.rstrip(b"\r") if isinstance(line, bytes) else line):
                    yield event
        for line in (self._splitter.flush(), b""):
            async for event in self._take(line):
                yield event

    async def aclose(self) -> None:
        await self._response.aclose()

    async def _take(self, line: bytes | LongLine) -> AsyncIterator[bytes]:
        """Yield the event that an empty line ends, a long one in pieces: who reads them makes several passes."""
        if line == b"":
            lines, self._lines, self._size = self._lines, [], 0
            if lines:
                async for event in self._mended(lines):
                    for start in range(0, len(event), PIECE):
                        yield event[start : start + PIECE]
                        if len(event) > LIGHT_BYTES:
                            await asyncio.sleep(0)
            return
        self._size += len(line) if isinstance(line, bytes) else 0
        if self._size > MAX_MESSAGE_BYTES:  # of many lines
            first = next((each for each in self._lines if isinstance(each, bytes)), b"")
            self._lines = list[bytes | LongLine]([LongLine(head=first[:300], tail=b"")])
            self._size = 0
        self._lines.append(line)

    async def _mended(self, lines: list[bytes | LongLine]) -> AsyncIterator[bytes]:
        whole = [line for line in lines if isinstance(line, bytes)]
        fields = [line for line in whole if not line.startswith(b"data:")]
        if (long := next((line for line in lines if isinstance(line, LongLine)), None)) is not None:
            head = long.head.removeprefix(b"data:").lstrip()
            messages = unreadable(head, long.tail, waiting=self._waiting(), why=TOO_LARGE)
        else:
            data = b"\n".join(line[5:].removeprefix(b" ") for line in whole if line.startswith(b"data:"))
            if not self._gate.admits(data):
                return
            is_light = not await is_heavy(data)
            if is_light and self._on_question is not None and b"elicitation" in data:
                self._on_question(data)
            if not data or data.isspace() or not _carries_message(fields) or (is_light and is_message(data)):
                yield b"\n".join(whole) + b"\n\n"
                return
            messages = await read_weighed(data, waiting=self._waiting())
        for message in messages:
            json = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            yield b"\n".join([*fields, b"data: " + json]) + b"\n\n"


def _carries_message(fields: list[bytes]) -> bool:
    kinds = [field[6:].strip() for field in fields if field.startswith(b"event:")]
    return kinds[-1:] in ([], [b"message"], [b""])
