"""Messages with what only Slack can say of them: whether a person posted through an app, what a link leads to."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from adapters.shared.payloads import Payload, dict_of
from adapters.shared.tasks import KeyedLock
from adapters.slack.parse import Told, parse_message
from adapters.slack.payloads import text_at
from adapters.slack.people import People
from adapters.slack.previews import Previews, has_preview, links_to_message
from adapters.slack.words import BEHIND_LINK
from bot.domain.events import MessageEdited, MessageReceived


class Authors:
    """Reads messages as `parse_message` does, and waits for what Slack says of their authors and links.

    Those of one thread are read in the order of their arrival: talk has to be heard before the question that follows.
    """

    def __init__(self, people: People, *, previews: Previews | None = None) -> None:
        self._people = people
        self._previews = previews or Previews()
        self._order: KeyedLock[tuple[str, str, str]] = KeyedLock()  # by workspace, channel and thread

    async def read(self, event: Payload, *, team: str, bot_user: str, channel: str = "") -> Told | None:
        """Return what a message event, or a message of a channel's history (then with `channel`), says to the bot."""

        def parse(event: Payload, people: Set[str] = frozenset()) -> Told | None:
            return parse_message(event, team=team, bot_user=bot_user, channel=channel, people=people)

        message = dict_of(event.get("message")) or event
        self._people.learn(team, message)
        self._previews.note(event, team=team)
        told = parse(event)
        user = text_at(message, "user")
        depends = _is_by_app(told) or (told is None and user != bot_user and _is_left_to_apps(event, channel))
        thread = text_at(message, "thread_ts") or text_at(message, "ts")
        async with self._order.hold((team, channel or text_at(event, "channel"), thread)):
            people: Set[str] = frozenset()
            if user and depends and await self._people.is_person(team, user):
                people = {user}
                told = parse(event, people)
            if not _lacks_preview(told, event):
                return told
            # What a history holds was shown long ago, or never.
            whole = event if channel else await self._previews.completed(event, team=team)
            return _with_unread(parse(whole, people), whole)


def _lacks_preview(told: Told | None, event: Payload) -> bool:
    """Whether it may be for the bot, and links to a message that is not shown below it."""
    return (
        isinstance(told, MessageReceived)
        and not told.is_talk
        and links_to_message(told.text)
        and not has_preview(event)
    )


def _with_unread(told: Told | None, event: Payload) -> Told | None:
    if isinstance(told, MessageReceived) and not has_preview(event):
        return replace(told, unread=(*told.unread, BEHIND_LINK))
    return told


def _is_left_to_apps(event: Payload, channel: str) -> bool:
    """Whether it is nothing because an app wrote it: a direct message, or a change without a mention."""
    is_change = event.get("subtype") == "message_changed"
    is_direct = (channel or text_at(event, "channel")).startswith("D")
    return bool(text_at(dict_of(event.get("message")) or event, "bot_id")) and (is_change or is_direct)


def _is_by_app(told: Told | None) -> bool:
    message = told.message if isinstance(told, MessageEdited) else told
    return isinstance(message, MessageReceived) and message.author_kind == "app"
