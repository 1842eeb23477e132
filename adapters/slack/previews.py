"""The messages behind links to messages: Slack shows them below a message, often only a moment after its delivery."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cachetools import LRUCache

from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack.payloads import text_at

# The change that brought them was seen 0.96 s after the message: NousResearch/hermes-agent#95417. Slack waits three
# seconds for its acknowledgement, and names and files are looked up after this.
PATIENCE_S = 1.2
MAX_KNOWN = 500  # messages; a change may overtake the delivery of its message, and a mention is delivered twice
# https://docs.slack.dev/reference/methods/chat.getPermalink
_PERMALINK = re.compile(r"<https://[\w.-]+\.slack(?:-gov)?\.com/archives/\w+/p\d+[^<>]*>")

_Key = tuple[str, str, str]  # workspace, channel, timestamp of the message


class Previews:
    """Waits for the previews of links to messages."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        # What Slack attached to a message; nothing where that was waited for in vain.
        self._known: LRUCache[_Key, Sequence[Payload]] = LRUCache(MAX_KNOWN)
        self._waiting: dict[_Key, asyncio.Event] = {}

    def note(self, event: Payload, *, team: str) -> None:
        """Take note of the previews that a change to a message brings."""
        message = dict_of(event.get("message"))
        if event.get("subtype") != "message_changed" or not has_preview(message):
            return
        key = team, text_at(event, "channel"), text_at(message, "ts")
        self._known[key] = dicts_of(message.get("attachments"))
        if (waiting := self._waiting.get(key)) is not None:
            waiting.set()

    async def completed(self, event: Payload, *, team: str) -> dict[str, Any]:
        """Return a message with its previews once Slack shows them; as it is where that takes longer than a moment."""
        key = team, text_at(event, "channel"), text_at(event, "ts")
        if key not in self._known:
            await self._wait(key)
        known = self._known.setdefault(key, ())
        return {**event, "attachments": known} if known else dict(event)

    async def _wait(self, key: _Key) -> None:
        waiting = self._waiting[key] = asyncio.Event()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiting.wait(), self._patience_s)
        finally:
            del self._waiting[key]


def links_to_message(text: str) -> bool:
    """Return whether a text in Slack's markup has a link to a message."""
    return _PERMALINK.search(text) is not None


def has_preview(message: Payload) -> bool:
    """Return whether Slack shows a message behind a link below this one."""
    attachments = dicts_of(message.get("attachments"))
    return any(each.get("is_msg_unfurl") is True and each.get("is_share") is not True for each in attachments)
