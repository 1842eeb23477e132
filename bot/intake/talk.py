"""Talk among people where the bot takes part: who was asked something is expected to answer that, not the bot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache

from bot.domain.events import ConversationKey, MessageReceived
from bot.ports.cluster import Cluster
from bot.ports.store import Store

EXPECTED_S = 300.0  # how long an answer is waited for
MAX_EXPECTED = 10_000  # answers at once


class ExpectedAnswers:
    """Remembers whom people spoke to, while this process is alone. `now` gives seconds that never go back."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        # The event key of the answer, once there is one: it may be delivered again.
        self._expected = TTLCache[tuple[ConversationKey, str], str](MAX_EXPECTED, ttl=EXPECTED_S, timer=now)

    def note(self, talk: MessageReceived) -> None:
        """Expect an answer from each person whom it was said to, unless it is such an answer itself."""
        for person in () if self.is_one(talk) else talk.talks_to:
            self._expected[talk.conversation, person] = ""

    def is_one(self, message: MessageReceived) -> bool:
        """Return whether its author was spoken to, and this is the first that they say since; not to the bot."""
        key = (message.conversation, message.author_id)
        answered_by = self._expected.get(key)
        if answered_by is None or message.is_addressed:
            self._expected.pop(key, None)
            return False
        if not answered_by:
            self._expected[key] = message.event_key
        return answered_by in ("", message.event_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonTalk:
    """What `ExpectedAnswers` does, for all processes: a question may reach one of them, and its answer another.

    A process that is alone uses `own`. Raises StoreError.
    """

    cluster: Cluster
    store: Store
    own: ExpectedAnswers

    async def note(self, talk: MessageReceived) -> None:
        """Expect an answer from each person whom it was said to, unless it is such an answer itself."""
        if not await self.cluster.has_company(talk.conversation.platform):
            self.own.note(talk)
        elif talk.talks_to and await self.store.takes_part(talk.conversation) and not await self.is_one(talk):
            for person in talk.talks_to:
                name = _name(talk.conversation, person)
                await self.store.announce(_answer(name), None)
                await self.store.announce(name, "", for_s=EXPECTED_S)

    async def is_one(self, message: MessageReceived) -> bool:
        """Return whether its author was spoken to, and this is the first that they say since; not to the bot."""
        if not await self.cluster.has_company(message.conversation.platform):
            return self.own.is_one(message)
        name = _name(message.conversation, message.author_id)
        expected = await self.store.announced(name)
        if expected is None:
            return False
        if message.is_addressed:
            await self.store.announce(name, None)
            return False
        # Of two messages at two processes one is the answer.
        too_late_s = await self.store.spend(_answer(name), calls=1, period_s=EXPECTED_S, key=message.event_key)
        return not too_late_s


def _answer(name: str) -> str:
    return f"{name}/answer"


def _name(conversation: ConversationKey, person: str) -> str:
    return f"talk/{conversation}/{person}"
