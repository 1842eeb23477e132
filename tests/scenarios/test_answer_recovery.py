"""An answer that was being shown when the chat died is shown whole at the next start, once."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import pty
import re
import signal
import sqlite3
import struct
import sys
import termios
from contextlib import closing

from adapters.console.adapter import ConsoleAdapter
from bot.domain.answers import Queued
from bot.domain.turns import TurnView
from tests.fakes.hosts import Event, ScriptedHost
from tests.fakes.mcp_servers.processes import until
from tests.fakes.terminal import ENTER, run_in_terminal
from tests.scenarios.conftest import WAIT_S, Endpoint, Toolbridge

CHAT = (sys.executable, "-m", "bot", "chat", "--trust")
QUESTION = "Count, please"
LINES = [f"line {number} of the answer, with some more words" for number in range(2_000)]
PIPE_BYTES = 65_536  # as Linux makes them
LATE = "Answer to an earlier question:"


async def script_answer(endpoint: Endpoint) -> None:
    """Make the model answer the next question with more than a terminal or a pipe holds unread."""
    await endpoint.script({"text": "\n".join(LINES)})


def post_states(toolbridge: Toolbridge) -> list[str]:
    file = toolbridge.home / "toolbridge.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        try:
            return [state for (state,) in database.execute("SELECT state FROM outbox ORDER BY turn_id, part")]
        except sqlite3.OperationalError:
            return []  # its tables are being made


def lines_of_the_answer(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("line ")]


async def kill_at_a_full_terminal(toolbridge: Toolbridge) -> None:
    """Ask at a terminal that is read slowly, and not at all once the answer is being shown; then kill the chat."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *CHAT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        cwd=toolbridge.folder,
        env=toolbridge.environment,
    )
    os.close(slave)
    os.set_blocking(master, False)
    terminal = SlowTerminal(master)
    try:
        await until(lambda: "\n>" in terminal.read(), timeout_s=WAIT_S)
        os.write(master, (QUESTION + ENTER).encode())
        await until(lambda: terminal.read() and post_states(toolbridge) == ["posting"], timeout_s=WAIT_S)
        await until(lambda: unread(master) > 0, timeout_s=WAIT_S)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)


class SlowTerminal:
    """Shows a little more with each look at it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._text = ""

    def read(self) -> str:
        """Return all that was shown, without colours and cursor movements."""
        try:
            data = os.read(self._master, 1_000)
        except BlockingIOError:
            data = b""
        if b"\x1b[6n" in data:
            os.write(self._master, b"\x1b[1;1R")  # every terminal says where its cursor is when asked
        self._text += re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", data.decode(errors="replace"))
        return self._text


def unread(descriptor: int) -> int:
    """Return how many bytes can be read at once."""
    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0]


async def test_an_answer_that_was_being_drawn_at_kill_9_is_shown_whole_at_the_next_start_and_not_again(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    await script_answer(endpoint)
    await kill_at_a_full_terminal(toolbridge)
    assert post_states(toolbridge) == ["posting"]
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (terminal, _):
        await terminal.shows(LINES[-1])
        assert lines_of_the_answer(terminal.text.partition(LATE)[2]) == LINES
        await until(lambda: post_states(toolbridge) == ["posted"])
        terminal.type("What is 6 * 7?" + ENTER)
        await terminal.shows("42")
        await until(lambda: post_states(toolbridge) == ["posted", "posted"])
        terminal.type("/exit" + ENTER)
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (terminal, _):
        await terminal.shows("\n>")
        terminal.type("What is 5 * 5?" + ENTER)
        await terminal.shows("25")
        assert LATE not in terminal.text
        assert "line " not in terminal.text


async def test_an_answer_that_was_being_printed_at_kill_9_is_printed_whole_by_the_next_question_and_not_again(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    await script_answer(endpoint)
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(*CHAT, "-m", QUESTION),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=toolbridge.folder,
            env=toolbridge.environment,
        )
        os.close(write_end)
        await until(lambda: unread(read_end) >= PIPE_BYTES, timeout_s=WAIT_S)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    finally:
        os.close(read_end)
    assert post_states(toolbridge) == ["posting"]
    second, third = await toolbridge.ask("What is 6 * 7?"), await toolbridge.ask("What is 5 * 5?")
    assert lines_of_the_answer(second.err.partition(LATE)[2]) == LINES
    assert "42" in second.out
    assert "line " not in second.out + third.out + third.err
    assert "25" in third.out


async def test_an_answer_that_was_still_being_written_at_kill_9_is_shown_whole_at_the_next_start_and_not_again(
    toolbridge: Toolbridge, endpoint: Endpoint
) -> None:
    answer = " ".join(f"word{number}" for number in range(60))
    await endpoint.fail("stall", after_chunks=20)
    await endpoint.script({"text": answer}, {"text": answer})
    async with run_in_terminal(CHAT, environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        await terminal.shows("\n>")
        terminal.type(QUESTION + ENTER)
        await terminal.shows("word5")
        process.send_signal(signal.SIGKILL)
        await process.wait()
    second, third = await toolbridge.ask("What is 6 * 7?"), await toolbridge.ask("What is 5 * 5?")
    assert second.err.partition(LATE)[2].split()[:60] == answer.split()
    assert second.err.count("word59") == 1
    assert "word" not in second.out + third.out + third.err


async def test_a_chat_whose_question_another_process_took_over_says_so_instead_of_waiting_forever() -> None:
    async def receive(event: Event) -> Queued:
        adapter.show(TurnView(turn_id=1, conversation=adapter.conversation, state="taken_over"))
        return Queued(turn_id=1)

    adapter = ConsoleAdapter("main", host=ScriptedHost(receive), stdin=sys.__stdin__)
    async with asyncio.timeout(WAIT_S):
        assert await adapter.ask_once(QUESTION) == 1
