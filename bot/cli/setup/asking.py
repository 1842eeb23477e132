"""The person at the terminal who is asked."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from bot.text.terminal import flat, visible

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession


class StoppedError(Exception):
    """The person ended it: `code` is the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__("stopped")
        self.code = code


class Person(Protocol):
    """Who answers; each question raises StoppedError once they leave."""

    async def text(self, question: str, *, default: str = "") -> str:
        """Return a line; Enter alone is the default."""
        ...

    async def secret(self, question: str) -> str:
        """Return a line that is not shown."""
        ...

    async def agrees(self, question: str, *, default: bool = False) -> bool:
        """Return yes or no."""
        ...

    async def choice(self, question: str, options: Sequence[str]) -> int:
        """Return the index of one of the options; Enter alone is the first."""
        ...


def say(text: str = "") -> None:
    """Print it, without anything that would steer the terminal."""
    print(visible(text), flush=True)


def is_at_terminal() -> bool:
    """Return whether someone can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def unechoed() -> Generator[None]:
    """Show no key that is pressed between two questions: it may belong to a token that was pasted early."""
    try:
        import termios
    except ImportError:  # Windows echoes nothing by itself
        yield
        return
    if not is_at_terminal():
        yield
        return
    before, quiet = termios.tcgetattr(sys.stdin), termios.tcgetattr(sys.stdin)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _forget_keys() -> None:
    """Drop the keys that were pressed before a question was there: they answer no question."""
    try:
        import termios
    except ImportError:  # Windows
        return
    termios.tcflush(sys.stdin, termios.TCIFLUSH)


class Terminal:
    """A person at a terminal, asked line by line."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession  # slow to import, and scripts do without

        self._open: PromptSession[str] = PromptSession()
        self._hidden: PromptSession[str] = PromptSession(is_password=True)

    async def text(self, question: str, *, default: str = "") -> str:
        shown = f" [{flat(default)}]" if default else ""
        return await self._read(self._open, f"{question}{shown}") or default

    async def secret(self, question: str) -> str:
        return await self._read(self._hidden, question)

    async def agrees(self, question: str, *, default: bool = False) -> bool:
        hint = "[Y/n]" if default else "[y/N]"
        while True:
            answer = (await self.text(f"{question} {hint}")).lower()
            if answer in ("", "y", "yes", "n", "no"):
                return default if not answer else answer.startswith("y")

    async def choice(self, question: str, options: Sequence[str]) -> int:
        say(question)
        for number, option in enumerate(options, start=1):
            say(f"  {number}. {flat(option)}")
        while True:
            answer = await self.text("Number:", default="1")
            if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(options):
                return int(answer) - 1

    async def _read(self, session: PromptSession[str], question: str) -> str:
        from prompt_toolkit.input.typeahead import clear_typeahead

        _forget_keys()
        clear_typeahead(session.input)
        try:
            return (await session.prompt_async(f"{flat(question)} ")).strip()
        except KeyboardInterrupt:
            raise StoppedError(130) from None  # what a shell reports for Ctrl-C
        except EOFError:
            raise StoppedError(1) from None
