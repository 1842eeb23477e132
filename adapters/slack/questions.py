"""Questions and calls that people choose instead of writing them: posted in their name, then taken as if written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from adapters.slack import kit, render
from adapters.slack.api import SlackApi
from adapters.slack.own_messages import notice_mark
from adapters.slack.parse import conversation_key, event_key
from adapters.slack.people import People
from adapters.slack.standing import Standings
from bot.domain.answers import Ready
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, MessageReceived
from bot.ports.platform import Host

Take = Callable[[MessageReceived], Awaitable[None]]


class NotAskedError(AdapterError):
    """The host does not take the question now; nothing was posted. Without a text it was said a moment ago."""


class Questions:
    """Begins questions in the name of those who chose them; `take` takes what people write.

    The host is asked before anything is posted: questions that it does not take must not fill a channel. `key` is the
    event key of the press.
    """

    def __init__(self, api: SlackApi, host: Host, *, people: People, standings: Standings, take: Take) -> None:
        self._api = api
        self._host = host
        self._people = people
        self._standings = standings
        self._take = take

    async def ask(self, place: ConversationKey, user: str, text: str, *, key: str) -> None:
        """Ask it in the thread, or without one in a thread of its own; without a channel, in direct messages.

        Raises:
            NotAskedError: See there.
            AdapterError: Slack does not let the bot write there.
        """
        said = f"<@{user}> asks: {render.notification(render.neutralize(text))}"
        await self._take(await self._written(place, user, text, said=said, key=key))

    async def run(self, place: ConversationKey, user: str, ready: Ready, *, key: str) -> None:
        """Make a call that the person asked for, likewise. Raises AdapterError."""
        said = f"<@{user}> runs: {kit.literal(ready.text.removeprefix('/run '))}"
        message = await self._written(place, user, ready.text, said=said, key=key, about="run")
        await self._take(replace(message, run=ready.run))

    async def _written(
        self, place: ConversationKey, user: str, text: str, *, said: str, key: str, about: str = "example"
    ) -> MessageReceived:
        team, thread = place.space, place.thread
        channel = place.channel or await self._direct_channel(team, user)
        asked = MessageReceived(
            conversation=conversation_key(team, channel, thread),
            event_key=key,
            author_id=user,
            author_name=await self._people.name(team, user),
            text=text,
            sent_at=datetime.now(UTC),
            is_shared=not channel.startswith("D"),
        )
        if (refused := await self._host.may_ask(await self._standings.stamp(asked))) is not None:
            raise NotAskedError(refused.notice)
        posted = await self._api.call(
            "chat.postMessage",
            team=team,
            channel=channel,
            thread_ts=thread or None,
            text=said,
            metadata=notice_mark(about),
            unfurl_links=False,
            unfurl_media=False,
        )
        ts = str(posted["ts"])
        return replace(
            asked,
            conversation=conversation_key(team, channel, thread or ts),
            event_key=event_key(team, channel, ts),
            sent_at=datetime.now(UTC),
            admitted_as=key,
        )

    async def _direct_channel(self, team: str, user: str) -> str:
        opened = await self._api.call("conversations.open", team=team, may_repeat=True, users=user)
        return str(opened["channel"]["id"])
