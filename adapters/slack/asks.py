"""What people are asked, posted once in Slack and changed from then on; how it is found again after a crash."""

from __future__ import annotations

from typing import Any

import structlog

from adapters.slack.api import SlackApi
from adapters.slack.ask_blocks import ask_blocks
from adapters.slack.errors import SlackRefusedError
from adapters.slack.identities import Identities
from adapters.slack.own_messages import (
    MAX_PAGES,
    OwnMessage,
    ask_mark,
    find_own_in_channel,
    find_own_messages,
    place_of,
)
from adapters.slack.parse import message_ts
from bot.domain.asks import AskPost
from bot.domain.errors import AdapterError
from bot.ports.platform import Found

log = structlog.stdlib.get_logger(__name__)

# A message that cannot be changed so can still be posted afresh: https://docs.slack.dev/reference/methods/chat.update
GONE = "message_not_found"
UNCHANGEABLE = frozenset({GONE, "edit_window_closed", "cant_update_message"})


class Asks:
    """Shows what is asked in its thread, in another channel, or in direct messages with a person."""

    def __init__(self, api: SlackApi, *, identities: Identities) -> None:
        self._api = api
        self._identities = identities

    async def put(self, post: AskPost) -> str:
        """Post it, or change its message to the view; return the message's channel and timestamp.

        Raises:
            RateLimitError: Slack asked for a pause; nothing was posted or changed.
            AdapterError: Any other refusal; a new message may or may not be visible.
        """
        blocks, text = ask_blocks(post.view)
        content: dict[str, Any] = {"blocks": blocks, "text": text, "metadata": ask_mark(post)}
        return await (self._change(post, content) if post.reference else self._post(post, content))

    async def find(self, post: AskPost) -> Found | None:
        """Look for the message where it would be, among the bot's newest. Raises AdapterError."""
        channel = await self._channel(post)
        own = await (self._own_in_thread(post) if _thread(post) else self._own_in_channel(post, channel))
        shown = [message.ts for message in own if message.kind == "ask" and message.key == post.key]
        # There are two where the older one could not be changed any more.
        return Found(reference=_reference(channel, max(shown))) if shown else None

    async def _post(self, post: AskPost, content: dict[str, Any]) -> str:
        channel = await self._channel(post)
        answer = await self._api.call(
            "chat.postMessage",
            team=post.place.space,
            channel=channel,
            thread_ts=_thread(post) or None,
            unfurl_links=False,
            unfurl_media=False,
            **content,
        )
        return _reference(channel, str(answer["ts"]))

    async def _change(self, post: AskPost, content: dict[str, Any]) -> str:
        channel, _, ts = post.reference.partition("/")
        if not ts:
            raise AdapterError("That is no message of Slack's.", is_permanent=True)
        try:
            await self._update(post, channel, ts, content)
        except SlackRefusedError as error:
            if error.code == GONE and post.view.state != "pending":
                return post.reference  # someone deleted it on purpose; the audit has the record
            if error.code not in UNCHANGEABLE:
                raise
            log.info("ask_posted_afresh", ask=post.view.ask_id, code=error.code)
            return await self._post_afresh(post, content)
        return post.reference

    async def _update(self, post: AskPost, channel: str, ts: str, content: dict[str, Any]) -> None:
        await self._api.call("chat.update", team=post.place.space, may_repeat=True, channel=channel, ts=ts, **content)

    async def _post_afresh(self, post: AskPost, content: dict[str, Any]) -> str:
        """Post it as a new message, or change the one that was posted so before a crash."""
        found = await self.find(post)
        if found is None or found.reference == post.reference:
            return await self._post(post, content)
        channel, _, ts = found.reference.partition("/")
        await self._update(post, channel, ts, content)
        return found.reference

    async def _channel(self, post: AskPost) -> str:
        if not post.person:
            return post.place.channel
        # https://docs.slack.dev/reference/methods/conversations.open: one that is open already is returned as it is
        opened = await self._api.call("conversations.open", team=post.place.space, may_repeat=True, users=post.person)
        return str(opened["channel"]["id"])

    async def _own_in_thread(self, post: AskPost) -> list[OwnMessage]:
        place = place_of(post.place)
        since = message_ts(post.in_reply_to) or place.thread
        return list(await find_own_messages(self._api, place, bot_user=await self._bot(post), since=since))

    async def _own_in_channel(self, post: AskPost, channel: str) -> list[OwnMessage]:
        bot = await self._bot(post)
        return list(await find_own_in_channel(self._api, post.place.space, channel, bot_user=bot, max_pages=MAX_PAGES))

    async def _bot(self, post: AskPost) -> str:
        return (await self._identities.of(post.place.space)).user


def _thread(post: AskPost) -> str:
    return "" if post.person else post.place.thread


def _reference(channel: str, ts: str) -> str:
    return f"{channel}/{ts}"
