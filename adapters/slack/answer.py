"""The messages of one answer: they grow while the model writes, and end as their posts say. One call at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters.slack.errors import SlackRefusedError
from adapters.slack.messages import write
from adapters.slack.own_messages import OwnMessage, Place, Slack, growing_mark, post_mark
from adapters.slack.pace import Pace
from adapters.slack.refusals import Refusals
from adapters.slack.render import answer_blocks, feedback_blocks, neutralize
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

# A markdown block takes 12,000 characters, all blocks of a message somewhat more; streams are reported to break from
# 12,000 on: https://docs.slack.dev/reference/block-kit/blocks/markdown-block
PART_CHARS = 9_000
GROW_WAIT_S = 1.0  # how long a glimpse of progress waits for its slot; the answer itself waits as long as it takes
STREAMS = "streams"
_STILL_STREAMING = frozenset({"streaming_state_conflict", "message_is_streaming"})

Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message of the answer, as far as it is known; `shown` is None where its text is unknown."""

    ts: str
    number: int  # of the part of the answer that it holds
    shown: str | None = None
    is_streaming: bool = False
    is_whole: bool = False  # the growing answer adds nothing to it any more
    is_final: bool = False  # it is a finished post
    began_at: float = field(default_factory=time.monotonic)


@dataclass(slots=True, kw_only=True)
class AnswerWriter:
    """Writes the answer of one turn into its thread; `search` finds the bot's messages there."""

    slack: Slack
    place: Place
    turn_id: int
    author: str
    refusals: Refusals
    search: Search
    pace: Pace
    is_final: bool = False
    has_ended_session: bool = False  # the end of a stream has told Slack that the work is over
    _messages: dict[int, _Message] = field(default_factory=dict[int, _Message], init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _is_unsure: bool = field(default=False, init=False)

    @property
    def gap_s(self) -> float:
        """How long to wait before more is shown, in seconds: a stream takes more calls than an edited message."""
        return self.pace.append_gap_s if self.streams else self.pace.edit_gap_s

    @property
    def streams(self) -> bool:
        """Whether a native stream is open."""
        return any(message.is_streaming for message in self._messages.values())

    def has(self, part: int) -> bool:
        """Return whether the message of this part is known."""
        return part in self._messages

    def adopt(self, own: Sequence[OwnMessage]) -> None:
        """Adopt messages that the thread shows: marked ones of this turn, and streams, which bear no mark, by time."""
        known = {message.ts for message in self._messages.values()}
        for message in own:
            if message.ts in known or (message.kind in ("growing", "post") and message.turn != self.turn_id):
                continue
            if message.kind in ("growing", "post"):
                self._messages[message.number] = _Message(ts=message.ts, number=message.number, is_whole=True)
            elif message.kind == "unmarked":
                number = len(self._messages)
                self._messages[number] = _Message(ts=message.ts, number=number, is_streaming=True, is_whole=True)

    # --- growing ---

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        async with self._lock:
            if self.is_final:
                return
            await self._make_sure()
            parts = split_markdown(neutralize(text), max_chars=PART_CHARS)
            for number, part in enumerate(parts):
                if number in self._messages and self._messages[number].is_whole:
                    continue
                await self._show(number, part)
                if number < len(parts) - 1:
                    await self._close(number)

    async def _show(self, number: int, part: str) -> None:
        message = self._messages.get(number)
        if message is None:
            self._messages[number] = await self._begin(number, part)
        elif message.shown != part:
            if message.is_streaming and time.monotonic() - message.began_at > self.pace.stream_life_s:
                await self._stop(message)
            if message.is_streaming and message.shown is not None and part.startswith(message.shown):
                await self._append(message, part)
            else:
                await self._replace(message, part, metadata=growing_mark(self.turn_id, number), wait_s=GROW_WAIT_S)

    async def _begin(self, number: int, part: str) -> _Message:
        ts = await self._start_stream(part)
        if ts:
            return _Message(ts=ts, number=number, shown=part, is_streaming=True)
        ts = await self._post_new(
            part,
            blocks=answer_blocks(part, turn_id=self.turn_id, is_last=False),
            mark=growing_mark(self.turn_id, number),
        )
        return _Message(ts=ts, number=number, shown=part)

    async def _start_stream(self, part: str) -> str:
        """Return the timestamp of a new stream; empty where it has to be an ordinary message."""
        if self.refusals.are_known(self.place, STREAMS):
            return ""
        try:
            answer = await self._call(
                "chat.startStream",
                wait_s=GROW_WAIT_S,
                thread_ts=self.place.thread,
                markdown_text=part,
                recipient_team_id=self.place.team,
                recipient_user_id=self.author,
            )
        except RateLimitError:
            return ""
        except AdapterError as error:
            if isinstance(error, SlackRefusedError) and error.is_permanent:
                self.refusals.remember(self.place, STREAMS, error)
                return ""
            self._is_unsure = True
            raise
        return str(answer["ts"])

    async def _append(self, message: _Message, part: str) -> None:
        rest = part[len(message.shown or "") :]
        try:
            await self._call("chat.appendStream", wait_s=GROW_WAIT_S, ts=message.ts, markdown_text=rest)
        except RateLimitError:
            return  # what gathers meanwhile goes with the next one
        except SlackRefusedError:
            message.is_streaming = False  # it expired, or someone stopped it: it is edited from now on
            raise
        except AdapterError:
            message.shown = None  # unknown
            raise
        message.shown = part

    async def _close(self, number: int) -> None:
        message = self._messages[number]
        if message.is_streaming:
            await self._stop(message)
        message.is_whole = True

    async def _stop(self, message: _Message, **details: Any) -> bool:
        """End the stream; return whether it was one. Raises AdapterError where that cannot be known."""
        details.setdefault("metadata", growing_mark(self.turn_id, message.number))
        try:
            await self._call("chat.stopStream", ts=message.ts, **details)
        except SlackRefusedError as error:
            log.info("stream_was_over", code=error.code)
            message.is_streaming = False
            return False
        message.is_streaming = False
        return True

    # --- ending ---

    async def finish(self, post: Post) -> str:
        """Show the post in its final form and return its timestamp. Repeating it changes nothing.

        Raises:
            RateLimitError: Slack asked for a pause.
            AdapterError: Slack refused, or the outcome is unknown.
        """
        self.is_final = True
        async with self._lock:
            await self._make_sure()
            text = neutralize(post.text)
            message = before = self._messages.get(post.part)
            if message is None or not await self._end(message, post, text):
                ts = await self._post_new(
                    text,
                    blocks=answer_blocks(text, turn_id=self.turn_id, is_last=post.is_last),
                    mark=post_mark(post),
                )
                message = self._messages[post.part] = _Message(ts=ts, number=post.part, shown=text, is_whole=True)
                if before is not None:
                    await self._remove(before, note="")
            message.is_final = True
            if post.is_last:
                await self._drop_after(post.part)
            return message.ts

    async def abandon(self, note: str) -> None:
        """Bring the messages that are no finished posts to an end; the last of them ends with the note.

        A message that Slack does not let the bot change is deleted. Never raises AdapterError.
        """
        self.is_final = True
        async with self._lock:
            live = sorted(number for number, message in self._messages.items() if not message.is_final)
            for number in live:
                await self._remove(self._messages.pop(number), note=note if number == live[-1] else "")

    async def _end(self, message: _Message, post: Post, text: str) -> bool:
        """Give a message the text of the post; return False where it is gone or can no longer be changed."""
        if message.is_streaming:
            if message.shown is None or not text.startswith(message.shown):
                # It must not be marked as the post before its text is right: after a crash it would count as posted.
                await self._stop(message)
            elif await self._end_stream(message, post, rest=text[len(message.shown) :]):
                message.shown = text
                return True
        try:
            blocks = answer_blocks(text, turn_id=self.turn_id, is_last=post.is_last)
            await self._replace(message, text, metadata=post_mark(post), wait_s=60.0, blocks=blocks)
        except SlackRefusedError as error:
            if not error.is_permanent:
                raise
            # The message is gone or too old, or Slack does not take this change: a new one may still be allowed.
            log.warning("answer_posted_again", code=error.code)
            return False
        return True

    async def _end_stream(self, message: _Message, post: Post, *, rest: str) -> bool:
        details: dict[str, Any] = {"metadata": post_mark(post)}
        if rest:
            details["markdown_text"] = rest
        if post.is_last:
            details |= {"blocks": feedback_blocks(self.turn_id), "session_status": "active"}
        is_ended = await self._stop(message, **details)
        self.has_ended_session = self.has_ended_session or (is_ended and post.is_last)
        return is_ended

    async def _drop_after(self, part: int) -> None:
        """Delete messages of a growing answer that turned out longer than the final one."""
        for number in [number for number in self._messages if number > part]:
            message = self._messages[number]
            await self._stop_and_delete(message)
            del self._messages[number]

    async def _remove(self, message: _Message, *, note: str) -> None:
        """End a message that grew: with the note, where it has one, otherwise by deleting it; if need be the other way.

        Never raises AdapterError.
        """
        ends = [self._end_with_note, self._stop_and_delete]
        for end in ends if note else reversed(ends):
            try:
                if await end(message, note):
                    return
            except AdapterError as error:
                log.warning("live_message_not_ended", error=str(error))

    async def _stop_and_delete(self, message: _Message, note: str = "") -> bool:
        if message.is_streaming:  # until it is stopped, Slack refuses to delete it
            await self._stop(message)
        try:
            await self._call("chat.delete", may_repeat=True, ts=message.ts)
        except SlackRefusedError as error:
            log.warning("message_not_deleted", code=error.code)
            return error.code == "message_not_found"
        return True

    async def _end_with_note(self, message: _Message, note: str) -> bool:
        text = "\n\n".join(filter(None, (message.shown, note and f"_{note}_")))
        await self._replace(message, text, metadata=growing_mark(self.turn_id, message.number), wait_s=10.0)
        return True

    # --- messages ---

    async def _make_sure(self) -> None:
        """Find out what became of a post with an unknown outcome, as far as Slack lets the bot read the thread."""
        if not self._is_unsure:
            return
        try:
            self.adopt(await self.search())
        except AdapterError as error:
            if not error.is_permanent:
                raise
            log.warning("own_messages_not_found", error=str(error))
        self._is_unsure = False

    async def _post_new(self, text: str, *, blocks: Sequence[dict[str, Any]], mark: dict[str, Any]) -> str:
        details: dict[str, Any] = {
            "thread_ts": self.place.thread,
            "metadata": mark,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        try:
            answer = await write(self._call, "chat.postMessage", text, blocks, limit_key=self.place.channel, **details)
        except RateLimitError:
            raise
        except AdapterError as error:
            self._is_unsure = not error.is_permanent
            raise
        return str(answer["ts"])

    async def _replace(
        self,
        message: _Message,
        text: str,
        *,
        metadata: dict[str, Any],
        wait_s: float,
        blocks: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        if message.is_streaming:
            await self._stop(message)
        blocks = blocks or answer_blocks(text, turn_id=self.turn_id, is_last=False)
        details: dict[str, Any] = {"ts": message.ts, "metadata": metadata, "may_repeat": True, "wait_s": wait_s}
        try:
            await write(self._call, "chat.update", text, blocks, **details)
        except SlackRefusedError as error:
            if error.code not in _STILL_STREAMING:
                raise
            await self._stop(message)
            await write(self._call, "chat.update", text, blocks, **details)
        message.shown = text

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return await self.slack.call(method, team=self.place.team, channel=self.place.channel, **arguments)
