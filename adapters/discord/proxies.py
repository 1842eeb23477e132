"""Messages that another bot replaces: it posts a copy by a webhook, under another name, and deletes the message.

PluralKit and Tupperbox do so: https://pluralkit.me/guide/#message-proxying
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from adapters.discord.parse import event_key, message_place
from adapters.discord.payloads import text_at
from adapters.shared.payloads import Payload

MAX_CHANNELS = 2_000
MAX_MESSAGES = 20  # of one channel
GRACE_S = 2.0
COPIED_WITHIN_S = 15.0  # such bots take a second or two
_MENTION = re.compile(r"<@[!&]?\d{1,20}>", re.ASCII)


@dataclass(slots=True)
class _Written:
    """A message of a person."""

    key: str
    payload: Payload  # what is needed of it
    at: float  # by the clock
    has_copy: bool = False
    is_withdrawn: bool = False  # it was deleted before an answer to it began


class Proxies:
    """Knows which of the latest messages were replaced by a copy. `clock` gives seconds.

    A message and its copy arrive at the same process: both belong to one shard.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, grace_s: float = GRACE_S) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._written: LRUCache[str, deque[_Written]] = LRUCache(MAX_CHANNELS)  # by channel

    def note(self, message: Payload) -> None:
        """Remember a message of a person that may be a question."""
        channel = text_at(message, "channel_id")
        key = event_key(channel, text_at(message, "id"))
        if text_at(message, "content").strip() and self._find(key) is None:
            kept = {name: message.get(name) for name in ("content", "author", "member")}
            self._written.setdefault(channel, deque(maxlen=MAX_MESSAGES)).append(_Written(key, kept, self._clock()))

    def note_withdrawn(self, key: str) -> None:
        """Remember that the message was deleted before an answer to it began."""
        if (written := self._find(key)) is not None:
            written.is_withdrawn = True

    def is_replaced(self, key: str) -> bool:
        """Return whether there is a copy of the message: then its deletion takes nothing back."""
        written = self._find(key)
        return written is not None and written.has_copy

    async def is_replaced_soon(self, key: str) -> bool:
        """Return whether there is a copy of a message that was just deleted; it may come a moment later."""
        if not self.is_replaced(key):
            await asyncio.sleep(self._grace_s)
        return self.is_replaced(key)

    def claim(self, message: Payload) -> Payload | None:
        """Return what a copy of a message by a webhook counts as; None where the message is no copy.

        That is nothing (an empty payload), as the original is the question. Where that was withdrawn, the copy takes
        its place, as if the same person had written it.
        """
        if not message.get("webhook_id"):
            return None
        written = self._original_of(message, text_at(message, "channel_id"))
        if written is None:
            return None
        written.has_copy = True
        return _as_written_by(written.payload, message) if written.is_withdrawn else {}

    def _original_of(self, message: Payload, channel: str) -> _Written | None:
        latest = self._written.get(channel, ())
        since = self._clock() - COPIED_WITHIN_S
        found = (one for one in reversed(latest) if one.at >= since and _may_be_copy(message, one.payload))
        return next(found, None)

    def _find(self, key: str) -> _Written | None:
        channel = message_place(key)[0]
        return next((one for one in self._written.get(channel, ()) if one.key == key), None)


def _may_be_copy(message: Payload, original: Payload) -> bool:
    """Return whether a message says what the original said, but for the signs by which such a bot knows the name.

    An alert that happens to repeat a few words of a question is no copy.
    """
    (copied, named), (written, named_before) = _said(message), _said(original)
    if not (copied or named) or copied not in written or named != named_before:
        return False
    signs = written.split(copied, 1) if copied else [written]
    return all(len(sign.split()) <= 1 for sign in signs) or sum(map(len, signs)) <= len(copied)


def _said(message: Payload) -> tuple[str, set[str]]:
    """Return the words of a message, and whom they mention: a mention may be in front of the sign."""
    content = text_at(message, "content")
    return _MENTION.sub("", content).strip(), set(_MENTION.findall(content))


def _as_written_by(original: Payload, copy: Payload) -> Payload:
    kept = {name: value for name, value in copy.items() if name not in ("webhook_id", "application_id")}
    return {**kept, "author": original.get("author"), "member": original.get("member")}
