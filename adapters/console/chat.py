"""One conversation on a screen: each line is handed over, and its turn followed to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from adapters.console import render
from adapters.console.answering import Answering, Reply
from adapters.console.attaching import attached, named_files, shared_file
from adapters.console.files import save_attachments
from adapters.console.keys import interrupts
from adapters.console.parse import Attach, Detach, Leave, UnknownCommand, parse_line
from adapters.console.screen import ENDINGS, OUTCOMES, Outcome, Screen, TraceLevel
from adapters.console.speaker import Speaker
from bot.domain.answers import Done, Example, Held, Ignored, Known, Queued, Ready, Refused
from bot.domain.asks import AskPost
from bot.domain.errors import AdapterError, BotError, StoreError
from bot.domain.events import CommandInvoked, MessageReceived, SharedFile
from bot.domain.forms import Form
from bot.domain.turns import UNENDED_CALLS, Post, TurnView
from bot.ports.platform import Host
from bot.text.counting import count
from bot.text.moments import plain_moments


@dataclass(slots=True)
class _Entry:
    """What was typed last, and what was seen of its turn; without an `event_key`, nothing is being followed."""

    event_key: str = ""
    turn_id: int = 0
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
        speaker: Speaker,
        answering: Answering,
        *,
        trace: TraceLevel,
        attachments: Path | None,
        key_help: str = "",
    ) -> None:
        self._screen = screen
        self._host = host
        self._speaker = speaker
        self._answering = answering
        self._trace: TraceLevel = trace
        self._attachments = attachments
        self._key_help = key_help
        self._entry = _Entry()
        self._waiting: dict[str, _Entry] = {}  # those whose turns wait for a decision, by their event keys
        self._choices: Sequence[Example] = ()  # can be chosen by number
        self._files: tuple[SharedFile, ...] = ()  # go with the next message
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
            if view.in_reply_to and view.in_reply_to == self._entry.event_key:
                self._entry.turn_id = view.turn_id
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
                self._entry.turn_id = post.turn_id
                self._draw()
            await self._screen.answer(post.text, is_late=is_late)
            if post.attachments and self._attachments is not None:
                for path in save_attachments(self._attachments, post.key, post.attachments):
                    self._screen.saved(path)
        except OSError as error:
            self._failure = unwritable(error)
            self._changed.set()
            raise self._failure from error

    async def restore(self) -> None:
        """Show what was asked in an earlier chat and is not decided yet."""
        try:
            await self._answering.restore()
        except BotError as error:
            self._screen.say(str(error))

    async def put_ask(self, post: AskPost) -> None:
        """Show what is asked, or what was decided.

        Raises:
            AdapterError: The person has left, the terminal is gone, or it could not be remembered.
        """
        if self._is_left:
            raise AdapterError("The chat was left. Start it again to see what is asked.")
        try:
            await self._answering.put(post)
        except StoreError as error:
            raise AdapterError(str(error)) from error
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
        if (reply := self._answering.read(line)) is not None:
            return await self._decide(reply)
        entry = parse_line(line, speaker=self._speaker, choices=self._choices)
        match entry:
            case None:
                return "nothing"
            case Leave():
                return "left"
            case Attach() | Detach():
                return self._change_files(entry)
            case UnknownCommand():
                self._choices = ()
                self._screen.say(render.unknown_command(entry.name, entry.nearest))
                return "failed"
            case MessageReceived() | CommandInvoked():
                if isinstance(entry, MessageReceived) and entry.text != line.strip():
                    self._screen.say(f"  {entry.text}")  # a number was typed
                self._choices = ()
                return await (self._ask(entry) if isinstance(entry, MessageReceived) else self._command(entry))
            case _:
                assert_never(entry)

    def attach(self, names: Iterable[str]) -> None:
        """Have the next message take along these files too; none of them where one cannot be had.

        Raises:
            AdapterError: There is none of that name, or it cannot be read; a sentence for the person.
        """
        files = {file.reference: file for file in (*self._files, *map(shared_file, names))}
        self._files = tuple(files.values())

    def _change_files(self, entry: Attach | Detach) -> Outcome:
        try:
            if isinstance(entry, Detach):
                self._files = ()
            else:
                self.attach(named_files(entry.names))
        except AdapterError as error:
            self._screen.say(str(error))
            return "misused"
        self._screen.say(attached(self._files))
        return "nothing"

    async def _ask(self, message: MessageReceived) -> Outcome:
        self._entry = _Entry(message.event_key)
        if message.run is None:
            message = replace(message, files=self._files)
        with interrupts(self._interrupt):
            return await self._accept(message)

    async def _accept(self, message: MessageReceived) -> Outcome:
        try:
            outcome = await self._host.accept(message)
        except BotError as error:
            self._screen.say(str(error))
            return "failed"
        match outcome:
            case Queued(turn_id=turn_id, waits_behind=waits_behind):
                self._files = () if message.files else self._files
                if waits_behind:
                    self._screen.say(f"Waits behind {count(waits_behind, 'message')}.")
                return await self._follow(turn_id)
            case Known(turn_id=turn_id):
                return await self._follow(turn_id)
            case Refused(notice=notice):
                if notice:  # otherwise it was said a moment ago
                    self._screen.say(plain_moments(notice))
                return "failed"
            case Ignored() | Held():  # nothing comes before what it follows: there is one process
                return "failed"
            case _:
                assert_never(outcome)

    async def _command(self, invoked: CommandInvoked) -> Outcome:
        self._entry = _Entry(invoked.event_key)
        try:
            with interrupts(self._interrupt):
                answer = await self._host.command(invoked)
        except BotError as error:
            self._screen.say(str(error))
            return "failed"
        if isinstance(answer, Ignored):
            return "failed"
        if answer.ready is not None:
            return await self._run(answer.ready)
        if answer.form is not None:
            return await self._fill_in(answer.form)
        is_refusal = invoked.name == "run"  # nothing is to be run: the answer says why
        answer = replace(answer, text=plain_moments(answer.text))
        self._screen.command_answer(answer, is_refusal=is_refusal)
        if is_refusal:
            return "misused"
        if answer.confirms and not invoked.is_confirmed:
            return await self._confirm(answer.confirms, invoked)
        if invoked.name == "help" and self._key_help:
            self._screen.say(self._key_help)
        self._choices = answer.choices
        return "answered"

    async def _run(self, ready: Ready) -> Outcome:
        """Have the call made that the person asked for."""
        self._screen.say(ready.text)
        return await self._ask(self._speaker.message(ready.text, run=ready.run))

    async def _fill_in(self, form: Form) -> Outcome:
        outcome = await self._answering.fill_in(form)
        if isinstance(outcome, Ready):
            return await self._run(outcome)
        if outcome is None:
            return "nothing"
        if outcome.notice:
            self._screen.say(outcome.notice)
        return "answered" if isinstance(outcome, Done) else "misused"

    async def _confirm(self, question: str, invoked: CommandInvoked) -> Outcome:
        if not await self._answering.confirm(question):
            return "misused"
        return await self._command(self._speaker.command(invoked.name, invoked.argument, is_confirmed=True))

    async def _decide(self, reply: Reply) -> Outcome:
        """Do what was typed in answer to an ask; where that decides it, follow its turn again."""
        event_key = reply.post.in_reply_to
        self._entry = self._waiting.pop(event_key, None) or _Entry(event_key)
        self._entry.views.clear()
        self._entry.interrupts = 0
        try:
            goes_on = await self._answering.act(reply)
        except BotError as error:
            self._screen.say(str(error))
            goes_on = False
        if not goes_on or not event_key:
            self._rest()
            return "nothing"
        with interrupts(self._interrupt):
            return await self._follow(self._entry.turn_id)

    # --- a turn ---

    async def _follow(self, turn_id: int) -> Outcome:
        self._entry.turn_id = turn_id
        with self._screen.following():
            outcome = await self._until_rest()
            while outcome == "waiting" and await self._answering.settle(self._entry.event_key):
                outcome = await self._until_rest(past=self._view())
        if outcome in ENDINGS and not self._entry.is_answered and not self._is_asked_here(outcome):
            view = self._view()
            notice = view.notice if view is not None and outcome == "waiting" else ""
            self._screen.say(notice or ENDINGS[outcome])
        if outcome == "waiting":
            self._rest()
        return outcome

    def _is_asked_here(self, outcome: Outcome) -> bool:
        return outcome == "waiting" and self._answering.waits_for(self._entry.event_key)

    def _rest(self) -> None:
        """Follow the entry no longer: its answer comes while something else is typed or followed."""
        if self._entry.event_key and not self._entry.is_answered:
            self._waiting[self._entry.event_key] = self._entry
        self._entry = _Entry(interrupts=self._entry.interrupts)

    def _view(self) -> TurnView | None:
        return self._entry.views.get(self._entry.turn_id)

    async def _until_rest(self, *, past: TurnView | None = None) -> Outcome:
        """Draw the turn until it is at rest in another view than `past`, or the person interrupts it a second time."""
        is_stopping = False
        while True:
            if self._failure is not None:
                raise self._failure
            if self._entry.interrupts > 1:
                return "left"
            if self._entry.interrupts and not is_stopping:
                is_stopping = True
                await self._request_stop()
            view = self._draw()
            if view is not None and view is not past and view.state in OUTCOMES:
                return OUTCOMES[view.state]
            await self._changed.wait()
            self._changed.clear()

    async def _request_stop(self) -> None:
        try:
            answer = await self._host.command(self._speaker.command("stop"))
        except BotError as error:
            self._screen.say(str(error))
        else:
            self._screen.say(f"{'' if isinstance(answer, Ignored) else answer.text} Ctrl-C again leaves.".lstrip())

    def _interrupt(self) -> None:
        self._entry.interrupts += 1
        self._changed.set()

    def _draw(self) -> TurnView | None:
        """Show what is new in the turn's newest view, and return that view."""
        if (view := self._view()) is None:
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
