"""The trace of a turn: which tools ran, in a thread on the question, or as a reply where there can be none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import structlog

from adapters.discord.api import Rest
from adapters.discord.errors import (
    ARCHIVED_THREAD,
    LOCKED_THREAD,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    THREAD_EXISTS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    DiscordRefusedError,
)
from adapters.discord.own_messages import OwnMessage, Place, edit_message, send_message
from adapters.discord.parse import DIRECT
from adapters.discord.render import Shown, call_message, thread_name, trace_message
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import TraceLine

log = structlog.stdlib.get_logger(__name__)

TraceLevel = Literal["summary", "full", "off"]
ARCHIVE_MINUTES = 60
THREADLESS_S = 600.0
_CLOSED = frozenset({ARCHIVED_THREAD, LOCKED_THREAD, UNKNOWN_CHANNEL, MISSING_ACCESS, MISSING_PERMISSIONS})
# Sees what the bot wrote in a channel since the question.
Search = Callable[[str], Awaitable[Sequence[OwnMessage]]]


class Threadless:
    """Channels in which no thread can be begun for now: said once for each in the log."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # in seconds of time.monotonic()

    def __contains__(self, channel: str) -> bool:
        return time.monotonic() < self._until.get(channel, 0.0)

    def add(self, channel: str, error: DiscordRefusedError) -> None:
        """Do without threads there for a while: a permission may be given, and other threads may end."""
        self.tell(channel, error)
        self._until[channel] = time.monotonic() + THREADLESS_S

    def tell(self, channel: str, error: DiscordRefusedError) -> None:
        """Say once that a trace stands in the channel instead of a thread."""
        if channel not in self._until:
            log.warning("trace_without_thread", channel=channel, code=error.code)
        self._until.setdefault(channel, 0.0)


def open_trace(
    level: TraceLevel,
    *,
    rest: Rest,
    place: Place,
    turn_id: int,
    question: str,
    question_text: str,
    threadless: Threadless,
    search: Search,
) -> Trace:
    """Return the writer for a level of detail."""
    return Trace(
        level=level,
        rest=rest,
        place=place,
        turn_id=turn_id,
        question=question,
        title=thread_name(question_text),
        threadless=threadless,
        search=search,
    )


class _Placed(NamedTuple):
    channel: str
    message: str


@dataclass(slots=True, kw_only=True)
class Trace:
    """A `TraceWriter`: one message for the turn (0), or one for each call (from 1 on)."""

    level: TraceLevel
    rest: Rest
    place: Place
    turn_id: int
    question: str
    title: str
    threadless: Threadless
    search: Search
    _messages: dict[int, _Placed] = field(default_factory=dict[int, _Placed], init=False)
    _shown: dict[int, tuple[TraceLine, ...]] = field(default_factory=dict[int, tuple[TraceLine, ...]], init=False)
    _channel: str = field(default="", init=False)  # where the trace is, once that is known
    _is_unsure: bool = field(default=False, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def is_begun(self) -> bool:
        """Whether a part of it can be seen."""
        return self.level == "off" or bool(self._messages)

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        """Tell whether just this is shown."""
        return all(self._shown.get(number) == shown for number, shown in self._wanted(lines).items())

    async def find_before(self) -> None:
        """Take over what a process before this one has posted. Raises AdapterError."""
        for channel in dict.fromkeys([self.question, self.place.channel]):
            try:
                own = await self.search(channel)
            except DiscordRefusedError:
                continue  # there is no such thread
            for message in own:
                if message.has("details", turn=self.turn_id):
                    self._channel = channel
                    number = message.number_of(self.turn_id) or 0
                    self._messages.setdefault(number, _Placed(channel, message.id))

    async def write(self, lines: Sequence[TraceLine]) -> None:
        """Show the calls as they are now. Raises AdapterError."""
        async with self._lock:
            for number, wanted in self._wanted(lines).items():
                if self._shown.get(number) != wanted:
                    shown = (
                        call_message(wanted[0], turn_id=self.turn_id, number=number)
                        if number
                        else trace_message(wanted, turn_id=self.turn_id)
                    )
                    await self._place_message(number, shown)
                    self._shown[number] = wanted

    def _wanted(self, lines: Sequence[TraceLine]) -> dict[int, tuple[TraceLine, ...]]:
        match self.level:
            case "off":
                return {}
            case "summary":
                return {0: tuple(lines)} if lines else {}
            case "full":
                return {number: (line,) for number, line in enumerate(lines, start=1)}

    async def _place_message(self, number: int, shown: Shown) -> None:
        if self._is_unsure:
            await self.find_before()
            self._is_unsure = False
        placed = self._messages.get(number)
        if placed is not None and await self._edit(placed, shown):
            return
        channel = self._channel or await self._open_thread()
        try:
            await self._post(number, shown, channel)
        except DiscordRefusedError as error:
            if channel == self.place.channel:
                raise
            self.threadless.add(self.place.channel, error)
            await self._post(number, shown, self.place.channel)

    async def _edit(self, placed: _Placed, shown: Shown) -> bool:
        """Bring a message up to date; False: its thread is closed or gone, and the trace goes on outside of it."""
        try:
            await edit_message(self.rest, placed.channel, placed.message, text=shown.text, rows=shown.rows)
        except DiscordRefusedError as error:
            if error.code == UNKNOWN_MESSAGE:
                return True  # somebody did not want to see it
            if error.code not in _CLOSED or placed.channel == self.place.channel:
                raise
            self.threadless.tell(self.place.channel, error)
            self._channel = self.place.channel
            return False
        return True

    async def _post(self, number: int, shown: Shown, channel: str) -> None:
        is_outside = channel == self.place.channel
        # Another than in the thread: one that Discord knows gives the message there.
        nonce = f"{self.question or self.turn_id}.{'r' if is_outside else 't'}{number}"
        reply_to = self.question if is_outside else ""
        try:
            message = await send_message(
                self.rest, channel, text=shown.text, rows=shown.rows, reply_to=reply_to, nonce=nonce
            )
        except (RateLimitError, DiscordRefusedError):
            raise
        except AdapterError:
            self._is_unsure = True
            raise
        self._channel = channel
        self._messages[number] = _Placed(channel, message)

    async def _open_thread(self) -> str:
        """Return the channel to write to: a thread on the question, or where the question stands."""
        place = self.place
        if place.is_thread or place.space == DIRECT or not self.question or place.channel in self.threadless:
            return place.channel
        try:
            await self.rest.call(
                "POST",
                "/channels/{channel_id}/messages/{message_id}/threads",
                json={"name": self.title, "auto_archive_duration": ARCHIVE_MINUTES},
                channel_id=place.channel,
                message_id=self.question,
            )
        except DiscordRefusedError as error:
            if error.code == THREAD_EXISTS:
                return self.question  # a thread has the id of the message that it was begun on
            if error.code != UNKNOWN_MESSAGE:
                self.threadless.add(place.channel, error)
            return place.channel
        return self.question
