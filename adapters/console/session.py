"""A terminal held for one chat: what is typed, what is drawn, and which keys interrupt."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from adapters.console import render
from adapters.console.ahead import TypedAhead, sent_early
from adapters.console.history import TypedLines
from adapters.console.keys import forget_keys, quiet_keys
from adapters.console.parse import LOCAL_COMMANDS
from adapters.console.plain import speaks_unicode, tolerate_any_text
from bot.domain.answers import CommandAnswer
from bot.domain.commands import COMMANDS
from bot.domain.turns import TraceLine, TurnView
from bot.text.terminal import flat, visible

REFRESHES_PER_SECOND = 8  # of the region that is redrawn; changes in between are drawn once
PROMPT = "> "
MENU_LINES = 5  # kept free below the prompt for completions
RESERVED_LINES = 4  # of the terminal's height that streamed text leaves free
AHEAD_LINES = 3  # of what is typed meanwhile: its end is seen


class _Interrupted(Exception):  # noqa: N818  (a key, no error)
    """Ctrl-C at the prompt."""


class Terminal:
    """Reads lines and draws turns; made by `open_terminal`."""

    def __init__(
        self, prompt: PromptSession[str], console: Console, *, stdin: TextIO, is_ascii: bool, shows_details: bool
    ) -> None:
        self._prompt = prompt
        self._asked: PromptSession[str] = prompt  # the one that is read from now
        self._message = PROMPT
        self._input = stdin
        self._ahead = TypedAhead(prompt.input, stdin=stdin)
        self._is_fresh = False  # the prompt asks something that was not seen while keys were pressed
        self._console = console
        self._shows_details = shows_details
        self._is_ascii = is_ascii
        self._live: Live | None = None
        self._spinner = Spinner("line" if self._is_ascii else "dots", style="cyan")
        self._view: TurnView | None = None
        self._since = 0.0
        self._notice = ""

    async def read(self) -> str | None:
        """Return the next entry, of one line or several; None: Ctrl-D, or Ctrl-C twice."""
        was_interrupted, begun = False, ""
        if self._is_fresh:
            forget_keys(self._input)
            begun = self._ahead.take_line()
        self._is_fresh = False
        while True:
            try:
                return await self._prompt.prompt_async(lambda: self._message, default=begun)
            except EOFError:
                return None
            except _Interrupted:
                if not self._prompt.default_buffer.text:
                    if was_interrupted:
                        return None
                    self.say("Ctrl-C again, Ctrl-D or /exit leaves.")
                was_interrupted, begun = True, ""

    async def question(self, text: str) -> str | None:
        """Return what is typed after the text, which no history keeps; None after Ctrl-C or Ctrl-D."""
        self._asked = PromptSession(interrupt_exception=_Interrupted, input=self._prompt.input)
        try:
            return await self._asked.prompt_async(flat(text) + " ")
        except (EOFError, _Interrupted):
            return None
        finally:
            self._asked = self._prompt

    @property
    def is_typing(self) -> bool:
        """Whether a line has been begun."""
        is_at_prompt = self._prompt.app.is_running and bool(self._prompt.default_buffer.text)
        return is_at_prompt or bool(self._ahead.text)

    def prompts(self, text: str) -> None:
        """Show this prompt from now on, the usual one where it is empty.

        While no line is read, what was typed before it is there waits for another Enter: it answers something else.
        """
        if text and not self._prompt.app.is_running:
            self._is_fresh = True
        self._message = text or PROMPT
        self._prompt.app.invalidate()

    async def above(self, text: str, *, is_markdown: bool = False) -> None:
        """Print text of the core; while a line is being typed, above it."""
        with set_app(self._asked.app):
            async with in_terminal():
                self._print(render.markdown(text) if is_markdown else Text(visible(text)))

    @contextmanager
    def following(self) -> Generator[None]:
        """Draw the newest view of a turn until the block ends or the answer comes, and below it what is typed."""
        self._view, self._since, self._notice = None, time.monotonic(), ""
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            transient=True,
            refresh_per_second=REFRESHES_PER_SECOND,
        )
        with self._ahead.gathering(self._draw_at_once), self._live:
            yield

    def _draw_at_once(self) -> None:
        if self._live and self._live.is_started:
            self._live.refresh()

    def progress(self, view: TurnView) -> None:
        """Draw this view at the next refresh."""
        self._view = view
        if view.notice and view.notice != self._notice and self._console.is_dumb_terminal:
            self.say(view.notice)  # nothing can be redrawn there
        self._notice = view.notice

    def say(self, sentence: str) -> None:
        """Print a sentence of the program, apart from what the model says."""
        self._console.print(Text(visible(sentence), style="dim"))

    def call_ended(self, line: TraceLine) -> None:
        """Print the call under the question."""
        text = render.call_line(line, width=self._console.width, is_ascii=self._is_ascii)
        self._console.print(Text(text, style="dim" if line.state == "ok" else "yellow"))
        if self._shows_details:
            self._console.print(Text(render.call_details(line), style="dim"))
        if line.attachments:
            self._console.print(Text(render.attachment_lines(line), style="dim"))

    def saved(self, path: Path) -> None:
        """Print where a file is."""
        self.say(f"File: {path}")

    async def answer(self, text: str, *, is_late: bool) -> None:
        """Print the answer; while a line is being typed, above it."""
        if self._live and not is_late:
            self._live.stop()
        with set_app(self._asked.app):
            async with in_terminal():
                if is_late:
                    self.say("Answer to an earlier question:")
                self._print(render.markdown(text))

    def command_answer(self, answer: CommandAnswer, *, is_refusal: bool = False) -> None:
        """Print the answer of a command."""
        self._print(render.markdown(answer.text))
        if answer.choices:
            self._console.print(Text(render.numbered(answer.choices)))

    def _print(self, answer: RenderableType) -> None:
        self._console.print(Padding(answer, (1, 0)))

    def _draw(self) -> RenderableType:
        self._spinner.text = Text(render.status(self._view, elapsed_s=time.monotonic() - self._since), style="dim")
        parts: list[RenderableType] = [self._spinner]
        if self._view is not None and self._view.text.strip():
            room = self._console.height - RESERVED_LINES - (AHEAD_LINES if self._ahead.text else 0)
            parts.insert(0, render.growing_text(self._view.text, max_lines=max(1, room)))
        if typed := self._ahead.text:
            parts.append(render.typed_text(f"{PROMPT}{typed}", max_lines=AHEAD_LINES))
        return Group(*parts)


@contextmanager
def open_terminal(
    *, stdin: TextIO, stdout: TextIO, history_file: Path | None, shows_details: bool, conversation: str = ""
) -> Generator[Terminal]:
    """Hold the terminal of these streams; its modes are restored at the end.

    What is typed goes into `history_file`, as said in this `conversation` (`str(ConversationKey)`).
    """
    tolerate_any_text(stdout)
    with (
        quiet_keys(stdin),
        create_app_session(input=_open_keys(stdin), output=create_output(stdout)),
    ):
        prompt: PromptSession[str] = PromptSession(
            completer=_Slashes(),
            history=_open_history(history_file, conversation),
            interrupt_exception=_Interrupted,
            key_bindings=_line_breaks(),
            reserve_space_for_menu=MENU_LINES,
        )
        sent_early(prompt.input)
        console = Console(file=stdout, highlight=False)
        is_ascii = not speaks_unicode(stdout)
        yield Terminal(prompt, console, stdin=stdin, is_ascii=is_ascii, shows_details=shows_details)


def _open_keys(stdin: TextIO) -> Input:
    """Return the keyboard for prompts, on which Enter stays Enter while something is printed above one.

    prompt_toolkit cooks the terminal meanwhile, for programs that read lines: Enter is Ctrl-J then, and begins a line.
    """
    source = create_input(stdin)
    try:
        from prompt_toolkit.input.vt100 import Vt100Input
    except (ImportError, AssertionError):  # Windows
        return source

    class Uncooked(Vt100Input):
        def cooked_mode(self) -> AbstractContextManager[None]:
            return nullcontext()

    return Uncooked(stdin) if isinstance(source, Vt100Input) else source


def _line_breaks() -> KeyBindings:
    """Return the keys that begin another line, where Enter sends what is typed."""
    keys = KeyBindings()

    @keys.add("c-j")
    @keys.add("escape", "enter")
    def begin_line(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        event.current_buffer.insert_text("\n")

    return keys


class _Slashes(Completer):
    """Completes a command at the start of the line, and the name of a file to attach."""

    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if attaching := re.fullmatch(r"/attach\s+(.*)", before, re.IGNORECASE):
            yield from self._files.get_completions(Document(attaching[1]), complete_event)
        if not re.fullmatch(r"/\w*", before):
            return
        for name, _, description in (*COMMANDS, *LOCAL_COMMANDS):
            if name.startswith(before[1:].lower()):
                yield Completion(f"/{name}", start_position=-len(before), display_meta=description)


def _open_history(file: Path | None, conversation: str) -> History:
    """Return the lines of earlier chats; where the file cannot be written, they are kept only in memory."""
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return TypedLines(file, conversation)
