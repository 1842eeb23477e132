"""The trace of a turn: which tools ran, in a thread on the question, or as a reply where no thread is possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import structlog
from cachetools import TTLCache

from adapters.discord.api import DiscordApi
from adapters.discord.errors import CLOSED, THREAD_EXISTS, TITLE_BLOCKED, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import OwnMessage, Place, edit_message, send_message
from adapters.discord.parse import DIRECT
from adapters.discord.render import Shown, call_message, thread_name, trace_message
from adapters.shared.kept import KeptMessages
from adapters.shared.shares import as_progress
from adapters.shared.tasks import RecentKeys
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import TraceLine

log = structlog.stdlib.get_logger(__name__)

TraceLevel = Literal["summary", "full", "off"]
ARCHIVE_MINUTES = 60
THREADLESS_S = 600.0
MAX_CHANNELS = 5_000
# Returns what the bot wrote in a channel since the question.
Search = Callable[[str], Awaitable[Sequence[OwnMessage]]]


class Threadless:
    """Channels in which no thread can be opened for now; logs each once."""

    def __init__(self) -> None:
        self._channels = TTLCache[str, bool](MAX_CHANNELS, ttl=THREADLESS_S)
        self._logged: RecentKeys[str] = RecentKeys(MAX_CHANNELS)

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def add(self, channel: str, error: DiscordRefusedError) -> None:
        """Do without threads there for a while: a permission may be granted, and other threads may be archived."""
        self.log(channel, error)
        self._channels[channel] = True

    def log(self, channel: str, error: DiscordRefusedError) -> None:
        """Log, once, that traces are in the channel instead of a thread."""
        if self._logged.add(channel):
            log.warning("trace_without_thread", channel=channel, code=error.code)


class _Placed(NamedTuple):
    channel: str
    message: str


class _Content(NamedTuple):
    """What one message of the trace shows."""

    lines: tuple[TraceLine, ...]
    waits_for: str = ""


@dataclass(slots=True, kw_only=True)
class Trace:
    """Satisfies `adapters.shared.progress.TraceWriter`: one message for the turn (0), or one for each call (from 1)."""

    level: TraceLevel
    api: DiscordApi
    place: Place
    turn_id: int
    question: str
    title: str
    threadless: Threadless
    search: Search
    kept: KeptMessages  # each as its channel and its id, with a slash between
    waits_for: Callable[[], str]  # what the turn waits for, in words; "" where it does not wait
    _messages: dict[int, _Placed] = field(default_factory=dict[int, _Placed], init=False)
    _shown: dict[int, _Content] = field(default_factory=dict[int, "_Content"], init=False)
    _channel: str = field(default="", init=False)  # where the trace is, once that is known
    _may_have_posted: bool = field(default=False, init=False)  # a message that is not known
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def is_begun(self) -> bool:
        """Whether part of it is visible."""
        return self.level == "off" or bool(self._messages)

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        """Return whether exactly this is shown."""
        return all(self._shown.get(number) == shown for number, shown in self._wanted(lines).items())

    async def adopt_kept(self) -> None:
        """Take over what was kept of an earlier attempt, whether Discord shows it or not. Raises AdapterError."""
        for number, reference in (await self.kept.read()).items():
            self._messages[number] = _Placed(*reference.split("/"))
            self._channel = self._messages[number].channel

    async def adopt(self) -> None:
        """Take over what an earlier attempt posted of the turn. Raises AdapterError."""
        for channel in dict.fromkeys([self.question, self.place.channel]):
            try:
                own_messages = await self.search(channel)
            except DiscordRefusedError:
                continue  # no such thread
            for message in own_messages:
                if message.has("details", turn=self.turn_id):
                    self._channel = channel
                    number = message.number_of(self.turn_id) or 0
                    self._messages.setdefault(number, _Placed(channel, message.id))

    async def forget(self) -> None:
        """Drop what was kept for the next process: the trace has come to its end. Never fails."""
        await self.kept.forget()

    async def write(self, lines: Sequence[TraceLine]) -> None:
        """Show the calls as they are now. Raises AdapterError."""
        async with self._lock:
            with as_progress():
                await self._write(lines)

    async def _write(self, lines: Sequence[TraceLine]) -> None:
        for number, wanted in self._wanted(lines).items():
            if self._shown.get(number) != wanted:
                await self._show(number, wanted)

    def _wanted(self, lines: Sequence[TraceLine]) -> dict[int, _Content]:
        reason = self.waits_for()
        match self.level:
            case "off":
                return {}
            case "summary":
                return {0: _Content(tuple(lines), reason)} if lines else {}
            case "full":
                return {
                    number: _Content((line,), reason if line.state == "waiting" else "")
                    for number, line in enumerate(lines, start=1)
                }

    def _rendered(self, number: int, content: _Content) -> Shown:
        if number:
            (line,) = content.lines
            return call_message(line, turn_id=self.turn_id, number=number, waits_for=content.waits_for)
        return trace_message(content.lines, turn_id=self.turn_id, waits_for=content.waits_for)

    async def _show(self, number: int, content: _Content) -> None:
        whole = self._rendered(number, content)
        names_only = trace_message(content.lines, turn_id=self.turn_id).text
        for text in dict.fromkeys([whole.text, names_only]):
            try:
                await self._place_message(number, replace(whole, text=text))
                break
            except DiscordRefusedError as error:
                if not error.is_about_words:
                    raise
                log.warning("trace_refused", number=number, error=str(error))  # the same words are not sent again
        self._shown[number] = content

    async def _place_message(self, number: int, shown: Shown) -> None:
        if self._may_have_posted:
            await self.adopt()
            self._may_have_posted = False
        placed = self._messages.get(number)
        if placed is not None and await self._edit(placed, shown):
            return
        channel = self._channel or await self._open_thread()
        try:
            await self._post(number, shown, channel)
        except DiscordRefusedError as error:
            if channel == self.place.channel or error.is_about_words:
                raise
            self.threadless.add(self.place.channel, error)
            await self._post(number, shown, self.place.channel)

    async def _edit(self, placed: _Placed, shown: Shown) -> bool:
        """Bring a message up to date; return False if its thread is closed or gone: the trace goes on outside it."""
        try:
            await edit_message(self.api, placed.channel, placed.message, text=shown.text, rows=shown.rows)
        except DiscordRefusedError as error:
            if error.code == UNKNOWN_MESSAGE:
                return True  # someone deleted it on purpose
            if error.code not in CLOSED or placed.channel == self.place.channel:
                raise
            self.threadless.log(self.place.channel, error)
            self._channel = self.place.channel
            return False
        return True

    async def _post(self, number: int, shown: Shown, channel: str) -> None:
        is_outside = channel == self.place.channel
        # Not the same key as in the thread: Discord would return the message there.
        key = f"{self.question or self.turn_id}.{'r' if is_outside else 't'}{number}"
        reply_to = self.question if is_outside else ""
        try:
            message = await send_message(
                self.api, channel, text=shown.text, rows=shown.rows, reply_to=reply_to, key=key
            )
        except (RateLimitError, DiscordRefusedError):
            raise
        except AdapterError:
            self._may_have_posted = True
            raise
        self._channel = channel
        self._messages[number] = _Placed(channel, message)
        await self.kept.keep(number, f"{channel}/{message}")

    async def _open_thread(self) -> str:
        """Return the channel to write to: a thread on the question, or the channel of the question."""
        place = self.place
        if place.is_thread or place.space == DIRECT or not self.question or place.channel in self.threadless:
            return place.channel
        try:
            await self._begin_thread(self.title)
        except DiscordRefusedError as error:
            if error.code == THREAD_EXISTS:
                return self.question  # a thread has the id of the message that it was opened on
            if error.code != UNKNOWN_MESSAGE:
                self.threadless.add(place.channel, error)
            return place.channel
        return self.question

    async def _begin_thread(self, name: str) -> None:
        try:
            await self.api.call(
                "POST",
                "/channels/{channel_id}/messages/{message_id}/threads",
                json={"name": name, "auto_archive_duration": ARCHIVE_MINUTES},
                is_repeatable=False,
                channel_id=self.place.channel,
                message_id=self.question,
            )
        except DiscordRefusedError as error:
            if error.code != TITLE_BLOCKED or name == thread_name(""):
                raise
            await self._begin_thread(thread_name(""))
