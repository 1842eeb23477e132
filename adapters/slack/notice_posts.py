"""Notices that the bot posts in Slack outside of any turn, and how they are found again after a crash."""

from __future__ import annotations

from adapters.slack.api import SlackApi
from adapters.slack.identities import Identities
from adapters.slack.own_messages import MAX_PAGES, find_own_in_channel, keyed_notice_mark
from adapters.slack.render import notice_blocks
from bot.domain.budgets import Notice
from bot.ports.platform import Found
from bot.text.moments import plain_moments


class NoticePosts:
    """Posts notices in their channel, outside of threads."""

    def __init__(self, api: SlackApi, *, identities: Identities) -> None:
        self._api = api
        self._identities = identities

    async def post(self, notice: Notice) -> str:
        """See `bot.ports.platform.Adapter.post_notice`."""
        answer = await self._api.call(
            "chat.postMessage",
            team=notice.place.space,
            channel=notice.place.channel,
            text=plain_moments(notice.text),
            blocks=notice_blocks(notice.text),
            metadata=keyed_notice_mark(notice.key),
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    async def find(self, notice: Notice) -> Found | None:
        """See `bot.ports.platform.Adapter.find_notice`."""
        place = notice.place
        bot = (await self._identities.of(place.space)).user
        own = await find_own_in_channel(self._api, place.space, place.channel, bot_user=bot, max_pages=MAX_PAGES)
        return next((Found(reference=one.ts) for one in own if one.kind == "notice" and one.key == notice.key), None)
