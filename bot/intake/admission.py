"""Admission: which messages become turns, and the sentence for those that do not."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from cachetools import LRUCache

from bot.domain.answers import Refused
from bot.domain.events import MessageReceived
from bot.ports.store import author_key
from bot.text.cleaning import clean
from bot.turns.quoting import shorten

WINDOW_S = 60.0
MAX_AUTHORS = 10_000  # remembered at once; the one who was silent longest is forgotten first


class Admission:
    """Checks and cleans messages before they are stored. `clock` gives seconds that never go back."""

    def __init__(
        self, *, max_input_chars: int, requests_per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_input_chars = max_input_chars
        self._requests_per_minute = requests_per_minute
        self._clock = clock
        self._recent: LRUCache[str, deque[tuple[float, str]]] = LRUCache(MAX_AUTHORS)

    def admit(self, event: MessageReceived) -> MessageReceived | Refused:
        """Return the message as it is to be stored, or why it is not taken and what to do."""
        text = clean(event.text)
        if not (text or event.files or event.quoted or event.has_earlier or event.unread):
            return Refused(notice="The message is empty. Write what you would like to know or have done.")
        if len(text) > self._max_input_chars:
            return Refused(
                notice=f"The message has {len(text):,} characters; at most {self._max_input_chars:,} are accepted. "
                f"Please shorten it or split it up."
            )
        if (wait_s := self._wait_s(event)) > 0:
            return Refused(
                notice=f"That is more than {self._requests_per_minute} messages in a minute. "
                f"Please send it again in {math.ceil(wait_s)} s."
            )
        return replace(
            event,
            text=text,
            # the model and the history show the name on one line with the text
            author_name=" ".join(clean(event.author_name).split()),
            quoted=tuple(shorten(one, max_chars=self._max_input_chars) for one in event.quoted),
        )

    def _wait_s(self, event: MessageReceived) -> float:
        """Count the message; return the seconds until its author may send another, 0 where this one is taken."""
        author, now = author_key(event.actor), self._clock()
        recent = self._recent.get(author, deque())
        self._recent[author] = recent
        while recent and recent[0][0] <= now - WINDOW_S:
            recent.popleft()
        if any(key == event.event_key for _, key in recent):
            return 0.0  # a redelivery asks for nothing new
        if len(recent) >= self._requests_per_minute:
            return recent[0][0] + WINDOW_S - now
        recent.append((now, event.event_key))
        return 0.0
