"""Admission: which messages become turns, and the sentence for those that do not."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace

from bot.domain.errors import BotError
from bot.domain.events import MessageReceived
from bot.text.cleaning import clean

WINDOW_S = 60.0
MAX_AUTHORS = 10_000  # remembered at once; the one who was silent longest is forgotten first


class RefusedError(BotError):
    """The message is not taken; `str()` says to its author why and what to do."""


class Admission:
    """Checks and cleans messages before they are stored. `clock` gives seconds that never go back."""

    def __init__(
        self, *, max_input_chars: int, requests_per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_input_chars = max_input_chars
        self._requests_per_minute = requests_per_minute
        self._clock = clock
        self._recent: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()

    def admit(self, event: MessageReceived) -> MessageReceived:
        """Return the message as it is to be stored. Raises RefusedError."""
        text = clean(event.text)
        if not text and not event.files:
            raise RefusedError("The message is empty. Write what you would like to know or have done.")
        if len(text) > self._max_input_chars:
            raise RefusedError(
                f"The message has {len(text):,} characters; at most {self._max_input_chars:,} are taken. "
                f"Please shorten it or split it up."
            )
        self._count(event)
        # the model and the history show the name on one line with the text
        return replace(event, text=text, author_name=" ".join(clean(event.author_name).split()))

    def _count(self, event: MessageReceived) -> None:
        author = f"{event.conversation.platform}/{event.conversation.space}/{event.author_id}"
        recent = self._recent.setdefault(author, deque())
        self._recent.move_to_end(author)
        if len(self._recent) > MAX_AUTHORS:
            self._recent.popitem(last=False)
        now = self._clock()
        while recent and recent[0][0] <= now - WINDOW_S:
            recent.popleft()
        if any(key == event.event_key for _, key in recent):
            return  # a redelivery asks for nothing new
        if len(recent) >= self._requests_per_minute:
            wait_s = recent[0][0] + WINDOW_S - now
            raise RefusedError(
                f"That is more than {self._requests_per_minute} messages in a minute. "
                f"Please send it again in {math.ceil(wait_s)} s."
            )
        recent.append((now, event.event_key))
