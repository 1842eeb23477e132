"""The files of an answer, posted below it, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from adapters.shared.tasks import RecentKeys
from adapters.slack.api import SlackApi
from adapters.slack.files import file_name, upload
from adapters.slack.own_messages import FindOwn, OwnMessage, Place, notice_mark
from adapters.slack.parse import message_ts
from adapters.slack.render import notification
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)

MAX_UPLOADED = 1_000


class Uploads:
    """Remembers which files are there; `find_own` finds the bot's messages in a place from a timestamp on."""

    def __init__(self, api: SlackApi, *, find_own: FindOwn) -> None:
        self._api = api
        self._find_own = find_own
        self._uploaded: RecentKeys[tuple[str, int]] = RecentKeys(MAX_UPLOADED)
        self._unsure: RecentKeys[str] = RecentKeys(MAX_UPLOADED)  # posts of which a file may be visible, unknown to us

    async def upload_missing(
        self, post: Post, reference: str, *, place: Place, own: Sequence[OwnMessage] | None = None
    ) -> None:
        """Post the files that belong below the post, each once; `own` is what the thread shows, where that is known.

        Raises:
            AdapterError: Trying again can help.
        """
        if post.key in self._unsure and own is None:
            own = await self._own_if_shown(place, since=message_ts(post.in_reply_to))
        # Files above the post belong to an earlier answer.
        there = [name for message in own or () if message.ts > reference for name in message.file_names]
        for number, attachment in enumerate(_distinct(post.attachments)):
            if (post.key, number) in self._uploaded or file_name(attachment) in there:
                continue
            try:
                await self._upload(post, attachment, place)
            except AdapterError as error:
                if isinstance(error, RateLimitError) or not (error.is_permanent or post.way != "whole"):
                    self._unsure.add(post.key)
                    raise
                await self._say_not_uploaded(post, place, attachment, error)
            self._uploaded.add((post.key, number))
        self._unsure.discard(post.key)

    async def _upload(self, post: Post, attachment: Attachment, place: Place) -> None:
        if post.way == "without_files":
            raise AdapterError(post.trouble, is_permanent=True)
        await upload(self._api, team=place.team, channel=place.channel, thread_ts=place.thread, attachment=attachment)

    async def _own_if_shown(self, place: Place, *, since: str) -> Sequence[OwnMessage]:
        try:
            return await self._find_own(place, since)
        except AdapterError as error:
            if not error.is_permanent:
                raise
            log.warning("own_messages_not_found", error=str(error))
            return ()

    async def _say_not_uploaded(self, post: Post, place: Place, attachment: Attachment, error: AdapterError) -> None:
        try:
            await self._api.call(
                "chat.postMessage",
                team=place.team,
                channel=place.channel,
                thread_ts=place.thread,
                text=notification(f"{file_name(attachment)} could not be posted. {error}"),
                metadata=notice_mark("file"),
            )
        except AdapterError as failure:
            if post.way == "whole" and not failure.is_permanent:
                raise
            log.warning("file_neither_posted_nor_explained", error=str(failure))


def _distinct(attachments: Sequence[Attachment]) -> Sequence[Attachment]:
    """Return the attachments under names that differ: after a crash, a file is recognised by its name."""
    names = [attachment.name for attachment in attachments]
    return [
        attachment if names.count(attachment.name) == 1 else replace(attachment, name=f"{number}-{attachment.name}")
        for number, attachment in enumerate(attachments, start=1)
    ]
