"""Admission: what people send and press is taken at a rate that leaves room for others; the rest gets a sentence."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from cachetools import LRUCache

from bot.domain.answers import Refused
from bot.domain.events import MessageReceived
from bot.domain.people import Actor
from bot.intake.rates import MAX_PEOPLE, WINDOW_S, Allowance, CommonCount, Pauses
from bot.text.cleaning import clean
from bot.turns.quoting import shorten

# What people do besides asking. "act": commands, details, ratings, calls of their own; "decide": decisions, forms that
# were asked for, and `stop`, which have to get through while the same person presses other things.
Act = Literal["act", "decide"]
ACTS_PER_MINUTE = 60
EDITS_PER_MINUTE = 60
LOOKUPS_PER_MINUTE = 300  # completions: one for each letter that is typed


class Admission:
    """Checks and cleans messages before they are stored, and counts them and all else that people do.

    `clock` gives seconds that never go back. Refusals say when it works again; after one, the person's further tries
    are refused without a notice until then.

    Where several processes share the database, `common` counts for all of them: what they do there is bounded by the
    methods with `of_all`. Completions are counted by each process: they change nothing, and none is stored.
    """

    def __init__(
        self,
        *,
        max_input_chars: int,
        requests_per_minute: int,
        acts_per_minute: int = ACTS_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
        common: CommonCount | None = None,
    ) -> None:
        self._max_input_chars = max_input_chars
        self._requests_per_minute = requests_per_minute
        self._clock = clock
        self._common = common
        self._recent: LRUCache[str, deque[tuple[float, str]]] = LRUCache(MAX_PEOPLE)
        self._pauses = Pauses("messages", per_minute=requests_per_minute)
        self._acts = {
            "act": Allowance("commands and buttons", per_minute=acts_per_minute, clock=clock),
            "decide": Allowance("decisions", per_minute=acts_per_minute, clock=clock),
        }
        self._edits = Allowance("changes to messages", per_minute=EDITS_PER_MINUTE, clock=clock)
        self._lookups = Allowance("completions", per_minute=LOOKUPS_PER_MINUTE, clock=clock)

    # --- messages ---

    def admit(self, event: MessageReceived) -> MessageReceived | Refused:
        """Count the message; return it as it is to be stored, or why it is not taken and what to do.

        One that was admitted before it was posted (`admitted_as`) counts once.
        """
        return self._why_too_many(event) or self._cleaned(event)

    def revise(self, message: MessageReceived) -> MessageReceived | Refused:
        """Count the change to a message that was admitted; return the message likewise."""
        return self.why_no_change(message) or self._cleaned(message)

    def why_no_change(self, message: MessageReceived) -> Refused | None:
        """Count the change to any message; return why it is not taken, None where it is."""
        return self._edits.spend(str(message.actor), _change(message))

    async def admit_of_all(self, event: MessageReceived) -> MessageReceived | Refused:
        """Do what `admit` does, over all processes."""
        return await self._why_too_many_of_all(event) or self._cleaned(event)

    async def revise_of_all(self, message: MessageReceived) -> MessageReceived | Refused:
        """Do what `revise` does, over all processes."""
        return await self.why_no_change_of_all(message) or self._cleaned(message)

    async def why_no_change_of_all(self, message: MessageReceived) -> Refused | None:
        """Do what `why_no_change` does, over all processes."""
        if self._common is None:
            return self.why_no_change(message)
        return await self._edits.spend_of_all(message.actor, _change(message), self._common)

    def _cleaned(self, event: MessageReceived) -> MessageReceived | Refused:
        text = clean(event.text)
        if not (text or event.files or event.quoted or event.has_earlier or event.unread):
            return Refused(notice="The message is empty. Write what you would like to know or have done.")
        if len(text) > self._max_input_chars:
            return Refused(
                notice=f"The message has {len(text):,} characters; at most {self._max_input_chars:,} are accepted. "
                f"Please shorten it or split it up."
            )
        return replace(
            event,
            text=text,
            # the model and the history show the name on one line with the text
            author_name=" ".join(clean(event.author_name).split()),
            quoted=tuple(shorten(one, max_chars=self._max_input_chars) for one in event.quoted),
        )

    def _why_too_many(self, event: MessageReceived) -> Refused | None:
        author, now = str(event.actor), self._clock()
        recent = self._recent_of(author, now)
        if _is_among(recent, event):
            return None  # a redelivery asks for nothing new
        if self._pauses.holds(author, now):
            return Refused(notice="")
        if len(recent) >= self._requests_per_minute:
            return self._pauses.begin(author, now, wait_s=recent[0][0] + WINDOW_S - now)
        recent.append((now, event.event_key))
        return None

    async def _why_too_many_of_all(self, event: MessageReceived) -> Refused | None:
        author, now = str(event.actor), self._clock()
        if self._common is None or _is_among(self._recent_of(author, now), event):
            return self._why_too_many(event)
        if self._pauses.holds(author, now):
            return Refused(notice="")
        keys = (event.event_key, event.admitted_as)
        counted = await self._common.count("messages", event.actor, keys, per_minute=self._requests_per_minute)
        if counted is None:
            return self._why_too_many(event)
        if counted.wait_s:
            return self._pauses.follow(author, now, counted)
        # Meanwhile a later one may have been refused, and begun a pause that is not this one's.
        self._recent_of(author, now).append((now, event.event_key))
        return None

    def _recent_of(self, author: str, now: float) -> deque[tuple[float, str]]:
        """Return when the author wrote within the last minute, with the keys."""
        recent = self._recent[author] = self._recent.get(author, deque())
        while recent and recent[0][0] <= now - WINDOW_S:
            recent.popleft()
        return recent

    # --- all else ---

    def why_not(self, actor: Actor, key: str, *, act: Act) -> Refused | None:
        """Count what the person did under that event key; return why it is not taken, None where it is."""
        return self._acts[act].spend(str(actor), key)

    async def why_not_of_all(self, actor: Actor, key: str, *, act: Act) -> Refused | None:
        """Do what `why_not` does, over all processes."""
        if self._common is None:
            return self.why_not(actor, key, act=act)
        return await self._acts[act].spend_of_all(actor, key, self._common)

    def is_muted(self, actor: Actor, *, act: Act) -> bool:
        """Return whether what the person does now would be refused in silence, as far as this process knows."""
        return self._acts[act].is_paused(str(actor))

    def may_look_up(self, actor: Actor, key: str) -> bool:
        """Count a completion; return whether the person gets it."""
        return self._lookups.spend(str(actor), key) is None


def _change(message: MessageReceived) -> str:
    return f"{message.event_key} {message.edited_at}"


def _is_among(recent: Iterable[tuple[float, str]], event: MessageReceived) -> bool:
    return any(key in (event.event_key, event.admitted_as) for _, key in recent)
