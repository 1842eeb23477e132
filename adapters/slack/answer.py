"""The messages of one answer: they grow while the model writes, and end as their posts say. One call at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters.shared.buckets import Priority
from adapters.shared.kept import KeptMessages
from adapters.slack.errors import SlackRefusedError
from adapters.slack.live import GROW_WAIT_S, LiveMessage, LiveMessages
from adapters.slack.messages import write
from adapters.slack.own_messages import OwnMessage, Place, Slack, growing_mark, mark_of, post_mark
from adapters.slack.pace import Pace
from adapters.slack.refusals import Refusals
from adapters.slack.render import answer_blocks, feedback_blocks, neutralize
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post
from bot.text.apart import apart
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

# A markdown block takes 12,000 characters, all blocks of a message somewhat more; streams are reported to break from
# 12,000 on: https://docs.slack.dev/reference/block-kit/blocks/markdown-block
PART_CHARS = 9_000
STREAMS = "streams"

Search = Callable[[], Awaitable[Sequence[OwnMessage]]]


@dataclass(slots=True, kw_only=True)
class AnswerWriter:
    """Writes the answer of one turn into its thread.

    `search` finds the bot's messages there; `kept` holds those of the turn that grew.
    """

    slack: Slack
    place: Place
    turn_id: int
    author: str
    author_team: str  # in channels that organisations share it may be another workspace than that of the place
    refusals: Refusals
    search: Search
    pace: Pace
    kept: KeptMessages
    is_final: bool = False
    # Seconds of the steady clock, 0 where it never was:
    session_ended_at: float = 0.0  # when the end of a stream told Slack that the work is over
    posted_at: float = 0.0  # when the newest message was sent
    _messages: dict[int, LiveMessage] = field(default_factory=dict[int, LiveMessage], init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _is_unsure: bool = field(default=False, init=False)
    _live: LiveMessages = field(init=False)

    def __post_init__(self) -> None:
        self._live = LiveMessages(slack=self.slack, place=self.place, turn_id=self.turn_id)

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
                mark = mark_of(message) if message.kind == "post" else None
                self._messages[message.number] = LiveMessage(
                    ts=message.ts, number=message.number, is_whole=True, mark=mark
                )
            elif message.kind == "unmarked":
                number = len(self._messages)
                self._messages[number] = LiveMessage(
                    ts=message.ts, number=number, is_streaming=True, is_open=True, is_whole=True
                )

    def adopt_kept(self, kept: Mapping[int, str]) -> None:
        """Adopt messages that an earlier process began, whether the thread shows them to the bot or not."""
        known = {message.ts for message in self._messages.values()}
        for number, ts in kept.items():
            if ts not in known and number not in self._messages:
                self._messages[number] = LiveMessage(
                    ts=ts, number=number, is_streaming=True, is_open=True, is_whole=True, is_kept=True
                )

    # --- growing ---

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        async with self._lock:
            if self.is_final:
                return
            await self._make_sure()
            parts = await apart(lambda: split_markdown(neutralize(text), max_chars=PART_CHARS), size=len(text))
            for number, part in enumerate(parts):
                if number in self._messages and self._messages[number].is_whole:
                    continue
                await self._show(number, part)
                if number < len(parts) - 1:
                    await self._close(number)

    async def _show(self, number: int, part: str) -> None:
        message = self._messages.get(number)
        if message is None:
            message = self._messages[number] = await self._begin(number, part)
        if not message.is_kept:
            await self.kept.keep(number, message.ts)
            message.is_kept = True
        if message.shown != part:
            if message.is_streaming and time.monotonic() - message.began_at > self.pace.stream_life_s:
                await self._live.stop(message)
            if message.is_streaming and message.shown is not None and part.startswith(message.shown):
                await self._live.append(message, part)
            else:
                mark = growing_mark(self.turn_id, number)
                await self._live.replace(message, part, metadata=mark, priority=Priority.PROGRESS, wait_s=GROW_WAIT_S)

    async def _begin(self, number: int, part: str) -> LiveMessage:
        """Return a new message: a stream that is empty until its reference is kept, or an ordinary one with a mark."""
        ts = await self._start_stream()
        if ts:
            return LiveMessage(ts=ts, number=number, shown="", is_streaming=True, is_open=True)
        ts = await self._post_new(
            part,
            blocks=answer_blocks(part, turn_id=self.turn_id, is_last=False),
            mark=growing_mark(self.turn_id, number),
            priority=Priority.PROGRESS,
            wait_s=GROW_WAIT_S,
            may_cut=False,
        )
        return LiveMessage(ts=ts, number=number, shown=part)

    async def _start_stream(self) -> str:
        """Return the timestamp of a new stream; empty where it has to be an ordinary message."""
        if self.refusals.are_known(self.place, STREAMS):
            return ""
        sent_at = time.monotonic()
        try:
            answer = await self._live.call(
                "chat.startStream",
                wait_s=GROW_WAIT_S,
                thread_ts=self.place.thread,
                recipient_team_id=self.author_team,
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
        self.posted_at = sent_at
        return str(answer["ts"])

    async def _close(self, number: int) -> None:
        message = self._messages[number]
        if message.is_streaming:
            await self._live.stop(message)
        message.is_whole = True

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
            message = self._messages.get(post.part)
            if message is None or (message.mark, message.shown) != (post_mark(post), text):
                message = self._messages[post.part] = await self._show_whole(post, text, before=message)
            if post.is_last:
                await self._drop_after(post.part)
                await self.kept.forget()
            return message.ts

    async def _show_whole(self, post: Post, text: str, *, before: LiveMessage | None) -> LiveMessage:
        """Return the message that is the post: the one that has grown, or a new one in its place."""
        if before is not None and await self._end(before, post, text):
            before.mark = post_mark(post)
            return before
        ts = await self._post_new(
            text,
            blocks=answer_blocks(text, turn_id=self.turn_id, is_last=post.is_last),
            mark=post_mark(post),
            may_cut=True,
        )
        if before is not None:
            await self._live.remove(before, note="")
        return LiveMessage(ts=ts, number=post.part, shown=text, is_whole=True, mark=post_mark(post))

    async def abandon(self, note: str) -> None:
        """Bring the messages that are no finished posts to an end. The last that is seen of the answer has the note.

        A message that Slack does not let the bot change is deleted. Never raises AdapterError.
        """
        self.is_final = True
        async with self._lock:
            live = sorted(number for number, message in self._messages.items() if message.mark is None)
            for number in live:
                await self._live.remove(self._messages.pop(number), note=note if number == live[-1] else "")
            if not live and self._messages:
                await self._live.add_note(self._messages[max(self._messages)], note)
            await self.kept.forget()

    async def _end(self, message: LiveMessage, post: Post, text: str) -> bool:
        """Give a message the text of the post; return False where it is gone or can no longer be changed."""
        if message.is_streaming:
            if message.shown is None or not text.startswith(message.shown):
                # It must not be marked as the post before its text is right: after a crash it would count as posted.
                await self._live.stop(message)
            elif await self._end_stream(message, post, rest=text[len(message.shown) :]):
                message.shown = text
                return True
        try:
            blocks = answer_blocks(text, turn_id=self.turn_id, is_last=post.is_last)
            await self._live.replace(message, text, metadata=post_mark(post), wait_s=60.0, blocks=blocks)
        except SlackRefusedError as error:
            if not error.is_permanent:
                raise
            # The message is gone or too old, or Slack does not take this change: a new one may still be allowed.
            log.warning("answer_posted_again", code=error.code)
            return False
        return True

    async def _end_stream(self, message: LiveMessage, post: Post, *, rest: str) -> bool:
        details: dict[str, Any] = {"metadata": post_mark(post)}
        if rest:
            details["markdown_text"] = rest
        if post.is_last:
            details |= {"blocks": feedback_blocks(self.turn_id), "session_status": "active"}
        sent_at = time.monotonic()
        is_ended = await self._live.stop(message, **details)
        if is_ended and post.is_last:
            self.session_ended_at = sent_at
        return is_ended

    async def _drop_after(self, part: int) -> None:
        """Delete messages of a growing answer that turned out longer than the final one."""
        for number in [number for number in self._messages if number > part]:
            message = self._messages[number]
            await self._live.stop_and_delete(message)
            del self._messages[number]

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

    async def _post_new(
        self, text: str, *, blocks: Sequence[dict[str, Any]], mark: dict[str, Any], may_cut: bool, **patience: Any
    ) -> str:
        details: dict[str, Any] = {
            "thread_ts": self.place.thread,
            "metadata": mark,
            "may_cut": may_cut,
            "unfurl_links": False,
            "unfurl_media": False,
            **patience,
        }
        sent_at = time.monotonic()
        try:
            answer = await write(
                self._live.call, "chat.postMessage", text, blocks, limit_key=self.place.channel, **details
            )
        except RateLimitError:
            raise
        except AdapterError as error:
            self._is_unsure = not error.is_permanent
            raise
        self.posted_at = sent_at
        return str(answer["ts"])
