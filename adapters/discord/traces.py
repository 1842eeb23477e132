"""The trace of a turn: which tools ran, in a thread on the question, or as a reply where there can be none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from adapters.discord.answer import NOBODY, SUPPRESS_EMBEDS
from adapters.discord.errors import THREAD_EXISTS, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own import OwnMessage, Place
from adapters.discord.parse import DIRECT
from adapters.discord.render import Shown, call_message, thread_name, trace_message
from adapters.discord.rest import Rest
from bot.errors import AdapterError, RateLimitError
from bot.ports import TraceLine

log = structlog.stdlib.get_logger(__name__)

TraceLevel = Literal["summary", "full", "off"]
ARCHIVE_MINUTES = 60
# Sees what the bot wrote in a channel since the question.
Search = Callable[[str], Awaitable[Sequence[OwnMessage]]]


class Threadless:
    """Channels in which no thread can be begun: said once for each in the log."""

    def __init__(self) -> None:
        self._channels: set[str] = set()

    def __contains__(self, channel: object) -> bool:
        return channel in self._channels

    def add(self, channel: str, error: DiscordRefusedError) -> None:
        """Do without threads there from now on."""
        if channel not in self._channels:
            log.warning("trace_without_thread", channel=channel, code=error.code)
        self._channels.add(channel)


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


@dataclass(slots=True, kw_only=True)
class Trace:
    """Satisfies `bot.live.TraceWriter`: one message for the turn (0), or one for each call (from 1 on)."""

    level: TraceLevel
    rest: Rest
    place: Place
    turn_id: int
    question: str
    title: str
    threadless: Threadless
    search: Search
    _messages: dict[int, str] = field(default_factory=dict[int, str], init=False)
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
                    self._messages.setdefault(message.number_of(self.turn_id) or 0, message.id)

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
        body: dict[str, Any] = {
            "content": shown.text,
            "components": list(shown.rows),
            "allowed_mentions": NOBODY,
            "flags": SUPPRESS_EMBEDS,
        }
        if (message := self._messages.get(number)) is not None:
            await self.rest.call(
                "PATCH",
                "/channels/{channel_id}/messages/{message_id}",
                json=body,
                channel_id=self._channel,
                message_id=message,
            )
            return
        channel = self._channel or await self._open_thread()
        body |= {"nonce": f"trace{self.turn_id}.{number}", "enforce_nonce": True}
        if channel == self.place.channel and self.question:
            body["message_reference"] = {"message_id": self.question, "fail_if_not_exists": False}
        try:
            answer = await self.rest.call("POST", "/channels/{channel_id}/messages", json=body, channel_id=channel)
        except (RateLimitError, DiscordRefusedError):
            raise
        except AdapterError:
            self._is_unsure = True
            raise
        self._channel = channel
        self._messages[number] = str(answer["id"])

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
