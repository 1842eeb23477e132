"""The messages of what is asked: posted once, changed from then on, and found again after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.ask_marks import About, key_mark, parse_ask_press
from adapters.discord.ask_view import ask_message
from adapters.discord.errors import OLD_EDITS, UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import (
    MAX_PAGES,
    custom_ids,
    edit_message,
    id_of,
    latest_messages,
    messages_after,
    place_of,
    send_message,
)
from adapters.discord.parse import event_key, message_id, message_place
from bot.domain.asks import AskPost, AskView
from bot.domain.errors import RateLimitError
from bot.ports.platform import Found

log = structlog.stdlib.get_logger(__name__)

OLD_EDIT_PAUSE_S = 30.0  # Discord does not say how many changes of messages older than an hour it takes, or when
UNSAID = "The arguments' values are left out: Discord blocked the message with them. Details shows them."


class AskPosts:
    """Posts and changes them. A reference is the event key of the message."""

    def __init__(self, api: DiscordApi) -> None:
        self._api = api

    async def put(self, post: AskPost) -> str:
        """See `bot.ports.platform.Adapter.put_ask`."""
        try:
            return await self._put(post, post.view)
        except DiscordRefusedError as error:
            if not error.is_about_words:
                raise
            log.warning("ask_refused", ask=post.view.ask_id, error=str(error))
            return await self._put(post, _without_values(post.view))

    async def find(self, post: AskPost) -> Found | None:
        """See `bot.ports.platform.Adapter.find_ask`. It may be anywhere among the latest messages of its place."""
        channel = await self._channel(post)
        wanted = About(ask_id=post.view.ask_id, key=key_mark(post.key))
        for message in await self._messages(channel, since=message_id(post.in_reply_to)):
            if message["author"]["id"] == self._api.identity.user and wanted in map(
                parse_ask_press, custom_ids(message)
            ):
                return Found(reference=event_key(channel, str(message["id"])))
        return None

    async def _put(self, post: AskPost, view: AskView) -> str:
        channel, message = message_place(post.reference)
        if not message:
            return await self._post(post, view, key=post.key)
        shown = ask_message(view, key=post.key)
        try:
            await edit_message(self._api, channel, message, text=shown.text, rows=shown.rows)
        except DiscordRefusedError as error:
            if error.code == OLD_EDITS:  # it passes
                raise RateLimitError(retry_after_s=OLD_EDIT_PAUSE_S) from None
            if error.code == UNKNOWN_MESSAGE and view.state != "pending":
                return post.reference  # someone deleted it on purpose; the audit has the record
            if not error.may_be_posted_afresh:
                raise
            log.info("ask_posted_afresh", ask=view.ask_id, code=error.code)
            return await self._post(post, view, key=f"{post.key}.{view.version}")
        return post.reference

    async def _post(self, post: AskPost, view: AskView, *, key: str) -> str:
        channel, shown = await self._channel(post), ask_message(view, key=post.key)
        reply_to = "" if post.person else message_id(post.in_reply_to)
        message = await send_message(self._api, channel, text=shown.text, rows=shown.rows, reply_to=reply_to, key=key)
        return event_key(channel, message)

    async def _channel(self, post: AskPost) -> str:
        if not post.person:
            return place_of(post.place, post.in_reply_to).channel
        body = {"recipient_id": post.person}  # the same channel each time
        return id_of(await self._api.call("POST", "/users/@me/channels", json=body, is_repeatable=False))

    async def _messages(self, channel: str, *, since: str) -> Sequence[dict[str, Any]]:
        if since:
            return await messages_after(self._api, channel, since=since, max_pages=MAX_PAGES, is_repeatable=False)
        return await latest_messages(self._api, channel, max_pages=MAX_PAGES)


def _without_values(view: AskView) -> AskView:
    """Return the view without what others wrote, for a place that blocks their words."""
    arguments = tuple(replace(line, value="", is_cut=True) for line in view.arguments)
    return replace(view, arguments=arguments, message="", change="", lines=(*view.lines, UNSAID))
