"""A terminal to test against: a real pseudo-terminal with someone who types and reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_J = "\n"
ENTER = "\r"
ALT_ENTER = "\x1b\r"
BACKSPACE = "\x7f"
UP = "\x1b[A"
TAB = "\t"

WAIT_S = 60.0

_CONTROL_SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[@-Z\\^_=>]")


class FakeTerminal:
    """The person's side of a pseudo-terminal; `raw` is all that the program wrote, `text` the same without controls."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._arrived = asyncio.Event()
        self.raw = ""

    @property
    def text(self) -> str:
        return _CONTROL_SEQUENCES.sub("", self.raw).replace("\r", "")

    def type(self, keys: str) -> None:
        """Press the keys."""
        os.write(self._master, keys.encode())

    def paste(self, text: str) -> None:
        """Paste as terminals with bracketed paste do."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    async def until(self, condition: Callable[[str], bool], *, what: str) -> None:
        """Wait until the text of all output so far fulfils the condition."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition(self.text):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"the terminal did not show {what}; it shows:\n{self.text}") from None

    async def shows(self, text: str, *, times: int = 1) -> None:
        """Wait until the text was written, at least `times` times since the start."""
        await self.until(lambda shown: shown.count(text) >= times, what=repr(text))

    def resize(self, *, columns: int, lines: int = 24) -> None:
        """Change the window's size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the window: the program loses its terminal, and gets SIGHUP."""
        asyncio.get_running_loop().remove_reader(self._master)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._master)  # closes the terminal; the descriptor stays taken
        os.close(nothing)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has closed its side
            asyncio.get_running_loop().remove_reader(self._master)
            data = b""
        if b"\x1b[6n" in data:
            os.write(self._master, b"\x1b[1;1R")  # every terminal says where its cursor is when asked
        self.raw += data.decode(errors="replace")
        self._arrived.set()


@asynccontextmanager
async def open_terminal() -> AsyncGenerator[tuple[FakeTerminal, TextIO, TextIO]]:
    """Yield a terminal with the input and output streams of a program in this process."""
    master, slave = pty.openpty()
    with (
        open(slave, encoding="utf-8", closefd=True) as stdin,  # noqa: ASYNC230, PTH123  (a descriptor that is open)
        open(os.dup(slave), "w", encoding="utf-8") as stdout,  # noqa: ASYNC230, PTH123  (a descriptor that is open)
    ):
        async with _reading(master) as terminal:
            yield terminal, stdin, stdout


@asynccontextmanager
async def run_in_terminal(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> AsyncGenerator[tuple[FakeTerminal, asyncio.subprocess.Process]]:
    """Yield a terminal with a process that it controls: Ctrl-C reaches it as a signal, as on a real one."""
    master, slave = pty.openpty()
    async with _reading(master) as terminal:
        terminal.resize(columns=100)
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_control,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
        os.close(slave)
        try:
            yield terminal, process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _take_control() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def _reading(master: int) -> AsyncGenerator[FakeTerminal]:
    terminal = FakeTerminal(master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, terminal._read)  # pyright: ignore[reportPrivateUsage]  (same module)
    try:
        yield terminal
    finally:
        loop.remove_reader(master)
        os.close(master)
