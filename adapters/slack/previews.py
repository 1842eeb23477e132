"""The messages behind links to messages: Slack shows them below a message, often only a moment after its delivery.

It tells one process of the bot of that, which may be another than the one that has the message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from cachetools import LRUCache

from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack.api import SlackApi
from adapters.slack.parse import PLATFORM
from adapters.slack.payloads import text_at
from bot.domain.errors import BotError
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

# The change that brought them was seen 0.96 s after the message: NousResearch/hermes-agent#95417. Slack waits three
# seconds for its acknowledgement, and names and files are looked up after this.
PATIENCE_S = 1.2
ASK_S = 0.8  # for the message as Slack shows it now
MAX_KNOWN = 500  # messages; a change may overtake the delivery of its message, and a mention is delivered twice
# https://docs.slack.dev/reference/methods/chat.getPermalink
_PERMALINK = re.compile(r"<https://[\w.-]+\.slack(?:-gov)?\.com/archives/\w+/p\d+[^<>]*>")

_Key = tuple[str, str, str]  # workspace, channel, timestamp of the message


# Returns what is below a message now: (message, its workspace).
Look = Callable[[Payload, str], Awaitable[Sequence[Payload]]]


class Previews:
    """Waits for the previews of links to messages; `look` finds those that were delivered to another process."""

    def __init__(self, *, patience_s: float = PATIENCE_S, look: Look | None = None) -> None:
        self._patience_s = patience_s
        self._look = look
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
        if key not in self._known and self._look is not None:
            self._known[key] = await self._look(event, team)
        known = self._known.setdefault(key, ())
        return {**event, "attachments": known} if known else dict(event)

    async def _wait(self, key: _Key) -> None:
        waiting = self._waiting[key] = asyncio.Event()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiting.wait(), self._patience_s)
        finally:
            del self._waiting[key]


class Looking:
    """Asks Slack for a message again, where its previews may have been delivered to another process."""

    def __init__(self, api: SlackApi, cluster: Cluster) -> None:
        self._api = api
        self._cluster = cluster

    async def below(self, event: Payload, team: str) -> Sequence[Payload]:
        """Return the previews below the message; none where Slack does not show them at once."""
        try:
            async with asyncio.timeout(ASK_S):
                if len(await self._cluster.members(PLATFORM)) > 1:
                    return await self._ask(event, team)
        except (BotError, TimeoutError) as error:
            log.info("previews_not_seen", error=str(error) or type(error).__name__)
        return ()

    async def _ask(self, event: Payload, team: str) -> Sequence[Payload]:
        ts = text_at(event, "ts")
        answer = await self._api.call(
            "conversations.replies",
            team=team,
            wait_s=ASK_S,
            channel=text_at(event, "channel"),
            ts=text_at(event, "thread_ts") or ts,
            oldest=ts,
            latest=ts,
            inclusive=True,
        )
        found = [message for message in dicts_of(answer.get("messages")) if text_at(message, "ts") == ts]
        return dicts_of(found[-1].get("attachments")) if found and has_preview(found[-1]) else ()


def links_to_message(text: str) -> bool:
    """Return whether a text in Slack's markup has a link to a message."""
    return _PERMALINK.search(text) is not None


def has_preview(message: Payload) -> bool:
    """Return whether Slack shows a message behind a link below this one."""
    attachments = dicts_of(message.get("attachments"))
    return any(each.get("is_msg_unfurl") is True and each.get("is_share") is not True for each in attachments)
