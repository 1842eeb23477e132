"""Messages on their way to the host: in the order of their conversation, with names in place of Slack's ids."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from cachetools import LRUCache

from adapters.shared.arrivals import Arrivals, Unanswered, Written, note_unanswered
from adapters.shared.tasks import Background, KeyedLock, RecentKeys
from adapters.slack.parse import PLATFORM, Told, message_ts
from adapters.slack.payloads import time_of
from adapters.slack.readable import Readable
from adapters.slack.standing import Standings
from bot.domain.answers import Accepted, Ignored, Known, Queued, Revised
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.ports.cluster import Cluster, LoneCluster

MAX_GONE = 1_000
MAX_UNANSWERED = 1_000
MAX_CHANGES = 1_000
# Deliveries may overtake each other: a follow-up, or talk, is kept this long, in case the mention that it follows comes
# later.
EARLY_S = 10.0
MAX_EARLY = 500
GONE_S = 60.0  # how much later than its deletion a message may arrive at another process


class SlackArrivals:
    """Takes messages, and changes to them, from deliveries, backfill and examples; `note` remembers their threads."""

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        readable: Readable,
        standings: Standings,
        note: Callable[[ConversationKey], Coroutine[Any, Any, None]],
        background: Background,
        cluster: Cluster | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._cluster = cluster or LoneCluster()
        self._readable = readable
        self._standings = standings
        self._note = note
        self._background = background
        self._unanswered: RecentKeys[str] = RecentKeys(MAX_UNANSWERED)  # mentions; each comes twice
        self._changes: RecentKeys[str] = RecentKeys(MAX_CHANGES)  # edits: that of a mention is delivered twice, too
        self._order: KeyedLock[ConversationKey] = KeyedLock()
        self._gone: RecentKeys[str] = RecentKeys(MAX_GONE)  # deleted messages, whose own deliveries may come later
        # As edits made them that were not for the bot; the messages as they were before may come later.
        self._edited: LRUCache[str, MessageReceived] = LRUCache(MAX_GONE)
        self._early: deque[tuple[float, MessageReceived]] = deque(maxlen=MAX_EARLY)  # in seconds of the loop's clock

    async def take(self, event: Told) -> None:
        """Hand a message, or a change to one, to the host; returns once it is stored. A missed command is dropped.

        A mention that gets no answer is a line of the log.

        Messages of one conversation are handed over in the order of their arrival, however long looking up names takes.

        Raises:
            BotError: It could not be stored; Slack must deliver it again.
        """
        if isinstance(event, CommandInvoked):  # backfill found it: its author has long invoked it again
            self._leave(event, "a command that was found while catching up" if event.is_addressed else "")
            return
        if isinstance(event, Unanswered):
            self._leave(event, event.reason)
            return
        if isinstance(event, MessageDeleted):
            self._gone.add(event.event_key)
            await self._tell(event, "gone", "unasked")
        elif event.event_key in self._gone:
            self._leave(event, "it was deleted before it was delivered" if _mentions_bot(event) else "")
            return
        async with self._order.hold(event.conversation):
            if isinstance(event, MessageReceived) and event.event_key in self._unanswered:
                return
            if isinstance(event, MessageReceived):
                event = self._edited.get(event.event_key, event)
            if isinstance(event, MessageEdited) and _change(event) in self._changes:
                return
            named = await self._readable_form(event)
            outcome = await self._arrivals.hand_over(named)
            if isinstance(event, MessageEdited):
                self._changes.add(_change(event))
                await self._note_edit(event, outcome)
            if isinstance(outcome, Queued) and await self._is_gone(event):
                await self._arrivals.hand_over(
                    MessageDeleted(conversation=event.conversation, event_key=event.event_key)
                )
                return
        if isinstance(outcome, Queued | Known):
            self._background.spawn(self._note(event.conversation), name="note")
        if isinstance(event, MessageReceived):
            self._keep_order(event, outcome)

    # Another process may hear first that a message was deleted. It says so before it looks for the turn, and the
    # process that stores the message looks after that: one of the two ends the turn. Of an edit that leaves nothing to
    # answer it says so after it found no turn: a message that is stored in that moment is answered as it was.

    async def _note_edit(self, event: MessageEdited, outcome: Accepted | Revised) -> None:
        """Remember an edit that is not for the bot: the message as it was before may still come."""
        if not isinstance(outcome, Ignored) or event.message.is_addressed:
            self._edited.pop(event.event_key, None)
            return
        self._edited[event.event_key] = event.message
        if not await self._arrivals.expects_follow_ups(event.conversation):
            await self._tell(event, "unasked")

    async def _tell(self, event: MessageDeleted | MessageEdited, *topics: str) -> None:
        said_at = time_of(message_ts(event.event_key))
        is_young = said_at is not None and time.time() - said_at.timestamp() < GONE_S
        if is_young and await self._cluster.has_company(PLATFORM):
            for topic in topics:
                await self._cluster.pause(f"{topic}/{event.event_key}", for_s=GONE_S)

    async def _is_gone(self, event: Written) -> bool:
        if not await self._cluster.has_company(PLATFORM):
            return False
        topic = "unasked" if isinstance(event, MessageReceived) and event.is_addressed else "gone"
        return await self._cluster.paused_s(f"{topic}/{event.event_key}") > 0

    async def settled(self, invoked: CommandInvoked) -> None:
        """Return once what arrived in the command's conversation before is stored."""
        self._unanswered.add(invoked.event_key)  # it gets its answer now; backfill may find it once more
        async with self._order.hold(invoked.conversation):
            pass

    def _leave(self, event: CommandInvoked | Unanswered | Written, reason: str) -> None:
        """Say once why the message gets no answer, where it mentions the bot."""
        if reason and self._unanswered.add(event.event_key):
            note_unanswered(Unanswered(event_key=event.event_key, reason=reason))

    def _keep_order(self, event: MessageReceived, outcome: Accepted | Revised) -> None:
        """Keep what does not seem to be for the bot; hand it over again after the mention that it followed."""
        now = asyncio.get_running_loop().time()
        if isinstance(outcome, Ignored) and event.author_kind == "app" and event.is_addressed:
            self._unanswered.add(event.event_key)
        elif isinstance(outcome, Ignored):
            self._early.append((now, event))
        elif event.is_addressed and isinstance(outcome, Queued):
            for kept in list(self._early):
                at, early = kept
                is_later = message_ts(early.event_key) > message_ts(event.event_key)
                if early.conversation == event.conversation and is_later and now - at < EARLY_S:
                    self._early.remove(kept)
                    self._background.spawn(self.take(early), name="early")

    async def _readable_form(self, event: Written) -> Written:
        match event:
            case MessageReceived(is_talk=True) | MessageDeleted():
                return event  # nobody reads it
            case MessageReceived():
                return await self._whole(event)
            case MessageEdited():
                return replace(event, message=await self._whole(event.message))

    async def _whole(self, message: MessageReceived) -> MessageReceived:
        return await self._readable.message(await self._standings.stamp(message))


def _mentions_bot(event: MessageReceived | MessageEdited) -> bool:
    return (event.message if isinstance(event, MessageEdited) else event).is_addressed


def _change(event: MessageEdited) -> str:
    return f"{event.event_key} {event.message.edited_at}"
