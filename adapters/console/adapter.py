"""The terminal as a chat platform: one named conversation, with one person."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, TextIO, assert_never

from adapters.console import render
from adapters.console.files import save_attachments
from adapters.console.keys import interrupts
from adapters.console.parse import AUTHOR_ID, Entry, Leave, UnknownCommand, parse_line
from adapters.console.plain import PlainOutput
from bot.domain.answers import CommandAnswer, Example
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import CommandInvoked, ConversationKey, Event, MessageReceived
from bot.domain.turns import Post, TraceLine, TurnState, TurnView
from bot.ports.platform import Found, Receive

TraceLevel = Literal["summary", "full", "off"]
Outcome = Literal["answered", "stopped", "failed", "taken_over", "left"]

OUTCOMES: dict[TurnState, Outcome] = {
    "answered": "answered",
    "stopped": "stopped",
    "failed": "failed",
    "undelivered": "failed",
    "taken_over": "taken_over",
}
ENDINGS: dict[Outcome, str] = {  # said where no answer was shown
    "stopped": "Stopped.",
    "failed": "The question could not be answered.",
    "taken_over": "Another process went on with this question while this one was halted, and shows the answer.",
}
HELP = "In this terminal Ctrl-C stops an answer that is being worked on; Ctrl-D or /exit leaves."
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


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
        """Show the Markdown of an answer; `is_late`: the question was asked in an earlier chat."""
        ...

    def command_answer(self, answer: CommandAnswer) -> None:
        """Show what a command answered."""
        ...


class ConsoleAdapter:
    """Satisfies the Adapter port for a person at a terminal; good for one `run` or one `ask_once`.

    A turn counts as ended when `show` gets a view of it that says so, which must come after its last post.
    """

    name = "console"

    def __init__(
        self,
        conversation: str,
        *,
        banner: str = "",
        trace: TraceLevel = "summary",
        history_file: Path | None = None,
        attachments: Path | None = None,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.conversation = ConversationKey(platform=self.name, space="local", channel=conversation)
        self._banner = banner
        self._trace: TraceLevel = trace
        self._history_file = history_file
        self._attachments = attachments
        self._stdin = stdin or sys.stdin
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._screen: Screen | None = None
        self._opened = asyncio.Event()
        self._asked = ""  # event_key of the newest question
        self._views: dict[int, TurnView] = {}  # newest of each turn since that question
        self._shown_calls: set[int] = set()  # positions in the trace of that question's turn
        self._is_answered = False
        self._interrupts = 0
        self._gone: AdapterError | None = None  # why nothing can be shown any more
        self._changed = asyncio.Event()

    @property
    def serves(self) -> str:
        """The one conversation of this terminal."""
        return str(self.conversation)

    # --- two ways of use ---------------------------------------------------------------------------------------

    async def run(self, receive: Receive) -> None:
        """Hand over what is typed, one entry after the other, until the user leaves.

        Raises:
            AdapterError: The terminal is gone.
        """
        from adapters.console.session import open_terminal  # slow to import, and not needed for one question

        with (
            open_terminal(
                stdin=self._stdin,
                stdout=self._stdout,
                history_file=self._history_file,
                shows_details=self._trace == "full",
            ) as terminal,
            self._showing_on(terminal),
        ):
            if self._banner:
                terminal.say(self._banner)
            choices: Sequence[Example] = ()
            while (line := await terminal.read()) is not None:
                entry = self._parse(line, choices)
                if isinstance(entry, MessageReceived) and entry.text != line.strip():
                    terminal.say(f"  {entry.text}")  # a number was typed
                if entry is not None:
                    outcome, choices = await self._take(entry, receive, terminal)
                    if outcome == "left":
                        return
                if isinstance(entry, CommandInvoked) and entry.name == "help":
                    terminal.say(HELP)

    async def ask_once(self, receive: Receive, text: str) -> int:
        """Ask one question (or run one command) and return the exit code: 0 answered, 1 not, 130 after Ctrl-C.

        Raises:
            AdapterError: The output cannot be written.
        """
        output = PlainOutput(stdout=self._stdout, stderr=self._stderr, shows_details=self._trace == "full")
        with self._showing_on(output):
            if self._banner:
                output.say(self._banner)
            entry = self._parse(text, ())
            if entry is None:
                output.say("There is no question to answer.")
                return 1
            outcome, _ = await self._take(entry, receive, output)
        if self._interrupts:
            return EXIT_INTERRUPTED
        return 0 if outcome == "answered" else 1

    # --- what the core shows -----------------------------------------------------------------------------------

    def show(self, view: TurnView) -> None:
        """Keep the view; whoever follows the turn draws the newest one."""
        if self._screen is not None:
            self._views[view.turn_id] = view
            self._changed.set()

    def split(self, text: str) -> Sequence[str]:
        """Return the text as it is: a terminal has no longest message."""
        return (text,)

    async def post(self, post: Post) -> str:
        """Show an answer as soon as the terminal is open; one to a question of an earlier chat says that it is.

        Raises:
            AdapterError: The user has left, or the terminal is gone.
        """
        await self._opened.wait()
        if self._screen is None:
            raise AdapterError("The chat was left before the answer came. Start it again to see the answer.")
        is_late = post.in_reply_to != self._asked
        try:
            if not is_late:
                self._is_answered = True
                self._draw(post.turn_id, self._screen)
            await self._screen.answer(post.text, is_late=is_late)
            if post.attachments and self._attachments is not None:
                for path in save_attachments(self._attachments, post.key, post.attachments):
                    self._screen.say(f"File: {path}")
        except OSError as error:
            self._gone = _unwritable(error)
            self._changed.set()
            raise self._gone from error
        return f"{self.name}:{post.key}"

    async def find(self, post: Post) -> Found | None:
        """Return None: a terminal keeps nothing, so an answer that may have been cut off is shown again whole."""
        return None

    # --- one entry ---------------------------------------------------------------------------------------------

    @contextmanager
    def _showing_on(self, screen: Screen) -> Generator[None]:
        self._screen = screen
        self._opened.set()
        try:
            yield
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            self._screen = None

    def _parse(self, line: str, choices: Sequence[Example]) -> Entry | None:
        return parse_line(
            line, conversation=self.conversation, event_key=_new_key(), at=datetime.now(UTC), choices=choices
        )

    async def _take(self, entry: Entry, receive: Receive, screen: Screen) -> tuple[Outcome, Sequence[Example]]:
        """Return what became of the entry, and what can be chosen by number after it."""
        match entry:
            case Leave():
                return "left", ()
            case UnknownCommand():
                screen.say(render.unknown_command(entry.name, entry.nearest))
                return "failed", ()
            case MessageReceived() | CommandInvoked():
                with interrupts(self._interrupt):
                    return await self._hand_over(entry, receive, screen)
            case _:
                assert_never(entry)

    async def _hand_over(self, event: Event, receive: Receive, screen: Screen) -> tuple[Outcome, Sequence[Example]]:
        self._asked, self._views, self._shown_calls = event.event_key, {}, set()
        self._is_answered, self._interrupts = False, 0
        try:
            receipt = await receive(event)
        except BotError as error:
            screen.say(str(error))
            return "failed", ()
        if receipt.notice:
            screen.say(receipt.notice)
        if receipt.turn_id is not None:
            if receipt.waits_behind:
                screen.say(f"Waits behind {receipt.waits_behind} message{'s' if receipt.waits_behind > 1 else ''}.")
            with screen.following():
                outcome = await self._follow(receipt.turn_id, receive, screen)
            self._say_how_it_ended(outcome, screen)
            return outcome, ()
        if receipt.answer is None:
            return "failed", ()
        screen.command_answer(receipt.answer)
        return "answered", receipt.answer.choices

    async def _follow(self, turn_id: int, receive: Receive, screen: Screen) -> Outcome:
        """Draw the turn until it has ended, or until the user interrupts it for the second time."""
        is_stopping = False
        while True:
            if self._gone is not None:
                raise self._gone
            if self._interrupts > 1:
                return "left"
            if self._interrupts and not is_stopping:
                is_stopping = True
                await self._request_stop(receive, screen)
            view = self._draw(turn_id, screen)
            if view is not None and view.state in OUTCOMES:
                return OUTCOMES[view.state]
            await self._changed.wait()
            self._changed.clear()

    async def _request_stop(self, receive: Receive, screen: Screen) -> None:
        stop = CommandInvoked(conversation=self.conversation, event_key=_new_key(), author_id=AUTHOR_ID, name="stop")
        try:
            receipt = await receive(stop)
        except BotError as error:
            screen.say(str(error))
        else:
            screen.say(f"{receipt.answer.text if receipt.answer else ''} Ctrl-C again leaves.".lstrip())

    def _interrupt(self) -> None:
        self._interrupts += 1
        self._changed.set()

    def _draw(self, turn_id: int, screen: Screen) -> TurnView | None:
        """Show what is new in the turn's newest view, and return that view."""
        view = self._views.get(turn_id)
        if view is None:
            return None
        for position, line in enumerate(view.trace if self._trace != "off" else ()):
            if line.state not in ("asked", "running") and position not in self._shown_calls:
                self._shown_calls.add(position)
                screen.call_ended(line)
        screen.progress(view)
        return view

    def _say_how_it_ended(self, outcome: Outcome, screen: Screen) -> None:
        if outcome in ENDINGS and not self._is_answered:
            screen.say(ENDINGS[outcome])


def _unwritable(error: OSError) -> AdapterError:
    return AdapterError(f"The answer cannot be shown: {error.strerror or error}. Ask again once that is mended.")


def _new_key() -> str:
    return f"console:{uuid.uuid4()}"
