"""Messages on their way to the host: in the order of their conversation, with names in place of Slack's ids."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from adapters.shared.arrivals import Arrivals, Written
from adapters.shared.tasks import Background, KeyedLock, RecentKeys
from adapters.slack.identities import Identities
from adapters.slack.parse import message_ts
from adapters.slack.people import People, mentions, with_names
from bot.domain.answers import Accepted, Ignored, Known, Queued, Revised
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived

MAX_GONE = 1_000
MAX_NAMED = 20  # people in one message whose names are looked up; Slack answers 100 a minute
# Deliveries may overtake each other: a follow-up is kept this long, in case the message that it follows comes later.
EARLY_S = 10.0
MAX_EARLY = 200


class SlackArrivals:
    """Takes messages, and changes to them, from deliveries, backfill and examples; `note` remembers their threads."""

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        identities: Identities,
        people: People,
        note: Callable[[ConversationKey], Coroutine[Any, Any, None]],
        background: Background,
    ) -> None:
        self._arrivals = arrivals
        self._identities = identities
        self._people = people
        self._note = note
        self._background = background
        self._order: KeyedLock[ConversationKey] = KeyedLock()
        self._gone: RecentKeys[str] = RecentKeys(MAX_GONE)  # deleted messages, whose own deliveries may come later
        self._early: deque[tuple[float, MessageReceived]] = deque(maxlen=MAX_EARLY)  # in seconds of the loop's clock

    async def take(self, event: Written | CommandInvoked) -> None:
        """Hand a message, or a change to one, to the host; returns once it is stored. A missed command is dropped.

        Messages of one conversation are handed over in the order of their arrival, however long looking up names takes.

        Raises:
            BotError: It could not be stored; Slack must deliver it again.
        """
        if isinstance(event, CommandInvoked):
            return  # backfill found it: its author has long invoked it again
        if isinstance(event, MessageDeleted):
            self._gone.add(event.event_key)
        elif event.event_key in self._gone:
            return
        async with self._order.hold(event.conversation):
            named = await self._with_names(event)
            outcome = await self._arrivals.hand_over(named)
        if isinstance(event, MessageReceived):
            if isinstance(outcome, Queued | Known):
                self._background.spawn(self._note(event.conversation), name="note")
            self._keep_order(event, outcome)

    async def settled(self, conversation: ConversationKey) -> None:
        """Return once what arrived in the conversation before is stored."""
        async with self._order.hold(conversation):
            pass

    def _keep_order(self, event: MessageReceived, outcome: Accepted | Revised) -> None:
        """Keep a follow-up that does not seem to be for the bot; hand it over after the mention that it followed."""
        now = asyncio.get_running_loop().time()
        if isinstance(outcome, Ignored):
            self._early.append((now, event))
        elif event.is_addressed and isinstance(outcome, Queued):
            for at, early in list(self._early):
                is_later = message_ts(early.event_key) > message_ts(event.event_key)
                if early.conversation == event.conversation and is_later and now - at < EARLY_S:
                    self._background.spawn(self.take(early), name="early")

    async def _with_names(self, event: Written) -> Written:
        match event:
            case MessageReceived():
                return await self._named(event)
            case MessageEdited():
                return replace(event, message=await self._named(event.message))
            case MessageDeleted():
                return event

    async def _named(self, message: MessageReceived) -> MessageReceived:
        team = message.conversation.space
        bot_user = (await self._identities.of(team)).user
        mentioned = sorted(mentions(message.text) - {bot_user, message.author_id})
        people = [message.author_id, *mentioned[: MAX_NAMED - 1]]
        names = await asyncio.gather(*(self._people.name(team, person) for person in people))
        known = dict(zip(people, names, strict=True))
        return replace(
            message, author_name=known[message.author_id], text=with_names(message.text, known, bot_user).strip()
        )
