"""The messages of one answer: they grow by edits while the model writes, until each gets its final form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.errors import ARCHIVED_THREAD, OLD_EDITS, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, OwnMessage, Place, edit_message, send_message
from adapters.discord.render import CONTENT_CHARS, Rows, feedback_row, part_message, split_answer, stop_row
from adapters.discord.snowflakes import created_at
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)

EDIT_GAP_S = 1.2  # Discord takes about five requests in five seconds for each channel
# Once messages are an hour old, Discord allows only a few more edits.
FRESH_S = 3_300.0
MAX_FILES = 10
MAX_FILE_BYTES = 10 * 1024 * 1024  # https://discord.com/developers/docs/reference#uploading-files
MAX_FILES_BYTES = 24 * 1024 * 1024  # of a request's 25 MiB

Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message of the answer; `shown` is None where its text is not known."""

    id: str
    shown: str | None = None
    is_whole: bool = False  # the growing answer does not change it any more
    is_locked: bool = False  # its thread is archived: it cannot be changed until someone writes there

    @property
    def is_old(self) -> bool:
        """Whether Discord allows only a few more edits, too few for a growing answer."""
        return time.time() - created_at(self.id) > FRESH_S


@dataclass(slots=True, kw_only=True)
class AnswerWriter:
    """Writes the answer of one turn, as a reply to `question`; `search` finds messages that may exist already."""

    api: DiscordApi
    place: Place
    turn_id: int
    question: str
    search: Search
    edit_gap_s: float = EDIT_GAP_S
    is_final: bool = False
    _messages: dict[int, _Message] = field(default_factory=dict[int, _Message], init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _may_have_posted: bool = field(default=False, init=False)  # a message that is not known
    _last_call_s: float = field(default=0.0, init=False)  # how long Discord took, its pauses included

    @property
    def gap_s(self) -> float:
        """How long to wait before more is shown, in seconds: longer while Discord is slow or asks for pauses."""
        return max(self.edit_gap_s, 2 * self._last_call_s)

    def has(self, part: int) -> bool:
        """Return whether the message of this part is known."""
        return part in self._messages

    def adopt(self, own_messages: Sequence[OwnMessage]) -> None:
        """Take over the messages that an earlier attempt posted of the turn; they stay as they are until `finish`."""
        self._take(own_messages, is_whole=True)

    def _take(self, own_messages: Sequence[OwnMessage], *, is_whole: bool) -> None:
        for message in own_messages:
            is_of_answer = any(message.has(kind, turn=self.turn_id) for kind in ("stop", "good"))
            number = message.number_of(self.turn_id)
            if is_of_answer and number is not None:
                self._messages.setdefault(number, _Message(id=message.id, is_whole=is_whole))

    # --- growing ---

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        async with self._lock:
            if self.is_final:
                return
            await self._find_unknown()
            parts = split_answer(text)
            for number, part in enumerate(parts):
                is_last = number == len(parts) - 1
                message = self._messages.get(number)
                if message is not None and (message.is_whole or message.is_old):
                    continue
                shown = part_message(part).text
                rows = [stop_row(self.turn_id, number)]
                if message is None:
                    key = f"{self.question or self.turn_id}.l{number}"
                    message = self._messages[number] = await self._post(shown, rows=rows, key=key, part=number)
                elif message.shown != shown:
                    await self._edit(message, shown, rows=rows)
                message.is_whole = not is_last

    # --- finishing ---

    async def finish(self, post: Post) -> str:
        """Show the post in its final form, with its files, and return its id. Repeating it changes nothing.

        Raises:
            RateLimitError: Discord asked for a pause.
            AdapterError: Discord refused, or the outcome is unknown.
        """
        self.is_final = True
        async with self._lock:
            await self._find_unknown()
            shown = part_message(post.text)
            rest_of_text = [shown.file] if shown.file else []
            text, files = _with_files(shown.text, [*rest_of_text, *post.attachments])
            try:
                message = await self._finish_message(post, text, files=files)
            except DiscordRefusedError:
                if not post.attachments:
                    raise
                text = _without_files(shown.text, len(post.attachments))
                message = await self._finish_message(post, text, files=rest_of_text)
            if post.is_last:
                await self._drop_after(post.part)
            return message.id

    async def abandon(self, note: str) -> None:
        """Bring what is shown of parts that were not finished to an end. Never raises AdapterError."""
        self.is_final = True

    async def _finish_message(self, post: Post, text: str, *, files: Sequence[Attachment]) -> _Message:
        """Show the post in its final form, by an edit of the message that has grown or by a new message."""
        rows = [feedback_row(self.turn_id, post.part)] if post.is_last else []
        message = before = self._messages.get(post.part)
        if message is None or not await self._edit_last(message, text, rows=rows, files=files):
            message = await self._post(text, rows=rows, key=post.key, part=post.part, files=files)
            self._messages[post.part] = message
            if before is not None and before.is_locked:
                await self._delete(before)  # the new one has reopened the thread
            await self._drop_after(post.part)  # they would be above it
        message.is_whole = True
        return message

    async def _edit_last(self, message: _Message, text: str, *, rows: Rows, files: Sequence[Attachment]) -> bool:
        """Give a message its final form; return False if it is gone, or cannot be changed any more."""
        if message.is_old:
            await self._delete(message)
            return False
        try:
            await self._edit(message, text, rows=rows, files=files)
        except DiscordRefusedError as error:
            if error.code == OLD_EDITS:
                await self._delete(message)
            elif error.code == ARCHIVED_THREAD:
                message.is_locked = True
            elif error.code != UNKNOWN_MESSAGE:
                raise
            log.warning("answer_posted_again", code=error.code)
            return False
        return True

    async def _drop_after(self, part: int) -> None:
        """Delete the messages beyond the end of an answer that became shorter."""
        for number in [number for number in self._messages if number > part]:
            await self._delete(self._messages[number])
            del self._messages[number]

    async def _delete(self, message: _Message) -> None:
        try:
            await self.api.call("DELETE", MESSAGE, channel_id=self.place.channel, message_id=message.id)
        except DiscordRefusedError as error:
            log.warning("message_not_deleted", code=error.code)

    # --- messages ---

    async def _find_unknown(self) -> None:
        if self._may_have_posted:
            self._take(await self.search(), is_whole=False)
            self._may_have_posted = False

    async def _post(self, text: str, *, rows: Rows, key: str, part: int, files: Sequence[Attachment] = ()) -> _Message:
        try:
            with self._timed():
                posted = await send_message(
                    self.api,
                    self.place.channel,
                    text=text,
                    rows=rows,
                    reply_to="" if part else self.question,
                    key=key,
                    files=files,
                )
        except (RateLimitError, DiscordRefusedError):
            raise
        except AdapterError:
            self._may_have_posted = True
            raise
        return _Message(id=posted, shown=text)

    async def _edit(self, message: _Message, text: str, *, rows: Rows, files: Sequence[Attachment] = ()) -> None:
        message.shown = None
        with self._timed():
            await edit_message(self.api, self.place.channel, message.id, text=text, rows=rows, files=files)
        message.shown = text

    @contextmanager
    def _timed(self) -> Generator[None]:
        began_at = time.monotonic()
        try:
            yield
        finally:
            self._last_call_s = time.monotonic() - began_at


def _with_files(text: str, files: Sequence[Attachment]) -> tuple[str, Sequence[Attachment]]:
    """Return the text and the files that Discord takes; the text says how many others there were."""
    taken: list[Attachment] = []
    room = MAX_FILES_BYTES
    for file in files:
        size = len(file.data)
        if 0 < size <= min(room, MAX_FILE_BYTES) and len(taken) < MAX_FILES:
            taken.append(file)
            room -= size
    left = len(files) - len(taken)
    return (_without_files(text, left) if left else text), taken


def _without_files(text: str, left: int) -> str:
    note = f"-# {left} file{'s' if left > 1 else ''} could not be posted: too big or too many."
    return f"{text[: CONTENT_CHARS - len(note) - 1]}\n{note}"
