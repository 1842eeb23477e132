"""What the conversation core may rely on, whichever chat platform it talks to."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.console.adapter import ConsoleAdapter
from bot.errors import AdapterError, StoreError
from bot.events import CommandInvoked, ConversationKey, Event, MessageReceived
from bot.ports import Adapter, CommandAnswer, Post, Receipt, TraceLine, TurnView
from tests.fakes.terminal import CTRL_C, CTRL_D, ENTER, FakeTerminal, open_terminal

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the machine that runs the tests says about its own terminal out of them."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


class Platform(Protocol):
    """An adapter and the platform it serves, seen by a person who uses it."""

    @property
    def adapter(self) -> Adapter:
        """The adapter under test."""
        ...

    async def write(self, text: str) -> None:
        """Write to the bot."""
        ...

    async def invoke(self, command: str, argument: str = "") -> None:
        """Use one of the bot's commands."""
        ...

    async def press_stop(self) -> None:
        """Stop the turn that is running, in the platform's own way."""
        ...

    async def sees(self, text: str) -> None:
        """Wait until the text can be seen."""
        ...

    def has_seen(self, text: str) -> bool:
        """Say whether the text can be seen already."""
        ...

    async def close(self) -> None:
        """End the platform."""
        ...


class Core:
    """Stands for the conversation core: keeps what it receives and returns the receipts it was given."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.may_return = asyncio.Event()
        self.may_return.set()
        self.outcomes: list[Receipt | Exception] = []

    async def receive(self, event: Event) -> Receipt:
        self.events.put_nowait(event)
        await self.may_return.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else Receipt(turn_id=None, notice="noted")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def next_event(self) -> Event:
        async with asyncio.timeout(WAIT_S):
            return await self.events.get()


class Console:
    """A person at a pseudo-terminal."""

    def __init__(self, adapter: ConsoleAdapter, terminal: FakeTerminal) -> None:
        self.adapter = adapter
        self._terminal = terminal

    async def write(self, text: str) -> None:
        await self._terminal.shows(">")
        self._terminal.paste(text)
        self._terminal.type(ENTER)

    async def invoke(self, command: str, argument: str = "") -> None:
        await self.write(f"/{command} {argument}")

    async def press_stop(self) -> None:
        # The terminal of this process is another one: its signal has to be raised by hand.
        signal.raise_signal(signal.SIGINT)

    async def sees(self, text: str) -> None:
        await self._terminal.shows(text)

    def has_seen(self, text: str) -> bool:
        return text in self._terminal.text

    async def close(self) -> None:
        self._terminal.type(CTRL_C + CTRL_D)


@asynccontextmanager
async def open_console() -> AsyncGenerator[Platform]:
    async with open_terminal() as (terminal, stdin, stdout):
        adapter = ConsoleAdapter("contract", stdin=stdin, stdout=stdout)
        yield Console(adapter, terminal)


PLATFORMS: dict[str, Callable[[], AbstractAsyncContextManager[Platform]]] = {"console": open_console}


@pytest.fixture(params=list(PLATFORMS))
async def platform(request: pytest.FixtureRequest) -> AsyncGenerator[Platform]:
    async with PLATFORMS[request.param]() as opened:
        yield opened


@asynccontextmanager
async def running(platform: Platform) -> AsyncGenerator[Core]:
    """Run the adapter against a core and close both at the end."""
    core = Core()
    async with asyncio.timeout(2 * WAIT_S), asyncio.TaskGroup() as group:
        task = group.create_task(platform.adapter.run(core.receive))
        yield core
        await platform.close()
        async with asyncio.timeout(WAIT_S):
            await task


def view_of(event: Event, *, turn_id: int = 1, text: str = "", trace: tuple[TraceLine, ...] = ()) -> TurnView:
    return TurnView(turn_id=turn_id, conversation=event.conversation, state="running", text=text, trace=trace)


def end_of(event: Event, *, turn_id: int = 1) -> TurnView:
    return TurnView(turn_id=turn_id, conversation=event.conversation, state="answered")


def post_for(event: Event, text: str, *, turn_id: int = 1) -> Post:
    return Post(
        key=f"{turn_id}.0",
        conversation=event.conversation,
        turn_id=turn_id,
        part=0,
        text=text,
        in_reply_to=event.event_key,
    )


async def test_a_message_arrives_as_it_was_written(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("Grüße 👋\n  second line")
        event = await core.next_event()
    assert isinstance(event, MessageReceived)
    assert event.text == "Grüße 👋\n  second line"
    assert event.sent_at.tzinfo is not None


async def test_a_conversation_is_one_that_the_adapter_serves(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("hello")
        event = await core.next_event()
    assert event.conversation.platform == platform.adapter.name
    assert str(event.conversation).startswith(platform.adapter.serves)
    assert ConversationKey.parse(str(event.conversation)) == event.conversation


async def test_each_event_has_a_key_of_its_own(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("same")
        first = await core.next_event()
        await platform.write("same")
        second = await core.next_event()
    assert first.event_key != second.event_key


async def test_a_message_is_acknowledged_only_after_receive_has_returned(platform: Platform) -> None:
    async with running(platform) as core:
        core.may_return.clear()
        core.outcomes = [Receipt(turn_id=None, notice="It is stored.")]
        await platform.write("hello")
        await core.next_event()
        assert not platform.has_seen("It is stored.")
        core.may_return.set()
        await platform.sees("It is stored.")


async def test_a_command_arrives_with_its_argument_and_its_answer_is_shown(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=None, answer=CommandAnswer(text="Two **tools** match."))]
        await platform.invoke("tools", "calc")
        event = await core.next_event()
        await platform.sees("Two tools match.")
    assert isinstance(event, CommandInvoked)
    assert (event.name, event.argument) == ("tools", "calc")


async def test_a_stop_reaches_the_core_while_a_turn_runs(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=1)]
        await platform.write("count to a million")
        event = await core.next_event()
        platform.adapter.show(view_of(event, text="one, two, "))
        await platform.sees("one, two,")
        await platform.press_stop()
        stop = await core.next_event()
        platform.adapter.show(end_of(event))
    assert isinstance(stop, CommandInvoked)
    assert (stop.name, stop.conversation) == ("stop", event.conversation)


async def test_a_running_turn_shows_its_text_and_its_ended_calls(platform: Platform) -> None:
    line = TraceLine(call_id="c1", server="files", tool="save", state="ok", arguments='{"name": "a.txt"}', seconds=0.25)
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=1)]
        await platform.write("save it")
        event = await core.next_event()
        platform.adapter.show(view_of(event, text="I am saving it", trace=(line,)))
        await platform.sees("I am saving it")
        await platform.sees("save")
        platform.adapter.show(end_of(event))


async def test_a_post_can_be_seen_and_has_a_reference(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=1)]
        await platform.write("hello")
        event = await core.next_event()
        first = await platform.adapter.post(post_for(event, "Hello to you!"))
        await platform.sees("Hello to you!")
        platform.adapter.show(end_of(event))
    assert first


async def test_two_posts_have_two_references(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=1), Receipt(turn_id=2)]
        references: list[str] = []
        for turn_id in (1, 2):
            await platform.write("hello")
            event = await core.next_event()
            references.append(await platform.adapter.post(post_for(event, f"Answer {turn_id}", turn_id=turn_id)))
            await platform.sees(f"Answer {turn_id}")
            platform.adapter.show(end_of(event, turn_id=turn_id))
    assert len(set(references)) == 2


async def test_a_post_that_was_never_sent_is_not_found(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("hello")
        event = await core.next_event()
        found = await platform.adapter.find(post_for(event, "never sent"))
    assert found is None


async def test_a_core_that_cannot_store_a_message_says_so_and_gets_the_next_one(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [StoreError("The disk is full. Free some space.")]
        await platform.write("first")
        await core.next_event()
        await platform.sees("The disk is full. Free some space.")
        await platform.write("second")
        event = await core.next_event()
    assert isinstance(event, MessageReceived)
    assert event.text == "second"


async def test_show_returns_at_once_however_often_it_is_called(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Receipt(turn_id=1)]
        await platform.write("hello")
        event = await core.next_event()
        began = time.perf_counter()
        for length in range(5_000):
            platform.adapter.show(view_of(event, text="x" * length))
        elapsed_s = time.perf_counter() - began
        platform.adapter.show(end_of(event))
    assert elapsed_s < 1.0


async def test_show_after_the_end_is_ignored_and_post_raises(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("hello")
        event = await core.next_event()
    platform.adapter.show(view_of(event, text="too late"))
    with pytest.raises(AdapterError):
        await platform.adapter.post(post_for(event, "too late"))


@given(text=st.text())
def test_splitting_an_answer_loses_none_of_its_text(text: str) -> None:
    parts = ConsoleAdapter("split").split(text)
    assert "".join(parts) == text
