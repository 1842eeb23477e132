"""Notices that the bot posts in Discord outside of any turn, and how they are found again after a crash."""

from __future__ import annotations

from adapters.discord.api import DiscordApi
from adapters.discord.own_messages import MAX_PAGES, latest_messages, send_message
from adapters.discord.render import notice_text
from bot.domain.budgets import Notice
from bot.ports.platform import Found


class NoticePosts:
    """Posts notices in their channel."""

    def __init__(self, api: DiscordApi) -> None:
        self._api = api

    async def post(self, notice: Notice) -> str:
        """See `bot.ports.platform.Adapter.post_notice`."""
        return await send_message(self._api, _channel(notice), text=notice_text(notice.text), key=notice.key)

    async def find(self, notice: Notice) -> Found | None:
        """See `bot.ports.platform.Adapter.find_notice`: it is recognised by its words, which name its day or month."""
        wanted = notice_text(notice.text)
        for message in await latest_messages(self._api, _channel(notice), max_pages=MAX_PAGES):
            if message["author"]["id"] == self._api.identity.user and message["content"] == wanted:
                return Found(reference=str(message["id"]))
        return None


def _channel(notice: Notice) -> str:
    return notice.place.thread or notice.place.channel
