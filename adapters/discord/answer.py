"""The messages of one answer: they grow by edits while the model writes, until each gets its final form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.errors import ARCHIVED_THREAD, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, OwnMessage, Place, edit_message, send_message
from adapters.discord.postable import postable, with_note
from adapters.discord.render import Rows, feedback_row, part_message, split_answer, stop_row
from adapters.discord.snowflakes import created_at
from adapters.shared.kept import KeptMessages
from adapters.shared.shares import as_progress
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.domain.turns import Post
from bot.text.apart import apart

log = structlog.stdlib.get_logger(__name__)

EDIT_GAP_S = 1.2  # Discord takes about five requests in five seconds for each channel
# Once messages are an hour old, Discord allows only a few more edits.
FRESH_S = 3_300.0

Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message of the answer; `shown` is None where it is not known whether Discord took the last change."""

    id: str
    text: str  # as Discord took it last
    shown: str | None = None
    is_whole: bool = False  # the growing answer does not change it any more
    is_kept: bool = False  # its reference outlives the process
    is_finished: bool = False  # it has its final form
    is_locked: bool = False  # its thread is archived: it cannot be changed until someone writes there

    @property
    def is_old(self) -> bool:
        """Whether Discord allows only a few more edits, too few for a growing answer."""
        return time.time() - created_at(self.id) > FRESH_S


@dataclass(slots=True, kw_only=True)
class AnswerWriter:
    """Writes the answer of one turn, as a reply to `question`; `search` finds messages that may exist already.

    `kept` are those that grew.
    """

    api: DiscordApi
    place: Place
    turn_id: int
    question: str
    search: Search
    kept: KeptMessages
    edit_gap_s: float = EDIT_GAP_S
    is_final: bool = False
    _messages: dict[int, _Message] = field(default_factory=dict[int, _Message], init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _may_have_posted: bool = field(default=False, init=False)  # a message that is not known
    _is_refused: bool = field(default=False, init=False)  # the growing answer: only its final form is tried
    _is_abandoned: bool = field(default=False, init=False)
    _refused_words: dict[str, DiscordRefusedError] = field(default_factory=dict[str, DiscordRefusedError], init=False)
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

    def adopt_kept(self, kept: Mapping[int, str]) -> None:
        """Take over the messages that an earlier process began, whether the channel shows them to the bot or not."""
        for number, message in kept.items():
            self._messages.setdefault(number, _Message(id=message, text="", is_whole=True, is_kept=True))

    def _take(self, own_messages: Sequence[OwnMessage], *, is_whole: bool) -> None:
        for message in own_messages:
            is_of_answer = any(message.has(kind, turn=self.turn_id) for kind in ("stop", "good"))
            number = message.number_of(self.turn_id)
            if is_of_answer and number is not None:
                self._messages.setdefault(number, _Message(id=message.id, text=message.text, is_whole=is_whole))

    # --- growing ---

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer; does nothing once Discord has refused it for good.

        Raises AdapterError; the next call makes up for it.
        """
        async with self._lock:
            if self.is_final or self._is_refused:
                return
            with as_progress():
                await self._grow(text)

    async def _grow(self, text: str) -> None:
        await self._find_unknown()
        parts = await apart(lambda: [part_message(part).text for part in split_answer(text)], size=len(text))
        try:
            for number, part in enumerate(parts):
                await self._grow_part(number, part, is_last=number == len(parts) - 1)
        except DiscordRefusedError as error:
            self._is_refused = error.is_permanent
            raise

    async def _grow_part(self, number: int, text: str, *, is_last: bool) -> None:
        message = self._messages.get(number)
        if message is not None and (message.is_whole or message.is_old):
            return
        rows = [stop_row(self.turn_id, number)]
        if message is None:
            key = f"{self.question or self.turn_id}.l{number}"
            message = self._messages[number] = await self._post(text, rows=rows, key=key, part=number)
        elif message.shown != text:
            await self._edit(message, text, rows=rows)
        if not message.is_kept:
            await self.kept.keep(number, message.id)
            message.is_kept = True
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
            text, files = await apart(lambda: postable(post), size=len(post.text))
            message = await self._finish_message(post, text, files=files)
            if post.is_last:
                await self._drop_after(post.part)
                await self.kept.forget()
            return message.id

    async def abandon(self, note: str) -> None:
        """Bring what is shown of the answer to an end, once. Never raises AdapterError.

        The last part gets the note, those that were not finished lose their Stop button; such a part is deleted where
        Discord refuses the change.
        """
        self.is_final = True
        async with self._lock:
            if self._is_abandoned:
                return
            self._is_abandoned = True
            try:
                await self._find_unknown()
            except AdapterError as error:
                log.warning("live_parts_not_found", error=str(error))
            for number, message in sorted(self._messages.items()):
                await self._end(message, note if number == max(self._messages) else "")
            await self.kept.forget()

    async def _end(self, message: _Message, note: str) -> None:
        text = with_note(message.text, note) if note else message.text
        if message.is_finished and (not note or not text.startswith(message.text)):
            return  # it has its form, and no room for the note
        try:
            await self._edit(message, text, rows=(), is_repeatable=True)  # nobody tries it again
        except AdapterError as error:
            log.warning("answer_not_ended", error=str(error))
            if not message.is_finished:
                await self._delete(message)

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
        message.is_whole = message.is_finished = True
        return message

    async def _edit_last(self, message: _Message, text: str, *, rows: Rows, files: Sequence[Attachment]) -> bool:
        """Give a message its final form; return False if it is gone, or cannot be changed any more."""
        if message.is_old:
            await self._delete(message)
            return False
        try:
            await self._edit(message, text, rows=rows, files=files)
        except DiscordRefusedError as error:
            if not error.may_be_posted_afresh:
                raise
            if error.code == ARCHIVED_THREAD:
                message.is_locked = True
            elif error.code != UNKNOWN_MESSAGE:
                await self._delete(message)
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
        except AdapterError as error:
            log.warning("message_not_deleted", error=str(error))

    # --- messages ---

    async def _find_unknown(self) -> None:
        if self._may_have_posted:
            self._take(await self.search(), is_whole=False)
            self._may_have_posted = False

    async def _post(self, text: str, *, rows: Rows, key: str, part: int, files: Sequence[Attachment] = ()) -> _Message:
        try:
            with self._sending(text):
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
        return _Message(id=posted, text=text, shown=text)

    async def _edit(
        self,
        message: _Message,
        text: str,
        *,
        rows: Sequence[Mapping[str, Any]],
        files: Sequence[Attachment] = (),
        is_repeatable: bool = False,
    ) -> None:
        with self._sending(text):
            message.shown = None
            await edit_message(
                self.api,
                self.place.channel,
                message.id,
                text=text,
                rows=rows,
                files=files,
                is_repeatable=is_repeatable,
            )
        message.text = message.shown = text

    @contextmanager
    def _sending(self, text: str) -> Generator[None]:
        """Measure a call, and do not make it where Discord has refused these words before."""
        if (refusal := self._refused_words.get(text)) is not None:
            raise refusal
        began_at = time.monotonic()
        try:
            yield
        except DiscordRefusedError as error:
            if error.is_about_words:
                self._refused_words[text] = error
            raise
        finally:
            self._last_call_s = time.monotonic() - began_at
