"""The messages of one answer: they grow by edits while the model writes, and end as they are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from adapters.discord.api import Rest
from adapters.discord.errors import ARCHIVED_THREAD, OLD_EDITS, TOO_LARGE, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import OwnMessage, Place, created_at, edit_message, send_message
from adapters.discord.render import CONTENT_CHARS, Rows, feedback_row, part_message, split_answer, stop_row
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)

EDIT_GAP_S = 1.2  # about five requests in five seconds and channel are let through
# Discord lets messages be edited a few times only once they are an hour old.
FRESH_S = 3_300.0
MAX_FILES = 10
MAX_FILE_BYTES = 10 * 1024 * 1024  # https://discord.com/developers/docs/reference#uploading-files
MAX_FILES_BYTES = 24 * 1024 * 1024  # of a request's 25 MiB

Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message of the answer; `shown` is None where what it shows is not known."""

    id: str
    shown: str | None = None
    is_whole: bool = False  # nothing of the growing answer comes to it any more
    is_locked: bool = False  # its thread is archived: nothing in it can be changed until somebody writes there

    @property
    def is_old(self) -> bool:
        """Whether Discord lets it be edited a few times only, which are not to be spent on an answer that grows."""
        return time.time() - created_at(self.id) > FRESH_S


@dataclass(slots=True, kw_only=True)
class AnswerWriter:
    """Writes the answer of one turn, as a reply to `question`; `search` finds what may be there already."""

    rest: Rest
    place: Place
    turn_id: int
    question: str
    search: Search
    edit_gap_s: float = EDIT_GAP_S
    is_final: bool = False
    _messages: dict[int, _Message] = field(default_factory=dict[int, _Message], init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _is_unsure: bool = field(default=False, init=False)
    _last_call_s: float = field(default=0.0, init=False)  # how long Discord took, its pauses included

    @property
    def gap_s(self) -> float:
        """At least 1.2 s, and longer while Discord is slow or asks for pauses."""
        return max(self.edit_gap_s, 2 * self._last_call_s)

    def has(self, part: int) -> bool:
        """Tell whether the message of this part is known."""
        return part in self._messages

    def adopt(self, own: Sequence[OwnMessage]) -> None:
        """Take over the messages that a process before this one has posted of the turn; they are left as they are."""
        self._take(own, is_whole=True)

    def _take(self, own: Sequence[OwnMessage], *, is_whole: bool) -> None:
        for message in own:
            is_ours = any(message.has(kind, turn=self.turn_id) for kind in ("stop", "good"))
            number = message.number_of(self.turn_id)
            if is_ours and number is not None:
                self._messages.setdefault(number, _Message(id=message.id, is_whole=is_whole))

    # --- growing ---

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        async with self._lock:
            if self.is_final:
                return
            await self._make_sure()
            parts = split_answer(text)
            for number, part in enumerate(parts):
                is_last = number == len(parts) - 1
                message = self._messages.get(number)
                if message is not None and (message.is_whole or message.is_old):
                    continue
                shown = part_message(part).text
                rows = [stop_row(self.turn_id, number)]
                if message is None:
                    nonce = f"{self.question or self.turn_id}.l{number}"
                    message = self._messages[number] = await self._post(shown, rows=rows, nonce=nonce, part=number)
                elif message.shown != shown:
                    await self._edit(message, shown, rows=rows)
                message.is_whole = not is_last

    # --- ending ---

    async def finish(self, post: Post) -> str:
        """Let the post stand as it is to stay, with its files; return its id. Done again it changes nothing.

        Raises:
            RateLimitError: Discord asked for a pause.
            AdapterError: Discord refused; or it cannot be known what it did.
        """
        self.is_final = True
        async with self._lock:
            await self._make_sure()
            shown = part_message(post.text)
            rest_of_text = [shown.file] if shown.file else []
            text, files = _with_files(shown.text, [*rest_of_text, *post.attachments])
            try:
                message = await self._stand(post, text, files=files)
            except DiscordRefusedError as error:
                if error.code != TOO_LARGE or not post.attachments:
                    raise
                text = _without_files(shown.text, len(post.attachments))
                message = await self._stand(post, text, files=rest_of_text)
            if post.is_last:
                await self._drop_after(post.part)
            return message.id

    async def _stand(self, post: Post, text: str, *, files: Sequence[Attachment]) -> _Message:
        """Let the post be seen as it is to stay, by an edit of what has grown or by a message of its own."""
        rows = [feedback_row(self.turn_id, post.part)] if post.is_last else []
        message = before = self._messages.get(post.part)
        if message is None or not await self._end(message, text, rows=rows, files=files):
            message = await self._post(text, rows=rows, nonce=post.key, part=post.part, files=files)
            self._messages[post.part] = message
            if before is not None and before.is_locked:
                await self._delete(before)  # the new one has opened the thread again
            await self._drop_after(post.part)  # they would stand above it
        message.is_whole = True
        return message

    async def _end(self, message: _Message, text: str, *, rows: Rows, files: Sequence[Attachment]) -> bool:
        """Bring a message to its last state; False: it is gone, or cannot be changed any more."""
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
            log.warning("answer_posted_afresh", code=error.code)
            return False
        return True

    async def _drop_after(self, part: int) -> None:
        """Delete what was shown of a longer answer than there came to be."""
        for number in [number for number in self._messages if number > part]:
            await self._delete(self._messages[number])
            del self._messages[number]

    async def _delete(self, message: _Message) -> None:
        path = "/channels/{channel_id}/messages/{message_id}"
        try:
            await self.rest.call("DELETE", path, channel_id=self.place.channel, message_id=message.id)
        except DiscordRefusedError as error:
            log.warning("message_not_deleted", code=error.code)

    # --- messages ---

    async def _make_sure(self) -> None:
        if self._is_unsure:
            self._take(await self.search(), is_whole=False)
            self._is_unsure = False

    async def _post(
        self, text: str, *, rows: Rows, nonce: str, part: int, files: Sequence[Attachment] = ()
    ) -> _Message:
        try:
            with self._timed():
                posted = await send_message(
                    self.rest,
                    self.place.channel,
                    text=text,
                    rows=rows,
                    reply_to="" if part else self.question,
                    nonce=nonce,
                    files=files,
                )
        except (RateLimitError, DiscordRefusedError):
            raise
        except AdapterError:
            self._is_unsure = True
            raise
        return _Message(id=posted, shown=text)

    async def _edit(self, message: _Message, text: str, *, rows: Rows, files: Sequence[Attachment] = ()) -> None:
        message.shown = None
        with self._timed():
            await edit_message(self.rest, self.place.channel, message.id, text=text, rows=rows, files=files)
        message.shown = text

    @contextmanager
    def _timed(self) -> Generator[None]:
        began_at = time.monotonic()
        try:
            yield
        finally:
            self._last_call_s = time.monotonic() - began_at


def _with_files(text: str, files: Sequence[Attachment]) -> tuple[str, Sequence[Attachment]]:
    """Return the files that Discord takes; of the others the text says that they are missing."""
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
    told = f"-# {left} file{'s' if left > 1 else ''} could not be posted: too big or too many."
    return f"{text[: CONTENT_CHARS - len(told) - 1]}\n{told}"
