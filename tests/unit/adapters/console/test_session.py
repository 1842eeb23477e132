"""The chat at a terminal: prompt, keys, live turns."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import pytest

from adapters.console.adapter import ConsoleAdapter
from bot.domain.answers import CommandAnswer, Example, Queued, Refused
from bot.domain.events import CommandInvoked, MessageReceived
from bot.domain.turns import Post, TraceLine, TurnState, TurnView
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.terminal import (
    ALT_ENTER,
    BACKSPACE,
    CTRL_C,
    CTRL_D,
    CTRL_J,
    ENTER,
    TAB,
    UP,
    FakeTerminal,
    open_terminal,
    run_in_terminal,
)

WAIT_S = 20.0
CALL = TraceLine(
    call_id="c1",
    server="calculator",
    tool="calculate",
    state="ok",
    arguments='{"a": 15, "b": 8}',
    result="Result: 120\nsecond line",
    seconds=0.31,
    attachments=("plot.png",),
)


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the machine that runs the tests says about its own terminal out of them."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Core:
    """Stands for the conversation core: the test answers each question by hand. `options` are the adapter's."""

    options: dict[str, Any]
    ends_at_once: bool = False
    outcome: Outcome = field(default_factory=lambda: Queued(turn_id=1))
    events: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue[Event]())
    commands: asyncio.Queue[CommandInvoked] = field(default_factory=lambda: asyncio.Queue[CommandInvoked]())
    command_answer: CommandAnswer = field(default_factory=lambda: CommandAnswer(text="done"))

    def __post_init__(self) -> None:
        self.adapter = ConsoleAdapter("test", host=ScriptedHost(self.receive), **self.options)

    async def receive(self, event: Event) -> Outcome:
        if isinstance(event, CommandInvoked):
            self.commands.put_nowait(event)
            return self.command_answer
        if self.ends_at_once:
            self.show("answered")
        self.events.put_nowait(event)
        return self.outcome

    async def question(self) -> MessageReceived:
        async with asyncio.timeout(WAIT_S):
            event = await self.events.get()
        assert isinstance(event, MessageReceived)
        return event

    async def command(self) -> CommandInvoked:
        async with asyncio.timeout(WAIT_S):
            return await self.commands.get()

    def show(self, state: TurnState = "running", **parts: Any) -> None:
        self.adapter.show(TurnView(turn_id=1, conversation=self.adapter.conversation, state=state, **parts))

    async def answer(self, question: MessageReceived, text: str) -> None:
        await self.post(text, in_reply_to=question.event_key)
        self.show("answered")

    async def post(self, text: str, *, in_reply_to: str) -> None:
        await self.adapter.post(
            Post(
                key="p",
                conversation=self.adapter.conversation,
                turn_id=1,
                part=0,
                text=text,
                in_reply_to=in_reply_to,
            )
        )


@dataclass
class Chat:
    """A chat that runs at a terminal."""

    core: Core
    terminal: FakeTerminal
    ended: asyncio.Task[None]

    async def ask(self, text: str) -> MessageReceived:
        self.terminal.type(text + ENTER)
        return await self.core.question()

    async def has_ended(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.ended


@asynccontextmanager
async def chatting(**options: Any) -> AsyncGenerator[Chat]:
    """Run a chat; the test's end leaves it unless the test did."""
    async with open_terminal() as (terminal, stdin, stdout), asyncio.TaskGroup() as group:
        core = Core({"banner": "Welcome.", "stdin": stdin, "stdout": stdout, **options})
        chat = Chat(core, terminal, group.create_task(core.adapter.run()))
        await terminal.shows("Welcome.")
        yield chat
        if not chat.ended.done():
            core.show("answered")
            terminal.type(CTRL_C + CTRL_D)
        await chat.has_ended()


# --- typing ----------------------------------------------------------------------------------------------------


async def test_a_pasted_text_of_several_lines_is_one_message() -> None:
    async with chatting() as chat:
        chat.terminal.paste("first\nsecond\nthird")
        question = await chat.ask("")
    assert question.text == "first\nsecond\nthird"


@pytest.mark.parametrize("key", [CTRL_J, ALT_ENTER])
async def test_alt_enter_and_ctrl_j_begin_another_line_and_enter_sends_all_of_them(key: str) -> None:
    async with chatting() as chat:
        question = await chat.ask(f"first{key}second{key}{key}third")
        await chat.terminal.shows("second")
    assert question.text == "first\nsecond\n\nthird"


async def test_empty_lines_are_ignored() -> None:
    async with chatting() as chat:
        chat.terminal.type(ENTER + "   " + ENTER)
        assert (await chat.ask("hello")).text == "hello"


async def test_a_slash_completes_the_commands() -> None:
    async with chatting() as chat:
        chat.terminal.type("/us")
        await chat.terminal.shows("show turns and tokens used")
        chat.terminal.type(TAB + ENTER)
        assert (await chat.core.command()).name == "usage"


async def test_the_word_of_a_command_is_left_free() -> None:
    async with chatting() as chat:
        chat.terminal.type("/tools file" + ENTER)
        command = await chat.core.command()
    assert (command.name, command.argument) == ("tools", "file")


async def test_an_earlier_line_comes_back_in_the_next_chat(tmp_path: Path) -> None:
    file = tmp_path / "home" / "history"
    async with chatting(history_file=file) as chat:
        await chat.core.answer(await chat.ask("what is 2 + 2?"), "Four.")
        await chat.terminal.shows("Four.")
    async with chatting(history_file=file) as chat:
        chat.terminal.type(UP)
        await chat.terminal.shows("what is 2 + 2?")
        assert (await chat.ask("")).text == "what is 2 + 2?"
    assert file.stat().st_mode & 0o077 == 0


async def test_a_history_that_cannot_be_written_does_not_prevent_the_chat(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with chatting(history_file=tmp_path / "file" / "history") as chat:
        assert (await chat.ask("hello")).text == "hello"


async def test_an_unknown_command_gets_the_nearest_and_is_not_sent() -> None:
    async with chatting() as chat:
        chat.terminal.type("/hlep" + ENTER)
        await chat.terminal.shows("There is no command /hlep. Did you mean /help?")
        assert chat.core.events.empty()
        assert chat.core.commands.empty()


async def test_files_go_with_the_next_message_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my notes.txt").write_text("Milk")
    (tmp_path / "b.txt").write_text("")
    async with chatting() as chat:
        chat.terminal.type("/attach my notes.txt" + ENTER)
        await chat.terminal.shows("takes along my notes.txt (4 bytes).")
        chat.terminal.type("/attach b.txt 'my notes.txt'" + ENTER)
        await chat.terminal.shows("takes along my notes.txt (4 bytes), b.txt (0 bytes).")
        chat.terminal.type("/attach absent" + ENTER)
        await chat.terminal.shows("There is no file absent.")
        question = await chat.ask("what is this?")
        assert [file.name for file in question.files] == ["my notes.txt", "b.txt"]
        await chat.core.answer(question, "Milk.")
        assert (await chat.ask("and now?")).files == ()


async def test_a_refused_message_leaves_its_files_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Milk")
    async with chatting() as chat:
        chat.core.outcome = Refused(notice="Too long.")
        chat.terminal.type("/attach a.txt" + ENTER)
        await chat.ask("x")
        await chat.terminal.shows("Too long.")
        chat.core.outcome = Queued(turn_id=1)
        assert len((await chat.ask("y")).files) == 1


async def test_files_can_be_left_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Milk")
    async with chatting() as chat:
        chat.terminal.type("/attach a.t")
        await chat.terminal.shows("a.txt")
        chat.terminal.type(TAB + ENTER)
        await chat.terminal.shows("takes along a.txt")
        chat.terminal.type("/detach" + ENTER)
        await chat.terminal.shows("No file is attached.")
        assert (await chat.ask("hello")).files == ()


async def test_a_number_runs_an_example_while_the_list_is_the_last_thing_shown() -> None:
    async with chatting() as chat:
        chat.core.command_answer = CommandAnswer(text="**Examples**", choices=(Example(title="t", text="Greet Ann"),))
        chat.terminal.type("/examples" + ENTER)
        await chat.terminal.shows("1. Greet Ann")
        question = await chat.ask("1")
        assert question.text == "Greet Ann"
        await chat.terminal.shows("Greet Ann", times=2)
        await chat.core.answer(question, "Hello Ann.")
        assert (await chat.ask("1")).text == "1"


async def test_help_tells_the_keys_of_this_terminal() -> None:
    async with chatting() as chat:
        chat.terminal.type("/help" + ENTER)
        await chat.terminal.shows("stops the answer; what you type meanwhile is kept")


# --- leaving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [CTRL_D, "/exit" + ENTER], ids=["ctrl-d", "exit"])
async def test_the_user_leaves(keys: str) -> None:
    async with chatting() as chat:
        chat.terminal.type(keys)
        await chat.has_ended()


async def test_ctrl_c_clears_the_line_and_a_second_one_leaves() -> None:
    async with chatting() as chat:
        chat.terminal.type("half a question")
        await chat.terminal.shows("half a question")
        chat.terminal.type(CTRL_C)
        assert (await chat.ask("another")).text == "another"
        chat.core.show("answered")
        chat.terminal.type("never sent")
        await chat.terminal.shows("never sent")
        chat.terminal.type(CTRL_C + CTRL_C)
        await chat.has_ended()


async def test_one_ctrl_c_at_an_empty_prompt_tells_how_to_leave() -> None:
    async with chatting() as chat:
        chat.terminal.type(CTRL_C)
        await chat.terminal.shows("Ctrl-C again, Ctrl-D or /exit leaves.")
        assert (await chat.ask("still here")).text == "still here"


# --- a turn ----------------------------------------------------------------------------------------------------


async def test_a_turn_is_seen_live_then_its_calls_then_its_answer() -> None:
    async with chatting() as chat:
        question = await chat.ask("what is 15 * 8?")
        await chat.terminal.shows("thinking")
        chat.core.show(text="Let me **see**")
        await chat.terminal.shows("Let me see")
        chat.core.show(text="Let me **see**", trace=(CALL,), notice="The model is busy. Trying again in 2 s.")
        await chat.terminal.shows("  ✓ calculator.calculate  a=15, b=8  0.3 s")
        await chat.terminal.shows("file: plot.png")
        await chat.terminal.shows("Trying again in 2 s.")
        await chat.core.answer(question, "It is **120**.")
        await chat.terminal.shows("It is 120.")
    assert chat.terminal.text.count("calculator.calculate  a=15") == 1
    assert "second line" not in chat.terminal.text


async def test_a_full_trace_shows_arguments_and_result_whole() -> None:
    async with chatting(trace="full") as chat:
        await chat.ask("what is 15 * 8?")
        chat.core.show(trace=(CALL,))
        await chat.terminal.shows('arguments: {"a": 15, "b": 8}')
        await chat.terminal.shows("second line")


async def test_without_a_trace_no_call_is_shown() -> None:
    async with chatting(trace="off") as chat:
        question = await chat.ask("what is 15 * 8?")
        chat.core.show(trace=(CALL,))
        await chat.core.answer(question, "Done.")
        await chat.terminal.shows("Done.")
    assert "a=15" not in chat.terminal.text


async def test_a_turn_that_has_to_wait_says_behind_how_many() -> None:
    async with chatting() as chat:
        chat.core.outcome = Queued(turn_id=1, waits_behind=2)
        await chat.ask("hello")
        await chat.terminal.shows("Waits behind 2 messages.")


async def test_a_refused_message_shows_why() -> None:
    async with chatting() as chat:
        chat.core.outcome = Refused(notice="Too many messages wait.")
        await chat.ask("hello")
        await chat.terminal.shows("Too many messages wait.")
        assert (await chat.ask("again")).text == "again"
    assert "Waits behind" not in chat.terminal.text


async def test_a_stop_without_a_post_is_still_said() -> None:
    async with chatting() as chat:
        await chat.ask("hello")
        chat.core.show("stopped")
        await chat.terminal.shows("Stopped.")


async def test_a_turn_that_waits_for_a_decision_says_so_and_gives_the_prompt_back() -> None:
    waits = replace(CALL, state="waiting")
    async with chatting() as chat:
        question = await chat.ask("deploy it")
        chat.core.show(trace=(waits,))
        chat.core.show("waiting", trace=(waits,), notice="Two people on call have to approve this.")
        await chat.terminal.shows("Two people on call have to approve this.")
        chat.core.show("running", trace=(CALL,), attempt=2)
        await chat.core.answer(question, "It is deployed.")
        await chat.terminal.shows("Answer to an earlier question:")
        await chat.terminal.shows("It is deployed.")
    assert "calculator.calculate  a=15" not in chat.terminal.text  # it has not ended


async def test_an_end_that_comes_before_the_question_is_handed_over_is_not_missed() -> None:
    async with chatting() as chat:
        chat.core.ends_at_once = True
        await chat.ask("hello")
        assert (await chat.ask("next")).text == "next"


async def test_what_is_typed_during_a_turn_is_seen_and_is_the_start_of_the_next_line() -> None:
    async with chatting() as chat:
        question = await chat.ask("first")
        chat.core.show(text="still working")
        await chat.terminal.shows("still working")
        chat.terminal.type("typpo" + BACKSPACE * 2 + "ed ")
        await chat.terminal.shows("> typed")
        await chat.core.answer(question, "Answered.")
        await chat.terminal.until(lambda shown: "> typed" in shown.rpartition("Answered.")[2], what="the line, kept")
        assert (await chat.ask("ahead")).text == "typed ahead"


async def test_lines_that_were_sent_off_during_a_turn_are_asked_in_turn_after_it() -> None:
    async with chatting() as chat:
        question = await chat.ask("first")
        chat.terminal.type("second" + ENTER + "third" + CTRL_J + "line" + ENTER + "fou")
        await chat.terminal.shows("fou")
        await chat.core.answer(question, "One.")
        question = await chat.core.question()
        assert question.text == "second"
        await chat.core.answer(question, "Two.")
        question = await chat.core.question()
        assert question.text == "third\nline"
        await chat.core.answer(question, "Three.")
        assert (await chat.ask("rth")).text == "fourth"


async def test_a_line_that_was_sent_off_before_the_chat_was_there_is_asked() -> None:
    async with open_terminal() as (terminal, stdin, stdout), asyncio.TaskGroup() as group:
        core = Core({"stdin": stdin, "stdout": stdout})
        terminal.type("early" + ENTER)
        ended = group.create_task(core.adapter.run())
        question = await core.question()
        await core.answer(question, "Answered.")
        terminal.type(CTRL_D)
        await ended
    assert question.text == "early"


async def test_the_answer_to_an_earlier_question_is_shown_above_the_line_being_typed() -> None:
    async with chatting() as chat:
        chat.terminal.type("half a")
        await chat.terminal.shows("half a")
        await chat.core.post("The *old* answer.", in_reply_to="console:of-an-earlier-chat")
        await chat.terminal.shows("Answer to an earlier question:")
        await chat.terminal.until(
            lambda shown: "half a" in shown.rpartition("The old answer.")[2], what="the line again, below the answer"
        )
        assert (await chat.ask(" line")).text == "half a line"


class Interrupted(io.TextIOWrapper):
    """An output during which something happens, the first time that the text is written."""

    def __init__(self, stdout: TextIO, text: str, happen: Callable[[], None]) -> None:
        super().__init__(os.fdopen(os.dup(stdout.fileno()), "wb"), encoding="utf-8")
        self._text = text
        self._happen = happen

    def write(self, text: str) -> int:
        if self._text and self._text in text:
            self._text = ""
            self._happen()
        return super().write(text)


async def test_enter_while_a_late_answer_is_being_printed_sends_the_line_below_it() -> None:
    async with open_terminal() as (terminal, stdin, stdout), asyncio.TaskGroup() as group:
        with Interrupted(stdout, "The old answer.", lambda: terminal.type("a line" + ENTER)) as interrupted:
            core = Core({"banner": "Welcome.", "stdin": stdin, "stdout": interrupted})
            ended = group.create_task(core.adapter.run())
            terminal.type("half ")
            await terminal.shows("> half")
            await core.post("The old answer.", in_reply_to="console:of-an-earlier-chat")
            assert (await core.question()).text == "half a line"
            core.show("answered")
            terminal.type(CTRL_D)
            await ended


async def test_an_answer_that_is_ready_before_the_chat_opens_is_shown_when_it_does() -> None:
    async with open_terminal() as (terminal, stdin, stdout), asyncio.TaskGroup() as group:
        core = Core({"stdin": stdin, "stdout": stdout})
        posted = group.create_task(core.post("The old answer.", in_reply_to="console:earlier"))
        ended = group.create_task(core.adapter.run())
        await terminal.shows("The old answer.")
        await posted
        terminal.type(CTRL_D)
        await ended


async def test_a_hostile_answer_cannot_steer_the_terminal() -> None:
    async with chatting() as chat:
        question = await chat.ask("hello")
        chat.core.show(text="\x1b]0;owned\x07\x1b[2Jlive", trace=(CALL,), notice="\x1b]0;owned\x07")
        await chat.terminal.shows("calculator.calculate")
        await chat.core.answer(question, "\x1b]0;owned\x07harmless")
        await chat.terminal.shows("harmless")
    assert "owned" not in chat.terminal.raw
    assert "\x1b]" not in chat.terminal.raw


# --- a process at a terminal of its own ------------------------------------------------------------------------

PROGRAM = """
import asyncio
from adapters.console.adapter import ConsoleAdapter
from bot.domain.events import CommandInvoked
from bot.domain.answers import CommandAnswer, Queued
from bot.domain.turns import TurnView
from tests.fakes.hosts import ScriptedHost

async def main():
    def show(state):
        said = {"text": "naïve ✓ words", "notice": "The model is busy."}
        adapter.show(TurnView(turn_id=1, conversation=adapter.conversation, state=state, **said))
    async def receive(event):
        if isinstance(event, CommandInvoked):
            if STOPS:
                show("stopped")
            return CommandAnswer(text="Stopping.")
        show("running")
        return Queued(turn_id=1, waits_behind=1)
    adapter = ConsoleAdapter("test", host=ScriptedHost(receive), banner="Welcome.")
    await adapter.run()
    print("left properly")

asyncio.run(main())
"""


@asynccontextmanager
async def process(
    *, stops: bool, **environment: str
) -> AsyncGenerator[tuple[FakeTerminal, asyncio.subprocess.Process]]:
    program = PROGRAM.replace("STOPS", str(stops))
    around = {"PYTHONIOENCODING": "utf-8", **environment}
    async with run_in_terminal([sys.executable, "-c", program], environment=around) as (terminal, running):
        await terminal.shows("Welcome.")
        terminal.type("hello" + ENTER)
        yield terminal, running
        async with asyncio.timeout(WAIT_S):
            assert await running.wait() == 0


async def test_ctrl_c_stops_the_turn_and_brings_the_prompt_back() -> None:
    async with process(stops=True) as (terminal, _):
        await terminal.shows("words")
        terminal.type(CTRL_C)
        await terminal.shows("Stopping. Ctrl-C again leaves.")
        await terminal.shows("Stopped.")
        terminal.type("/exit" + ENTER)
        await terminal.shows("left properly")


async def test_a_second_ctrl_c_leaves_a_turn_that_does_not_end() -> None:
    async with process(stops=False) as (terminal, _):
        await terminal.shows("words")
        terminal.type(CTRL_C)
        await terminal.shows("Stopping. Ctrl-C again leaves.")
        terminal.type(CTRL_C)
        await terminal.shows("left properly")


async def test_the_window_may_change_its_width_while_a_turn_runs() -> None:
    async with process(stops=True) as (terminal, _):
        await terminal.shows("words")
        terminal.resize(columns=20)
        terminal.resize(columns=120)
        terminal.type(CTRL_C)
        await terminal.shows("Stopped.")
        terminal.type("/exit" + ENTER)
        await terminal.shows("left properly")


async def test_no_color_leaves_out_all_colours() -> None:
    async with process(stops=True, NO_COLOR="1") as (terminal, _):
        await terminal.shows("words")
        terminal.type(CTRL_C)
        await terminal.shows("Stopped.")
        terminal.type("/exit" + ENTER)
        await terminal.shows("left properly")
    assert "\x1b[36m" not in terminal.raw


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}], ids=["dumb", "ascii"])
async def test_a_poor_terminal_is_good_enough(environment: dict[str, str]) -> None:
    async with process(stops=True, **environment) as (terminal, _):
        await terminal.shows("Waits behind 1 message.")
        await terminal.shows("The model is busy.")
        terminal.type(CTRL_C)
        await terminal.shows("Stopped.")
        terminal.type("/exit" + ENTER)
        await terminal.shows("left properly")
