"""Talk among people where the bot takes part: who was asked something is expected to answer that, not the bot."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import TTLCache

from bot.domain.events import ConversationKey, MessageReceived

EXPECTED_S = 300.0  # how long an answer is waited for
MAX_EXPECTED = 10_000  # answers at once


class ExpectedAnswers:
    """Remembers whom people spoke to, in this process. `now` gives seconds that never go back."""

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
