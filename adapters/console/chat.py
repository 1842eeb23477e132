"""One conversation on a screen: each line is handed over, and its turn followed to its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, assert_never

from adapters.console import render
from adapters.console.files import save_attachments
from adapters.console.keys import interrupts
from adapters.console.parse import AUTHOR_ID, Leave, UnknownCommand, parse_line
from bot.domain.answers import CommandAnswer, Example, Ignored, Known, Queued, Refused
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived
from bot.domain.turns import UNENDED_CALLS, Post, TraceLine, TurnState, TurnView
from bot.ports.platform import Host

TraceLevel = Literal["summary", "full", "off"]
Outcome = Literal["answered", "stopped", "failed", "taken_over", "waiting", "left", "nothing"]

OUTCOMES: dict[TurnState, Outcome] = {
    "answered": "answered",
    "stopped": "stopped",
    "failed": "failed",
    "undelivered": "failed",
    "withdrawn": "stopped",
    "taken_over": "taken_over",
    "waiting": "waiting",
}
ENDINGS: dict[Outcome, str] = {  # said where no answer was shown
    "stopped": "Stopped.",
    "failed": "The question could not be answered.",
    "taken_over": "Another process went on with this question while this one was halted, and shows the answer.",
    "waiting": "The question waits for a decision. The answer is shown once that is made.",
}


class Screen(Protocol):
    """Where turns are seen: a terminal with a prompt, or plain output."""

    def following(self) -> AbstractContextManager[None]:
        """Show that a turn is being worked on while the block runs."""
        ...

    def progress(self, view: TurnView) -> None:
        """Show the newest view of the turn."""
        ...

    def call_ended(self, line: TraceLine) -> None:
        """Show a tool call that has ended, once."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence of the program itself."""
        ...

    async def answer(self, text: str, *, is_late: bool) -> None:
        """Show the Markdown of an answer; `is_late`: its question is not the one that is followed now."""
        ...

    def command_answer(self, answer: CommandAnswer) -> None:
        """Show the answer of a command."""
        ...


@dataclass(slots=True)
class _Entry:
    """What was typed last, and what was seen of its turn; without an `event_key`, nothing is being followed."""

    event_key: str = ""
    views: dict[int, TurnView] = field(default_factory=dict[int, TurnView])  # newest of each turn since then
    shown_calls: set[int] = field(default_factory=set[int])  # positions in the trace of its turn
    is_answered: bool = False
    interrupts: int = 0


class Chat:
    """What happens between a person and the host, shown on `screen`; `key_help` follows the answer to `/help`.

    A turn counts as ended when `show` gets a view of it that says so, which must come after its last post.
    """

    def __init__(
        self,
        screen: Screen,
        host: Host,
        conversation: ConversationKey,
        *,
        trace: TraceLevel,
        attachments: Path | None,
        key_help: str = "",
    ) -> None:
        self._screen = screen
        self._host = host
        self._conversation = conversation
        self._trace: TraceLevel = trace
        self._attachments = attachments
        self._key_help = key_help
        self._entry = _Entry()
        self._choices: Sequence[Example] = ()  # can be chosen by number
        self._is_left = False
        self._changed = asyncio.Event()
        self._failure: AdapterError | None = None  # why nothing more can be shown

    @property
    def was_interrupted(self) -> bool:
        """Whether the person pressed Ctrl-C while the last entry was worked on."""
        return self._entry.interrupts > 0

    def leave(self) -> None:
        """Show nothing from now on: the person has left."""
        self._is_left = True

    # --- what the host shows ---

    def show(self, view: TurnView) -> None:
        """Keep the view; the newest one is drawn."""
        if not self._is_left:
            self._entry.views[view.turn_id] = view
            self._changed.set()

    async def post(self, post: Post) -> None:
        """Show an answer; one to another question than the one being followed says so.

        Raises:
            AdapterError: The person has left, or the terminal is gone.
        """
        if self._is_left:
            raise AdapterError("The chat was left before the answer came. Start it again to see the answer.")
        is_late = post.in_reply_to != self._entry.event_key
        try:
            if not is_late:
                self._entry.is_answered = True
                self._draw(post.turn_id)
            await self._screen.answer(post.text, is_late=is_late)
            if post.attachments and self._attachments is not None:
                for path in save_attachments(self._attachments, post.key, post.attachments):
                    self._screen.say(f"File: {path}")
        except OSError as error:
            self._failure = unwritable(error)
            self._changed.set()
            raise self._failure from error

    # --- one entry ---

    async def take(self, line: str) -> Outcome:
        """Hand over what was typed and return what became of it.

        Raises:
            AdapterError: Nothing more can be shown.
        """
        entry = parse_line(
            line, conversation=self._conversation, event_key=_new_key(), at=datetime.now(UTC), choices=self._choices
        )
        match entry:
            case None:
                return "nothing"
            case Leave():
                return "left"
            case UnknownCommand():
                self._choices = ()
                self._screen.say(render.unknown_command(entry.name, entry.nearest))
                return "failed"
            case MessageReceived() | CommandInvoked():
                if isinstance(entry, MessageReceived) and entry.text != line.strip():
                    self._screen.say(f"  {entry.text}")  # a number was typed
                self._entry, self._choices = _Entry(entry.event_key), ()
                with interrupts(self._interrupt):
                    return await (self._ask(entry) if isinstance(entry, MessageReceived) else self._command(entry))
            case _:
                assert_never(entry)

    async def _ask(self, message: MessageReceived) -> Outcome:
        try:
            outcome = await self._host.accept(message)
        except BotError as error:
            self._screen.say(str(error))
            return "failed"
        match outcome:
            case Queued(turn_id=turn_id, waits_behind=waits_behind):
                if waits_behind:
                    self._screen.say(f"Waits behind {waits_behind} message{'s' if waits_behind > 1 else ''}.")
                return await self._follow(turn_id)
            case Known(turn_id=turn_id):
                return await self._follow(turn_id)
            case Refused(notice=notice):
                self._screen.say(notice)
                return "failed"
            case Ignored():
                return "failed"
            case _:
                assert_never(outcome)

    async def _command(self, invoked: CommandInvoked) -> Outcome:
        try:
            answer = await self._host.command(invoked)
        except BotError as error:
            self._screen.say(str(error))
            return "failed"
        if isinstance(answer, Ignored):
            return "failed"
        self._screen.command_answer(answer)
        if invoked.name == "help" and self._key_help:
            self._screen.say(self._key_help)
        self._choices = answer.choices
        return "answered"

    # --- a turn ---

    async def _follow(self, turn_id: int) -> Outcome:
        with self._screen.following():
            outcome = await self._until_rest(turn_id)
        if outcome in ENDINGS and not self._entry.is_answered:
            view = self._entry.views.get(turn_id)
            notice = view.notice if view is not None and outcome == "waiting" else ""
            self._screen.say(notice or ENDINGS[outcome])
        if outcome == "waiting":
            self._entry.event_key = ""  # its answer comes while something else is typed or followed
        return outcome

    async def _until_rest(self, turn_id: int) -> Outcome:
        """Draw the turn until it is at rest, or until the person interrupts it for the second time."""
        is_stopping = False
        while True:
            if self._failure is not None:
                raise self._failure
            if self._entry.interrupts > 1:
                return "left"
            if self._entry.interrupts and not is_stopping:
                is_stopping = True
                await self._request_stop()
            view = self._draw(turn_id)
            if view is not None and view.state in OUTCOMES:
                return OUTCOMES[view.state]
            await self._changed.wait()
            self._changed.clear()

    async def _request_stop(self) -> None:
        stop = CommandInvoked(conversation=self._conversation, event_key=_new_key(), author_id=AUTHOR_ID, name="stop")
        try:
            answer = await self._host.command(stop)
        except BotError as error:
            self._screen.say(str(error))
        else:
            self._screen.say(f"{'' if isinstance(answer, Ignored) else answer.text} Ctrl-C again leaves.".lstrip())

    def _interrupt(self) -> None:
        self._entry.interrupts += 1
        self._changed.set()

    def _draw(self, turn_id: int) -> TurnView | None:
        """Show what is new in the turn's newest view, and return that view."""
        view = self._entry.views.get(turn_id)
        if view is None:
            return None
        for position, line in enumerate(view.trace if self._trace != "off" else ()):
            if line.state not in UNENDED_CALLS and position not in self._entry.shown_calls:
                self._entry.shown_calls.add(position)
                self._screen.call_ended(line)
        if view.state != "waiting":  # what it waits for is said once it is at rest
            self._screen.progress(view)
        return view


def unwritable(error: OSError) -> AdapterError:
    """Return why nothing can be shown."""
    return AdapterError(f"The answer cannot be shown: {error.strerror or error}. Ask again once that is fixed.")


def _new_key() -> str:
    return f"console:{uuid.uuid4()}"
