"""The person at the terminal who is asked."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Sequence
from typing import Protocol

from bot.text.terminal import flat, visible


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


class Terminal:
    """A person at a terminal, asked line by line."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession  # slow to import, and scripts do without

        self._open: PromptSession[str] = PromptSession()
        self._hidden: PromptSession[str] = PromptSession(is_password=True)

    async def text(self, question: str, *, default: str = "") -> str:
        shown = f" [{flat(default)}]" if default else ""
        return await _read(self._open.prompt_async(f"{flat(question)}{shown} ")) or default

    async def secret(self, question: str) -> str:
        return await _read(self._hidden.prompt_async(f"{flat(question)} "))

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


async def _read(reading: Awaitable[str]) -> str:
    try:
        return (await reading).strip()
    except KeyboardInterrupt:
        raise StoppedError(130) from None  # what a shell reports for Ctrl-C
    except EOFError:
        raise StoppedError(1) from None
