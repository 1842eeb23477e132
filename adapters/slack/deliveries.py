"""Dispatches what Slack delivers; a message is stored before its delivery is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

from adapters.shared.arrivals import Unanswered
from adapters.shared.payloads import Payload, dict_of
from adapters.shared.shares import on_behalf_of
from adapters.shared.tasks import Background
from adapters.slack.api import SlackApi
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.authors import Authors
from adapters.slack.commands import Commands
from adapters.slack.deciding import Decisions
from adapters.slack.filling import Forms
from adapters.slack.forms import parse_submission
from adapters.slack.home import Home
from adapters.slack.identities import Identities
from adapters.slack.interactions import Interactions
from adapters.slack.parse import MESSAGES, Arrived, HomeOpened, conversation_key, parse_event, parse_slash, team_of
from adapters.slack.payloads import text_at
from adapters.slack.people import People
from adapters.slack.presses import parse_press
from adapters.slack.questions import Questions
from adapters.slack.replies import Replies
from adapters.slack.standing import Standings
from adapters.slack.windows import Windows
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.ports.platform import Host

# These presses are stored before they are acknowledged, as far as Slack waits: three seconds, transport included.
STORED_PRESSES = ("tb:ask:", "tb:decline", "tb:example:", "tb:feedback")
PRESS_WAIT_S = 1.5


def make_deliveries(
    api: SlackApi,
    host: Host,
    *,
    arrivals: SlackArrivals,
    authors: Authors,
    identities: Identities,
    people: People,
    standings: Standings,
    replies: Replies,
    background: Background,
    prefix: str,
    at_work_in: Callable[[ConversationKey], int],
) -> Deliveries:
    """Return what takes every delivery, with the parts that answer commands and presses."""
    windows = Windows(api, replies=replies)
    questions = Questions(api, host, people=people, standings=standings, take=arrivals.take)
    forms = Forms(
        host,
        people=people,
        standings=standings,
        replies=replies,
        windows=windows,
        questions=questions,
        background=background,
    )
    commands = Commands(
        host,
        replies=replies,
        identities=identities,
        standings=standings,
        forms=forms,
        questions=questions,
        prefix=prefix,
    )
    interactions = Interactions(
        api,
        host,
        people=people,
        standings=standings,
        replies=replies,
        commands=commands,
        windows=windows,
        decisions=Decisions(host, people=people, standings=standings, replies=replies, windows=windows),
        forms=forms,
        questions=questions,
    )
    return Deliveries(
        arrivals=arrivals,
        authors=authors,
        commands=commands,
        interactions=interactions,
        forms=forms,
        home=Home(api, host, commands=commands),
        background=background,
        prefix=prefix,
        at_work_in=at_work_in,
    )


class Deliveries:
    """Takes every delivery; `prefix` precedes the names of slash commands.

    `at_work_in` returns the id of the turn that is shown as being worked on in a conversation, 0 where there is none.
    """

    def __init__(
        self,
        *,
        arrivals: SlackArrivals,
        authors: Authors,
        commands: Commands,
        interactions: Interactions,
        forms: Forms,
        home: Home,
        background: Background,
        prefix: str,
        at_work_in: Callable[[ConversationKey], int],
    ) -> None:
        self._arrivals = arrivals
        self._authors = authors
        self._commands = commands
        self._interactions = interactions
        self._forms = forms
        self._home = home
        self._background = background
        self._prefix = prefix
        self._at_work_in = at_work_in

    async def take(self, body: Payload, bot_user: str) -> dict[str, Any]:
        """Take one delivery and return what Slack gets for it; once this returns, the delivery may be acknowledged.

        Raises:
            BotError: What was delivered could not be stored; Slack must deliver it again.
        """
        with on_behalf_of(*_sender(body)):
            return await self._take(body, bot_user)

    async def _take(self, body: Payload, bot_user: str) -> dict[str, Any]:
        if "command" in body:
            self._background.spawn(self._commands.slash(parse_slash(body, prefix=self._prefix)), name="slash")
        elif body.get("type") == "event_callback":
            await self._take_event(await self._read(body, bot_user))
        elif body.get("type") == "view_submission":
            return await self._forms.submitted(parse_submission(body))
        elif (pressed := parse_press(body)) is not None:
            pressing = self._background.spawn(self._interactions.press(pressed), name="press")
            if pressed.action.startswith(STORED_PRESSES):
                await asyncio.wait([pressing], timeout=PRESS_WAIT_S)
        return {}

    async def _read(self, body: Payload, bot_user: str) -> Arrived | None:
        event = dict_of(body.get("event"))
        if event.get("type") in MESSAGES:
            return await self._authors.read(event, team=team_of(body), bot_user=bot_user)
        arrived = parse_event(body, bot_user=bot_user)
        if isinstance(arrived, CommandInvoked):  # Slack's Stop button, which is below what is being worked on
            return replace(arrived, turn_id=self._at_work_in(arrived.conversation))
        return arrived

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
        await self._arrivals.settled(invoked)  # a `stop` may be meant for the question before it
        await self._commands.spoken(invoked)


def _sender(body: Payload) -> tuple[str, ConversationKey]:
    """Return who caused a delivery, "" where it does not say, and in which conversation."""
    event, person = dict_of(body.get("event")), dict_of(body.get("user"))
    message = dict_of(body.get("message"))
    user = text_at(person, "id") or text_at(body, "user_id") or text_at(event, "user")
    channel = text_at(dict_of(body.get("channel")), "id") or text_at(body, "channel_id") or text_at(event, "channel")
    thread = text_at(event, "thread_ts") or text_at(event, "ts") or text_at(message, "thread_ts")
    return user, conversation_key(team_of(body), channel, thread or text_at(message, "ts"))
