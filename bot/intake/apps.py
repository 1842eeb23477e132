"""Other bots, apps and workflows: which of them may ask, and what ends a conversation between two bots."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace

from cachetools import LRUCache

from bot.domain.events import ConversationKey, MessageReceived
from bot.ports.cluster import Cluster
from bot.ports.cluster_store import ClusterStore

MAX_IN_A_ROW = 5  # questions by apps in one conversation without a question by a person between them
# Questions by apps in all conversations of a channel: two bots may begin a new thread each time.
MAX_IN_CHANNEL = 20
CHANNEL_WINDOW_S = 600.0
MAX_PLACES = 10_000  # remembered at once
ROW_S = 86_400.0  # how long processes that share the database remember a row of questions
_TOO_OFTEN = "apps have asked too often without a question by a person between"

_Asked = tuple[float, str]  # when, in seconds of the clock, and the event key


class AppGate:
    """Decides which questions by apps are taken: those of listed apps, as long as no two bots talk to each other.

    `listed` has apps in the notation of rules: `slack:TEAM:ID`, `discord:ID`; `also` returns those that the policy of
    now names. `clock` gives seconds.
    """

    def __init__(
        self,
        listed: Collection[str] = (),
        *,
        also: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listed = frozenset(listed)
        self._also = also
        self._clock = clock
        self._asked: LRUCache[ConversationKey, deque[_Asked]] = LRUCache(MAX_PLACES)

    def note_person(self, message: MessageReceived) -> None:
        """Take note that a person asks: what apps asked before in that conversation does not count any more."""
        self._asked.pop(message.conversation, None)

    def why_not(self, message: MessageReceived) -> str:
        """Return why the question of an app is not taken, in a few words; "" where it is, and is counted."""
        if reason := self._why_never(message):
            return reason
        conversation, channel = message.conversation, replace(message.conversation, thread="")
        in_conversation, in_channel = self._asked_in(conversation), self._asked_in(channel)
        if any(key == message.event_key for _, key in (*in_conversation, *in_channel)):
            return ""  # a redelivery asks for nothing new
        now = self._clock()
        recent = sum(at > now - CHANNEL_WINDOW_S for at, _ in in_channel)
        if len(in_conversation) >= MAX_IN_A_ROW or recent >= MAX_IN_CHANNEL:
            return _TOO_OFTEN
        for place in {conversation, channel}:
            self._asked_in(place).append((now, message.event_key))
        return ""

    async def note_person_of_all(self, message: MessageReceived, cluster: Cluster, store: ClusterStore) -> None:
        """Do what `note_person` does, for all processes. Raises StoreError."""
        self.note_person(message)
        has_company = await cluster.has_company(message.conversation.platform)
        if has_company and (self._listed or self._also()):
            name = _in_a_row(message.conversation)
            if await store.announced(name) is not None:
                await store.announce(name, None)

    async def why_not_of_all(self, message: MessageReceived, cluster: Cluster, store: ClusterStore) -> str:
        """Do what `why_not` does, over all processes: two bots may be answered by two of them. Raises StoreError."""
        if not await cluster.has_company(message.conversation.platform):
            return self.why_not(message)
        if reason := self._why_never(message):
            return reason
        channel = replace(message.conversation, thread="")
        for name, calls, period_s in (
            (_in_a_row(message.conversation), MAX_IN_A_ROW, ROW_S),
            (f"apps in/{channel}", MAX_IN_CHANNEL, CHANNEL_WINDOW_S),
        ):
            if (await store.count(name, keys=[message.event_key], calls=calls, period_s=period_s)).wait_s:
                return _TOO_OFTEN
        return ""

    def _why_never(self, message: MessageReceived) -> str:
        if not message.is_addressed:
            return "an app has to mention the bot"
        return "" if self._is_listed(message) else "neither ALLOWED_APPS nor [access] apps lists the app"

    def _is_listed(self, message: MessageReceived) -> bool:
        ids = (message.author_id, *message.author_aliases)
        also = self._also()
        return any((name := str(message.conversation.person(one))) in self._listed or name in also for one in ids)

    def _asked_in(self, place: ConversationKey) -> deque[_Asked]:
        asked = self._asked.get(place)
        if asked is None:
            asked = self._asked[place] = deque(maxlen=MAX_IN_CHANNEL)
        return asked


def _in_a_row(conversation: ConversationKey) -> str:
    return f"apps in a row/{conversation}"
