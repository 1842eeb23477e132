"""What was said in a thread before a question, read in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.shared.payloads import dict_of, dicts_of
from adapters.slack.api import SlackApi
from adapters.slack.identities import Identities, Identity
from adapters.slack.own_messages import POST
from adapters.slack.parse import WRITTEN, author_of, message_ts
from adapters.slack.payloads import text_at, time_of
from adapters.slack.people import People
from adapters.slack.readable import Readable
from adapters.slack.words import quoted_message
from bot.domain.events import Earlier, MessageReceived, Quoted, Relation

# Slack returns a thread from its beginning, so that its end comes along only with all of it: the most that one call
# gives. Apps that are sold outside the Marketplace get 15: https://docs.slack.dev/reference/methods/conversations.replies
MOST = 999
PATIENCE_S = 10.0
MAX_THROUGH_APPS = 5  # users of posts with the mark of an app, of whom Slack is asked whether they are people


class ThreadReader:
    """Reads threads among people."""

    def __init__(self, api: SlackApi, *, identities: Identities, people: People, readable: Readable) -> None:
        self._api = api
        self._identities = identities
        self._people = people
        self._readable = readable

    async def before(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        """Return the messages before this one; see `bot.ports.platform.Adapter.read_earlier`. Raises AdapterError."""
        if not message.has_earlier:
            return Earlier()
        team = message.conversation.space
        answer = await self._read_thread(message, since)
        found = [each for each in dicts_of(answer.get("messages")) if _is_between(each, since, message.sent_at)]
        for each in found:
            self._people.learn(team, each)
        bot = await self._identities.of(team)
        people = await self._people_among(team, found)
        starters, replies = _read(found, message.conversation.thread, bot, people)
        kept = replies[max(0, len(replies) - limit) :]
        return Earlier(
            messages=await self._readable.quotations(team, [*starters, *kept]),
            is_cut=len(kept) < len(replies),
            lacks_newest=answer.get("has_more") is True,
        )

    async def _read_thread(self, message: MessageReceived, since: datetime | None) -> dict[str, Any]:
        return await self._api.call(
            "conversations.replies",
            team=message.conversation.space,
            may_repeat=True,
            wait_s=PATIENCE_S,
            channel=message.conversation.channel,
            ts=message.conversation.thread,
            latest=message_ts(message.event_key),
            oldest=f"{since.timestamp():.6f}" if since else None,
            include_all_metadata=True,
            limit=MOST,
        )

    async def _people_among(self, team: str, messages: Sequence[Mapping[str, Any]]) -> Set[str]:
        """Return the people who posted through an app."""
        through_apps = [text_at(each, "user") for each in reversed(messages) if text_at(each, "bot_id")]
        users = [user for user in dict.fromkeys(through_apps) if user][:MAX_THROUGH_APPS]
        are_people = await asyncio.gather(*(self._people.is_person(team, user) for user in users))
        return {user for user, is_person in zip(users, are_people, strict=True) if is_person}


def _is_between(message: Mapping[str, Any], since: datetime | None, question: datetime) -> bool:
    """Whether it was sent between them; Slack always adds the message that began the thread."""
    at = time_of(text_at(message, "ts"))
    return at is not None and at < question and (since is None or at > since)


def _read(
    messages: Sequence[Mapping[str, Any]], root: str, bot: Identity, people: Set[str]
) -> tuple[list[Quoted], list[Quoted]]:
    """Return the message that began the thread, where it is among them, and the replies."""
    starters: list[Quoted] = []
    replies: list[Quoted] = []
    for message in sorted(messages, key=lambda each: text_at(each, "ts")):
        is_starter = text_at(message, "ts") == root
        quoted = _quoted(message, "starter" if is_starter else "earlier", bot, people)
        if quoted is not None:
            (starters if is_starter else replies).append(quoted)
    return starters, replies


def _quoted(message: Mapping[str, Any], relation: Relation, bot: Identity, people: Set[str]) -> Quoted | None:
    """Return the message as a quotation; None for one that nobody wrote, and for what the bot says besides answers."""
    author = author_of(message, bot_user=bot.user, people=people)
    if author is None or message.get("subtype") not in WRITTEN:
        return None
    is_own = author.kind == "self" or (bool(bot.bot) and text_at(message, "bot_id") == bot.bot)
    if is_own and text_at(dict_of(message.get("metadata")), "event_type") != POST:
        return None
    quoted = quoted_message(
        message,
        relation,
        author=bot.user_name if is_own else author.name or author.id,
        author_id=author.id,
        kind="self" if is_own else author.kind,
        bot_user=bot.user,
    )
    if is_own:
        return replace(quoted, files=())
    return quoted if quoted.text or quoted.files or quoted.unread else None
