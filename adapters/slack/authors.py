"""Messages with their authors told apart: people, and the apps through which they may post."""

from __future__ import annotations

from collections.abc import Set

from adapters.shared.payloads import Payload, dict_of
from adapters.shared.tasks import KeyedLock
from adapters.slack.parse import Told, parse_message
from adapters.slack.payloads import text_at
from adapters.slack.people import People
from bot.domain.events import MessageEdited, MessageReceived


class Authors:
    """Reads messages as `parse_message` does, and asks Slack who wrote them where they do not say it.

    Those of one thread are read in the order of their arrival: talk has to be heard before the question that follows.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._order: KeyedLock[tuple[str, str, str]] = KeyedLock()  # by workspace, channel and thread

    async def read(self, event: Payload, *, team: str, bot_user: str, channel: str = "") -> Told | None:
        """Return what a message event, or a message of a channel's history (then with `channel`), says to the bot."""

        def parse(people: Set[str]) -> Told | None:
            return parse_message(event, team=team, bot_user=bot_user, channel=channel, people=people)

        message = dict_of(event.get("message")) or event
        self._people.learn(team, message)
        told = parse(frozenset())
        user = text_at(message, "user")
        depends = _is_by_app(told) or (told is None and user != bot_user and _is_left_to_apps(event, channel))
        thread = text_at(message, "thread_ts") or text_at(message, "ts")
        async with self._order.hold((team, channel or text_at(event, "channel"), thread)):
            if user and depends and await self._people.is_person(team, user):
                return parse({user})
        return told


def _is_left_to_apps(event: Payload, channel: str) -> bool:
    """Whether it is nothing because an app wrote it: a direct message, or a change without a mention."""
    is_change = event.get("subtype") == "message_changed"
    is_direct = (channel or text_at(event, "channel")).startswith("D")
    return bool(text_at(dict_of(event.get("message")) or event, "bot_id")) and (is_change or is_direct)


def _is_by_app(told: Told | None) -> bool:
    message = told.message if isinstance(told, MessageEdited) else told
    return isinstance(message, MessageReceived) and message.author_kind == "app"
