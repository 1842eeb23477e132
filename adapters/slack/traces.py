"""The trace of a turn: which tools ran, in one reply that is edited or in one reply per call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from adapters.shared import progress as shared
from adapters.shared.buckets import Priority
from adapters.shared.kept import KeptMessages
from adapters.slack.own_messages import OwnMessage, Place, Slack, trace_mark
from adapters.slack.render import call_blocks, trace_blocks
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import TraceLine

TraceLevel = Literal["summary", "full", "off"]
NEW_WAIT_S = 0.5  # after that, the answer goes before its trace
WAIT_S = 3.0  # after that, the trace is shown in its next state
LAST_WAIT_S = 60.0  # for the last state, which nothing follows
Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


class TraceWriter(shared.TraceWriter, Protocol):
    """Shows the tool calls of one turn in its thread."""

    def adopt(self, own: Sequence[OwnMessage]) -> None:
        """Adopt what the thread shows of an earlier attempt."""
        ...

    async def adopt_kept(self) -> None:
        """Adopt what was kept of an earlier attempt, whether the thread shows it or not. Raises AdapterError."""
        ...


def open_trace(
    level: TraceLevel,
    *,
    slack: Slack,
    place: Place,
    turn_id: int,
    search: Search,
    kept: KeptMessages,
    is_at_rest: Callable[[], bool],
) -> TraceWriter:
    """Return the writer for a level of detail; once `is_at_rest`, nothing waits for the trace."""
    if level == "off":
        return _NoTrace()
    thread = _Thread(slack=slack, place=place, turn_id=turn_id, search=search, kept=kept, is_at_rest=is_at_rest)
    return _Summary(thread) if level == "summary" else _EachCall(thread)


class _NoTrace:
    is_begun = True

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        return True

    def adopt(self, own: Sequence[OwnMessage]) -> None:
        pass

    async def adopt_kept(self) -> None:
        pass

    async def write(self, lines: Sequence[TraceLine]) -> None:
        pass

    async def forget(self) -> None:
        pass


@dataclass(slots=True, kw_only=True)
class _Thread:
    """The trace's messages in the thread, by number: 0 for the summary, the calls from 1 on."""

    slack: Slack
    place: Place
    turn_id: int
    search: Search
    kept: KeptMessages
    is_at_rest: Callable[[], bool]
    messages: dict[int, str] = field(default_factory=dict[int, str])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_unsure: bool = False

    def adopt(self, own: Sequence[OwnMessage]) -> None:
        for message in own:
            if message.kind == "trace" and message.turn == self.turn_id:
                self.messages.setdefault(message.number, message.ts)

    async def adopt_kept(self) -> None:
        for number, ts in (await self.kept.read()).items():
            self.messages.setdefault(number, ts)

    async def place_message(self, number: int, blocks: list[dict[str, Any]], text: str) -> None:
        if self._is_unsure:
            self.adopt(await self.search())  # where that fails, no trace is shown: better than two
            self._is_unsure = False
        ts = self.messages.get(number)
        wait_s = WAIT_S if ts is not None else NEW_WAIT_S
        details: dict[str, Any] = {
            "blocks": blocks,
            "text": text,
            "metadata": trace_mark(self.turn_id, number),
            "priority": Priority.PROGRESS,
            "wait_s": LAST_WAIT_S if self.is_at_rest() else wait_s,
        }
        call = self.slack.call
        if ts is not None:
            await call(
                "chat.update", team=self.place.team, may_repeat=True, channel=self.place.channel, ts=ts, **details
            )
            return
        try:
            answer = await call(
                "chat.postMessage",
                team=self.place.team,
                limit_key=self.place.channel,
                channel=self.place.channel,
                thread_ts=self.place.thread,
                unfurl_links=False,
                unfurl_media=False,
                **details,
            )
        except RateLimitError:
            raise
        except AdapterError as error:
            self._is_unsure = not error.is_permanent
            raise
        self.messages[number] = str(answer["ts"])
        await self.kept.keep(number, self.messages[number])


class _Summary:
    def __init__(self, thread: _Thread) -> None:
        self._thread = thread
        self._shown: tuple[TraceLine, ...] = ()
        self.adopt, self.adopt_kept, self.forget = thread.adopt, thread.adopt_kept, thread.kept.forget

    @property
    def is_begun(self) -> bool:
        return bool(self._thread.messages)

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        return tuple(lines) == self._shown

    async def write(self, lines: Sequence[TraceLine]) -> None:
        async with self._thread.lock:
            if self.is_up_to_date(lines):
                return
            blocks, text = trace_blocks(lines, turn_id=self._thread.turn_id)
            await self._thread.place_message(0, blocks, text)
            self._shown = tuple(lines)


class _EachCall:
    def __init__(self, thread: _Thread) -> None:
        self._thread = thread
        self._shown: dict[int, TraceLine] = {}
        self.adopt, self.adopt_kept, self.forget = thread.adopt, thread.adopt_kept, thread.kept.forget

    @property
    def is_begun(self) -> bool:
        return bool(self._thread.messages)

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        return all(self._shown.get(number) == line for number, line in enumerate(lines, start=1))

    async def write(self, lines: Sequence[TraceLine]) -> None:
        async with self._thread.lock:
            for number, line in enumerate(lines, start=1):
                if self._shown.get(number) != line:
                    blocks, text = call_blocks(line, turn_id=self._thread.turn_id, number=number)
                    await self._thread.place_message(number, blocks, text)
                    self._shown[number] = line
