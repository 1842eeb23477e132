"""Where an answer goes that Slack does not take in its thread: to the asker, or one sentence where it can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from cachetools import LRUCache

from adapters.shared.posting import Posted
from adapters.slack.api import SlackApi
from adapters.slack.identities import Identities
from adapters.slack.messages import write
from adapters.slack.own_messages import Place, find_own_in_channel, place_of, post_mark
from adapters.slack.parse import message_ts
from adapters.slack.render import answer_blocks, neutralize, notice_blocks, refused_blocks
from bot.domain.errors import AdapterError
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)

MAX_PLACES = 1_000


class Elsewhere:
    """See `adapters.shared.posting.Ways`; every call raises AdapterError where Slack refuses or fails."""

    def __init__(self, api: SlackApi, *, identities: Identities) -> None:
        self._api = api
        self._identities = identities
        self._places: LRUCache[str, Place] = LRUCache(MAX_PLACES)  # of direct messages, by the keys of their posts
        self.say = (self._say_in_thread, self._say_in_channel, self._say_to_asker)

    def place_of(self, post: Post) -> Place:
        """Return where the files of a post belong that was sent by `directly`, or found."""
        return self._places[post.key]

    async def directly(self, post: Post, refusal: AdapterError | None) -> str:
        """Send the post to its asker in a direct message and return its timestamp."""
        channel = await self._direct_channel(post)
        text = neutralize(post.text)
        # Without buttons: a press here could not be recognised as one on the other channel's answer.
        blocks = answer_blocks(text, turn_id=post.turn_id, is_last=False)
        before = [] if refusal is None else refused_blocks(post.conversation, await self._link(post), str(refusal))

        async def call(method: str, **arguments: Any) -> dict[str, Any]:
            return await self._post(post, channel, method=method, **arguments)

        answer = await write(
            call, "chat.postMessage", text, blocks, before=before, may_cut=True, metadata=post_mark(post)
        )
        return self._remember(post, channel, str(answer["ts"]))

    async def find(self, post: Post) -> Posted | None:
        """Look for what was sent of the post by `directly`, or said in its channel."""
        direct = await self._direct_channel(post)
        if ts := await self._find_in(direct, post):
            return Posted(self._remember(post, direct, ts), "direct")
        ts = await self._find_in(post.conversation.channel, post)
        return Posted(ts, "said") if ts else None

    async def _find_in(self, channel: str, post: Post) -> str | None:
        team, since = post.conversation.space, message_ts(post.in_reply_to)
        bot_user = (await self._identities.of(team)).user
        own = await find_own_in_channel(self._api, team, channel, bot_user=bot_user, since=since)
        return next((message.ts for message in own if message.kind == "post" and message.key == post.key), None)

    def _remember(self, post: Post, channel: str, ts: str) -> str:
        self._places[post.key] = Place(team=post.conversation.space, channel=channel, thread=ts)
        return ts

    async def _direct_channel(self, post: Post) -> str:
        team = post.conversation.space
        opened = await self._api.call("conversations.open", team=team, may_repeat=True, users=post.author_id)
        return str(opened["channel"]["id"])

    async def _link(self, post: Post) -> str:
        """Return the address of the question; empty where Slack does not tell it."""
        conversation = post.conversation
        try:
            answer = await self._api.call(
                "chat.getPermalink",
                team=conversation.space,
                wait_s=5.0,
                channel=conversation.channel,
                message_ts=message_ts(post.in_reply_to) or conversation.thread,
            )
        except AdapterError as error:
            log.info("question_not_linked", error=str(error))
            return ""
        return str(answer.get("permalink") or "")

    # --- one sentence ---

    async def _say_in_thread(self, post: Post, sentence: str) -> str:
        return await self._say(post, sentence, thread_ts=place_of(post.conversation).thread or None)

    async def _say_in_channel(self, post: Post, sentence: str) -> str:
        return await self._say(post, sentence)

    async def _say_to_asker(self, post: Post, sentence: str) -> str:
        """Say it so that only the asker sees it; such a message cannot be found again."""
        answer = await self._api.call(
            "chat.postEphemeral",
            team=post.conversation.space,
            channel=post.conversation.channel,
            user=post.author_id,
            text=sentence,
            blocks=notice_blocks(sentence),
        )
        return str(answer.get("message_ts") or post.key)

    async def _say(self, post: Post, sentence: str, **details: Any) -> str:
        blocks: Sequence[dict[str, Any]] = notice_blocks(sentence)
        answer = await self._post(
            post, post.conversation.channel, text=sentence, blocks=blocks, metadata=post_mark(post), **details
        )
        return str(answer["ts"])

    async def _post(
        self, post: Post, channel: str, *, method: str = "chat.postMessage", **details: Any
    ) -> dict[str, Any]:
        return await self._api.call(
            method, team=post.conversation.space, channel=channel, unfurl_links=False, unfurl_media=False, **details
        )
