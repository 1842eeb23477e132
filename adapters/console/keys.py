"""The keyboard while no line is being read: Ctrl-C is an event, all other keys are kept without an echo."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO


@contextmanager
def interrupts(on_interrupt: Callable[[], None]) -> Generator[None]:
    """Call `on_interrupt` in the running loop for each Ctrl-C; only in the main thread."""
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(on_interrupt)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def forget_keys(stdin: TextIO) -> None:
    """Drop the keys that were pressed and not read yet."""
    try:
        import termios
    except ImportError:  # Windows
        return
    if stdin.isatty():
        termios.tcflush(stdin, termios.TCIFLUSH)


@contextmanager
def quiet_keys(stdin: TextIO) -> Generator[None]:
    """Keep keys typed during a turn for the next prompt instead of echoing them into the output."""
    try:
        import termios
    except ImportError:  # Windows echoes nothing by itself
        yield
        return
    if not stdin.isatty():
        yield
        return
    before = termios.tcgetattr(stdin)
    quiet = termios.tcgetattr(stdin)
    # Ctrl-S would halt the program at its next line; Enter would look like Ctrl-J, which begins a line.
    quiet[0] &= ~(termios.IXON | termios.ICRNL)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSANOW, before)
