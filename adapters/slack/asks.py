"""What people are asked, posted once in Slack and changed from then on; how it is found again after a crash."""

from __future__ import annotations

from typing import Any

from adapters.slack.api import SlackApi
from adapters.slack.ask_blocks import ask_blocks
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
        ts = next((message.ts for message in own if message.kind == "ask" and message.key == post.key), None)
        return Found(reference=_reference(channel, ts)) if ts else None

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
        await self._api.call("chat.update", team=post.place.space, may_repeat=True, channel=channel, ts=ts, **content)
        return post.reference

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
