"""One question without a conversation on the screen: the trace on stderr, the answer on stdout."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from adapters.console import render
from adapters.console.screen import Outcome
from bot.domain.answers import CommandAnswer
from bot.domain.turns import TraceLine, TurnView
from bot.text.terminal import flat, visible


class PlainOutput:
    """Writes a turn so that it can be piped: whole lines, no control codes, Markdown drawn only on a terminal."""

    def __init__(self, *, stdout: TextIO, stderr: TextIO, shows_details: bool, is_quiet: bool = False) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._shows_details = shows_details
        self._is_quiet = is_quiet
        self._unsaid: list[str] = []
        self._notice = ""
        tolerate_any_text(stdout)
        tolerate_any_text(stderr)

    @contextmanager
    def following(self) -> Generator[None]:
        """Do nothing: lines are written as they come."""
        yield

    def say(self, sentence: str) -> None:
        """Write a sentence about the turn; where it is to be quiet, only if the question is not answered."""
        self._unsaid.append(flat(sentence))
        if not self._is_quiet:
            self._say_all()

    def end(self, outcome: Outcome) -> None:
        """Say what was kept back, where it tells why there is no answer."""
        if outcome != "answered":
            self._say_all()

    def _say_all(self) -> None:
        for sentence in self._unsaid:
            write(self._stderr, sentence)
        self._unsaid.clear()

    def progress(self, view: TurnView) -> None:
        """Write what the turn waits for, once for each new wait."""
        if view.notice and view.notice != self._notice:
            self.say(view.notice)
        self._notice = view.notice

    def call_ended(self, line: TraceLine) -> None:
        """Write the call's line."""
        if self._is_quiet:
            return
        width = shutil.get_terminal_size().columns
        write(self._stderr, render.call_line(line, width=width, is_ascii=not speaks_unicode(self._stderr)))
        if self._shows_details:
            write(self._stderr, render.call_details(line))
        if line.attachments:
            write(self._stderr, render.attachment_lines(line))

    def saved(self, path: Path) -> None:
        """Write where a file is."""
        write(self._stderr, flat(f"File: {path}"))

    async def answer(self, text: str, *, is_late: bool) -> None:
        """Write the answer; one to an earlier question goes to stderr, so that it is not mistaken for this one."""
        if is_late:
            write(self._stderr, f"Answer to an earlier question:\n{visible(text)}")
        else:
            self._print(text)

    def command_answer(self, answer: CommandAnswer, *, is_refusal: bool = False) -> None:
        """Write the answer of a command; one that says why nothing was done goes to stderr."""
        if is_refusal:
            write(self._stderr, visible(answer.text).rstrip("\n"))
            return
        self._print(answer.text)
        if answer.choices:
            write(self._stdout, render.numbered(answer.choices))

    def _print(self, text: str) -> None:
        print_markdown(text, self._stdout)


def print_markdown(text: str, stream: TextIO) -> None:
    """Draw Markdown on a terminal; into a pipe or a file, write it as it is."""
    if stream.isatty():
        from rich.console import Console

        Console(file=stream, highlight=False).print(render.markdown(text))
    else:
        write(stream, visible(text).rstrip("\n"))


def tolerate_any_text(stream: TextIO) -> None:
    """Replace characters that the stream's encoding lacks, instead of raising."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def speaks_unicode(stream: TextIO) -> bool:
    """Return whether the stream can show the symbols of the trace."""
    try:
        "✓✗…".encode(stream.encoding or "utf-8")  # a stream in memory has no encoding and takes everything
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def write(stream: TextIO, text: str) -> None:
    """Write a line; a reader that has seen enough is no error."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # The reader (`| head -1`) has seen enough; the interpreter must not fail at its own last flush either.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
