"""The messages of an answer while they grow, and how each comes to an end: the calls, without what is written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters.shared.buckets import Priority
from adapters.slack.errors import SlackRefusedError
from adapters.slack.messages import write
from adapters.slack.own_messages import Place, Slack, growing_mark, notice_mark
from adapters.slack.render import answer_blocks
from bot.domain.errors import AdapterError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

GROW_WAIT_S = 1.0  # how long a glimpse of progress waits for its slot; the answer itself waits as long as it takes
END_WAIT_S = 10.0
_STREAM_IS_OVER = frozenset({"message_not_in_streaming_state", "stopped_by_user", "message_not_found"})
_STILL_STREAMING = frozenset({"streaming_state_conflict", "message_is_streaming"})


@dataclass(slots=True, kw_only=True)
class LiveMessage:
    """One message of the answer, as far as it is known; `shown` is None where its text is unknown."""

    ts: str
    number: int  # of the part of the answer that it holds
    shown: str | None = None
    is_streaming: bool = False  # it takes more text as a stream
    is_open: bool = False  # the stream is not known to have ended
    is_whole: bool = False  # the growing answer adds nothing to it any more
    mark: Mapping[str, Any] | None = None  # of the finished post that it is
    is_kept: bool = False  # its reference outlives the process
    began_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMessages:
    """The calls for the messages of one turn's answer; the caller makes them one at a time."""

    slack: Slack
    place: Place
    turn_id: int

    async def append(self, message: LiveMessage, part: str) -> None:
        rest = part[len(message.shown or "") :]
        try:
            await self.call("chat.appendStream", wait_s=GROW_WAIT_S, ts=message.ts, markdown_text=rest)
        except RateLimitError:
            return  # what gathers meanwhile goes with the next one
        except SlackRefusedError as error:
            message.is_streaming = False  # it expired, or someone stopped it: it is edited from now on
            message.is_open = error.code not in _STREAM_IS_OVER
            raise
        except AdapterError:
            message.shown = None  # unknown
            raise
        message.shown = part

    async def stop(self, message: LiveMessage, **details: Any) -> bool:
        """End the stream; return whether it was one. Raises AdapterError where that cannot be known."""
        details.setdefault("metadata", growing_mark(self.turn_id, message.number))
        try:
            await self.call("chat.stopStream", ts=message.ts, **details)
        except SlackRefusedError as error:
            log.info("stream_not_stopped", code=error.code)
            message.is_streaming, message.is_open = False, error.code not in _STREAM_IS_OVER
            return False
        message.is_streaming = message.is_open = False
        return True

    async def replace(
        self,
        message: LiveMessage,
        text: str,
        *,
        metadata: Mapping[str, Any],
        wait_s: float,
        priority: Priority = Priority.ANSWER,
        blocks: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        if message.is_streaming:
            await self.stop(message)
        blocks = blocks or answer_blocks(text, turn_id=self.turn_id, is_last=False)
        details: dict[str, Any] = {"ts": message.ts, "metadata": metadata, "may_repeat": True}
        details |= {"priority": priority, "wait_s": wait_s}
        try:
            await write(self.call, "chat.update", text, blocks, **details)
        except SlackRefusedError as error:
            if error.code not in _STILL_STREAMING:
                raise
            await self.stop(message)
            await write(self.call, "chat.update", text, blocks, **details)
        message.shown = text

    async def remove(self, message: LiveMessage, *, note: str) -> None:
        """End a message that grew: with the note, where it has one, otherwise by deleting it; if need be the other way.

        Never raises AdapterError.
        """
        ends = [self._end_with_note, self.stop_and_delete]
        for end in ends if note else reversed(ends):
            try:
                if await end(message, note):
                    return
            except AdapterError as error:
                log.warning("live_message_not_ended", error=str(error))

    async def stop_and_delete(self, message: LiveMessage, note: str = "") -> bool:
        if message.is_streaming:  # until it is stopped, Slack refuses to delete it
            await self.stop(message)
        try:
            await self.call("chat.delete", may_repeat=True, ts=message.ts)
        except SlackRefusedError as error:
            log.warning("message_not_deleted", code=error.code)
            return error.code == "message_not_found"
        return True

    async def add_note(self, message: LiveMessage, note: str) -> None:
        """Add the note to a finished post whose text is known. Never raises AdapterError."""
        if message.shown is None or message.mark is None:
            return
        try:
            await self.replace(message, f"{message.shown}\n\n_{note}_", metadata=message.mark, wait_s=END_WAIT_S)
        except AdapterError as error:
            log.warning("note_not_added", error=str(error))

    async def _end_with_note(self, message: LiveMessage, note: str) -> bool:
        if message.is_open:
            await self.stop(message)
        text = "\n\n".join(filter(None, (message.shown, note and f"_{note}_")))
        # Its mark is no longer that of an answer: after a crash it is left as it is.
        await self.replace(message, text, metadata=notice_mark("ended"), wait_s=END_WAIT_S)
        return True

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return await self.slack.call(method, team=self.place.team, channel=self.place.channel, **arguments)
