"""Dispatches what Slack delivers; a message is stored before its delivery is acknowledged."""

from __future__ import annotations

import asyncio
from typing import assert_never

from adapters.shared.arrivals import Unanswered
from adapters.shared.payloads import Payload, dict_of
from adapters.shared.tasks import Background
from adapters.slack.api import SlackApi
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.authors import Authors
from adapters.slack.commands import Commands
from adapters.slack.home import Home
from adapters.slack.identities import Identities
from adapters.slack.interactions import Interactions
from adapters.slack.parse import MESSAGES, Arrived, HomeOpened, parse_event, parse_slash, team_of
from adapters.slack.people import People
from adapters.slack.presses import parse_press
from adapters.slack.replies import Replies
from adapters.slack.windows import Windows
from bot.domain.events import CommandInvoked, MessageDeleted, MessageEdited, MessageReceived
from bot.ports.platform import Host

# These presses are stored before they are acknowledged, as far as Slack waits: three seconds, transport included.
STORED_PRESSES = ("tb:example:", "tb:feedback")
PRESS_WAIT_S = 1.5


def make_deliveries(
    api: SlackApi,
    host: Host,
    *,
    arrivals: SlackArrivals,
    authors: Authors,
    identities: Identities,
    people: People,
    replies: Replies,
    background: Background,
    prefix: str,
) -> Deliveries:
    """Return what takes every delivery, with the parts that answer commands and presses."""
    commands = Commands(host, replies=replies, identities=identities, prefix=prefix)
    interactions = Interactions(
        api,
        host,
        people=people,
        replies=replies,
        commands=commands,
        windows=Windows(api, replies=replies, commands=commands),
        take=arrivals.take,
    )
    return Deliveries(
        arrivals=arrivals,
        authors=authors,
        commands=commands,
        interactions=interactions,
        home=Home(api, host, commands=commands),
        background=background,
        prefix=prefix,
    )


class Deliveries:
    """Takes every delivery; `prefix` precedes the names of slash commands."""

    def __init__(
        self,
        *,
        arrivals: SlackArrivals,
        authors: Authors,
        commands: Commands,
        interactions: Interactions,
        home: Home,
        background: Background,
        prefix: str,
    ) -> None:
        self._arrivals = arrivals
        self._authors = authors
        self._commands = commands
        self._interactions = interactions
        self._home = home
        self._background = background
        self._prefix = prefix

    async def take(self, body: Payload, bot_user: str) -> None:
        """Take one delivery; when this returns, Slack may be told that it arrived.

        Raises:
            BotError: What was delivered could not be stored; Slack must deliver it again.
        """
        if "command" in body:
            self._background.spawn(self._commands.slash(parse_slash(body, prefix=self._prefix)), name="slash")
        elif body.get("type") == "event_callback":
            await self._take_event(await self._read(body, bot_user))
        elif (pressed := parse_press(body)) is not None:
            pressing = self._background.spawn(self._interactions.press(pressed), name="press")
            if pressed.action.startswith(STORED_PRESSES):
                await asyncio.wait([pressing], timeout=PRESS_WAIT_S)

    async def _read(self, body: Payload, bot_user: str) -> Arrived | None:
        event = dict_of(body.get("event"))
        if event.get("type") in MESSAGES:
            return await self._authors.read(event, team=team_of(body), bot_user=bot_user)
        return parse_event(body, bot_user=bot_user)

    async def _take_event(self, arrived: Arrived | None) -> None:
        match arrived:
            case None:
                pass
            case HomeOpened():
                self._background.spawn(self._home.show(arrived), name="home")
            case CommandInvoked():
                self._background.spawn(self._take_command(arrived), name="command")
            case MessageReceived() | MessageEdited() | MessageDeleted() | Unanswered():
                await self._arrivals.take(arrived)
            case _:
                assert_never(arrived)

    async def _take_command(self, invoked: CommandInvoked) -> None:
        await self._arrivals.settled(invoked.conversation)  # a `stop` may be meant for the question before it
        await self._commands.spoken(invoked)
