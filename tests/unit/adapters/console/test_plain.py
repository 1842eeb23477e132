"""One question without a chat: what goes to stdout and stderr, and the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.console.adapter import ConsoleAdapter
from bot.domain.answers import CommandAnswer, Queued
from bot.domain.errors import AdapterError, StoreError
from bot.domain.events import CommandInvoked, MessageReceived, SharedFile
from bot.domain.messages import Attachment
from bot.domain.turns import Post, TraceLine, TurnState, TurnView
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.terminal import open_terminal

WAIT_S = 20.0
CALL = TraceLine(
    call_id="c1", server="files", tool="save", state="ok", arguments='{"name": "a.txt"}', result="saved", seconds=0.5
)


class OneShot:
    """An adapter that asks one question; `turn` is what the core does with it."""

    def __init__(self, turn: Callable[[OneShot, Event], Awaitable[None]] | None = None, **options: Any) -> None:
        self.stdout = options.pop("stdout", None) or io.StringIO()
        self.stderr = io.StringIO()
        self._group = asyncio.TaskGroup()
        self.adapter = ConsoleAdapter(
            "test", host=ScriptedHost(self._receive), stdout=self.stdout, stderr=self.stderr, **options
        )
        self.commands: list[CommandInvoked] = []
        self.files: Sequence[SharedFile] = ()
        self._turn = turn

    async def ask(self, text: str = "hello", *, says_yes: bool = False, **options: Any) -> int:
        async with asyncio.timeout(WAIT_S), self._group:
            return await self.adapter.ask_once(text, says_yes=says_yes, patience_s=0.2, **options)

    async def _receive(self, event: Event) -> Outcome:
        if isinstance(event, CommandInvoked):
            self.commands.append(event)
            self.show("stopped")
            return CommandAnswer(text=f"**{event.name}**")
        if isinstance(event, MessageReceived):
            self.files = event.files
        if self._turn is not None:
            self._group.create_task(self._isolated(self._turn(self, event)))
        return Queued(turn_id=1)

    @staticmethod
    async def _isolated(turn: Awaitable[None]) -> None:
        with contextlib.suppress(AdapterError):  # the core would try again later
            await turn

    def show(self, state: TurnState = "running", **parts: Any) -> None:
        self.adapter.show(TurnView(turn_id=1, conversation=self.adapter.conversation, state=state, **parts))

    async def post(self, event: Event, text: str, *, is_late: bool = False, **parts: Any) -> None:
        await self.adapter.post(
            Post(
                key="p",
                conversation=self.adapter.conversation,
                turn_id=1,
                part=0,
                text=text,
                in_reply_to="" if is_late else event.event_key,
                **parts,
            )
        )


async def answer(one: OneShot, event: Event) -> None:
    one.show(trace=(CALL,), notice="The model is busy. Trying again in 2 s.")
    await asyncio.sleep(0)
    one.show(trace=(CALL,), notice="The model is busy. Trying again in 2 s.")
    await one.post(event, "It is **saved**.\n")
    one.show("answered", trace=(CALL,))


async def test_the_answer_goes_to_stdout_as_markdown_and_the_trace_to_stderr() -> None:
    one = OneShot(answer)
    assert await one.ask() == 0
    assert one.stdout.getvalue() == "It is **saved**.\n"
    assert one.stderr.getvalue().splitlines() == [
        '  ✓ files.save  name="a.txt"  0.5 s',
        "The model is busy. Trying again in 2 s.",
    ]


async def test_a_full_trace_shows_arguments_and_result() -> None:
    one = OneShot(answer, trace="full")
    await one.ask()
    assert '      arguments: {"name": "a.txt"}\n      result: saved\n' in one.stderr.getvalue()


async def test_without_a_trace_only_the_answer_is_written() -> None:
    one = OneShot(answer, trace="off")
    await one.ask()
    assert "files.save" not in one.stderr.getvalue()


@pytest.mark.parametrize("state", ["failed", "stopped", "undelivered"])
async def test_a_turn_that_is_not_answered_exits_with_one(state: TurnState) -> None:
    async def end(one: OneShot, event: Event) -> None:
        await one.post(event, "It did not work.")
        one.show(state)

    one = OneShot(end)
    assert await one.ask() == 1
    assert one.stdout.getvalue() == "It did not work.\n"


async def test_ctrl_c_stops_the_turn_and_exits_with_130() -> None:
    async def interrupt(one: OneShot, event: Event) -> None:
        signal.raise_signal(signal.SIGINT)

    one = OneShot(interrupt)
    assert await one.ask() == 130
    assert [command.name for command in one.commands] == ["stop"]


async def test_the_answer_to_an_earlier_question_does_not_mix_with_the_answer() -> None:
    async def both(one: OneShot, event: Event) -> None:
        await one.post(event, "an old answer", is_late=True)
        await one.post(event, "the answer")
        one.show("answered")

    one = OneShot(both)
    assert await one.ask() == 0
    assert one.stdout.getvalue() == "the answer\n"
    assert "Answer to an earlier question:\nan old answer" in one.stderr.getvalue()


async def test_a_command_is_answered_on_stdout() -> None:
    one = OneShot()
    assert await one.ask("/usage") == 0
    assert one.stdout.getvalue() == "**usage**\n"


@pytest.mark.parametrize("text", ["", " \n"])
async def test_what_is_no_question_exits_with_one(text: str) -> None:
    one = OneShot(answer)
    assert await one.ask(text) == 1
    assert one.stderr.getvalue() == "There is no question to answer.\n"


async def test_an_unknown_command_exits_with_one() -> None:
    one = OneShot()
    assert await one.ask("/hlep") == 1
    assert "Did you mean /help?" in one.stderr.getvalue()


async def test_a_store_that_fails_is_said_and_exits_with_one() -> None:
    async def refuse(event: Event) -> Outcome:
        raise StoreError("The disk is full.")

    err = io.StringIO()
    adapter = ConsoleAdapter("test", host=ScriptedHost(refuse), stdout=io.StringIO(), stderr=err)
    assert await adapter.ask_once("hello") == 1
    assert err.getvalue() == "The disk is full.\n"


@pytest.mark.parametrize(
    ("notice", "said"),
    [
        ("Two people on call have to approve this.", "Two people on call have to approve this.\n"),
        ("", "The question waits for a decision. The answer is shown once that is made.\n"),
    ],
)
async def test_a_question_that_waits_for_a_decision_exits_with_one_and_says_why(notice: str, said: str) -> None:
    async def wait(one: OneShot, event: Event) -> None:
        one.show("waiting", notice=notice)

    one = OneShot(wait)
    assert await one.ask() == 1
    assert (one.stdout.getvalue(), one.stderr.getvalue()) == ("", said)


async def test_when_quiet_only_the_answer_is_written() -> None:
    one = OneShot(answer, banner="The built-in model.")
    assert await one.ask(style="quiet") == 0
    assert (one.stdout.getvalue(), one.stderr.getvalue()) == ("It is **saved**.\n", "")


async def test_when_quiet_it_is_still_said_why_there_is_no_answer() -> None:
    async def refuse(one: OneShot, event: Event) -> None:
        one.show("failed")

    one = OneShot(refuse)
    assert await one.ask(style="quiet") == 1
    assert (one.stdout.getvalue(), one.stderr.getvalue()) == ("", "The question could not be answered.\n")


async def test_as_json_answer_calls_and_files_are_one_object(tmp_path: Path) -> None:
    async def with_a_file(one: OneShot, event: Event) -> None:
        plot = Attachment(name="plot.png", mime_type="image/png", data=b"PNG")
        one.show(trace=(CALL,))
        await one.post(event, "An earlier \x9b one.", is_late=True)
        await one.post(event, "It is **saved**.\n", attachments=(plot,))
        one.show("answered", trace=(CALL,))

    one = OneShot(with_a_file, attachments=tmp_path, trace="off", banner="The built-in model.")
    assert await one.ask(style="json") == 0
    assert "\x9b" not in one.stdout.getvalue() and one.stderr.getvalue() == ""
    said = json.loads(one.stdout.getvalue())
    assert said.pop("files") == [str(tmp_path / "p-1-plot.png")]
    assert said == {
        "outcome": "answered",
        "answer": "It is **saved**.\n",
        "calls": [
            {
                "server": "files",
                "tool": "save",
                "state": "ok",
                "arguments": '{"name": "a.txt"}',
                "result": "saved",
                "seconds": 0.5,
                "attachments": [],
                "note": "",
            }
        ],
        "notices": ["The built-in model."],
        "earlier_answers": ["An earlier \x9b one."],
    }


async def test_as_json_a_command_is_answered_and_what_is_wrong_is_said() -> None:
    one = OneShot()
    assert await one.ask("/usage", style="json") == 0
    assert json.loads(one.stdout.getvalue())["answer"] == "**usage**"
    one = OneShot()
    assert await one.ask(files=["/absent"], style="json") == 2
    said = json.loads(one.stdout.getvalue())
    assert (said["outcome"], said["notices"]) == ("misused", ["There is no file /absent."])


async def test_the_question_takes_files_along(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Milk")
    one = OneShot(answer)
    assert await one.ask(files=[str(tmp_path / "a.txt")]) == 0
    assert [(file.name, file.size) for file in one.files] == [("a.txt", 4)]
    assert await one.adapter.fetch(one.files[0], one.adapter.conversation, max_bytes=10) == b"Milk"


async def test_a_file_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    one = OneShot(answer)
    assert await one.ask(files=[str(tmp_path / "absent")]) == 2
    assert one.stderr.getvalue() == f"There is no file {tmp_path / 'absent'}.\n"


async def test_no_control_code_reaches_the_output() -> None:
    async def attack(one: OneShot, event: Event) -> None:
        await one.post(event, "\x1b[31mred\x1b[0m\x07\x9b2J\ttab")
        one.show("answered")

    one = OneShot(attack)
    await one.ask()
    assert one.stdout.getvalue() == "red\ttab\n"


async def test_on_a_terminal_the_answer_is_drawn() -> None:
    async with open_terminal() as (terminal, _, stdout):
        assert await OneShot(answer, stdout=stdout).ask() == 0
        await terminal.shows("It is saved.")


async def test_characters_that_the_output_lacks_are_replaced() -> None:
    raw = io.BytesIO()

    async def speak(one: OneShot, event: Event) -> None:
        await one.post(event, "naïve ✓")
        one.show("answered")

    with io.TextIOWrapper(raw, encoding="ascii") as stdout:
        assert await OneShot(speak, stdout=stdout).ask() == 0
        assert raw.getvalue() == b"na?ve ?\n"


async def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stdout:  # noqa: ASYNC230, PTH123  (a pipe's end)
        assert await OneShot(answer, stdout=stdout).ask() == 0


async def test_output_that_cannot_be_written_is_an_error_at_once() -> None:
    with open("/dev/full", "w") as stdout:  # noqa: ASYNC230, PTH123  (a device)
        try:
            with pytest.RaisesGroup(AdapterError, flatten_subgroups=True):
                await OneShot(answer, stdout=stdout).ask()
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())  # for what is still buffered


def test_asking_once_imports_neither_the_prompt_nor_the_drawing_library() -> None:
    program = "import sys, adapters.console.adapter; print(sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not re.search(r"'(rich|prompt_toolkit|markdown_it)'", done.stdout)
