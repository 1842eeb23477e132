"""What the conversation core may rely on, whichever chat platform it talks to."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Literal, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.console.adapter import ConsoleAdapter
from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from adapters.discord.session import Watch as GatewayWatch
from adapters.slack.adapter import SlackAdapter
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from adapters.slack.progress import Pace
from adapters.slack.session import Watch
from bot.domain.answers import CommandAnswer, Done, Ignored, Known, Queued, Refused
from bot.domain.errors import AdapterError, StoreError
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.domain.turns import Post, TraceLine, TurnView
from bot.http.listener import open_listener
from bot.ports.platform import Adapter, Found
from tests.fakes.discord import Channel as Room
from tests.fakes.discord import FakeDiscord, User
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.slack import FakeSlack
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

    @property
    def core(self) -> Core:
        """What the adapter hands everything to."""
        ...

    @property
    def keeps_posts(self) -> bool:
        """Whether the platform can be asked later for what was posted."""
        ...

    async def run(self) -> None:
        """Run the adapter until the platform is closed."""
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

    def has_all_of(self, parts: Sequence[str], text: str) -> bool:
        """Return whether the parts of an answer hold all of it."""
        ...

    async def close(self) -> None:
        """End the platform."""
        ...


class Core:
    """Stands for the conversation core: keeps what it receives and returns the outcomes it was given.

    What is delivered again under its key is no new event, unless it could not be stored before.
    """

    def __init__(self) -> None:
        self.host = ScriptedHost(self._receive)
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.may_return = asyncio.Event()
        self.may_return.set()
        self.outcomes: list[Outcome | Exception] = []
        self._stored: dict[str, Event] = {}

    async def _receive(self, event: Event) -> Outcome:
        if (known := self._stored.setdefault(event.event_key, event)) is not event:
            assert event == known
            await self.may_return.wait()
            return Known(turn_id=0) if isinstance(event, MessageReceived) else Ignored()
        self.events.put_nowait(event)
        await self.may_return.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else _noted(event)
        if isinstance(outcome, Exception):
            del self._stored[event.event_key]
            raise outcome
        return outcome

    async def next_event(self) -> Event:
        async with asyncio.timeout(WAIT_S):
            return await self.events.get()


def _noted(event: Event) -> Outcome:
    match event:
        case MessageReceived():
            return Refused(notice="noted")
        case CommandInvoked():
            return CommandAnswer(text="noted")
        case MessageEdited() | MessageDeleted():
            return Ignored()
        case _:
            return Done(notice="noted")


class Console:
    """A person at a pseudo-terminal."""

    keeps_posts = False

    def __init__(self, core: Core, adapter: ConsoleAdapter, terminal: FakeTerminal) -> None:
        self.core = core
        self.adapter = adapter
        self._terminal = terminal

    async def run(self) -> None:
        await self.adapter.run()

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

    def has_all_of(self, parts: Sequence[str], text: str) -> bool:
        return "".join(parts) == text

    async def close(self) -> None:
        self._terminal.type(CTRL_C + CTRL_D)


@asynccontextmanager
async def open_console() -> AsyncGenerator[Platform]:
    async with open_terminal() as (terminal, stdin, stdout):
        core = Core()
        adapter = ConsoleAdapter("contract", host=core.host, stdin=stdin, stdout=stdout)
        yield Console(core, adapter, terminal)


class Slack:
    """A person in Slack, who writes to the bot in a direct message, or mentions it in a channel."""

    keeps_posts = True

    def __init__(self, core: Core, adapter: SlackAdapter, slack: FakeSlack, *, channel: str) -> None:
        self.core = core
        self.adapter = adapter
        self._slack = slack
        self._channel = channel
        self._written = ""  # timestamp of the last message
        self._closed = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self.adapter.run())
            await self._closed.wait()
            serving.cancel()
        await self.adapter.drain()

    async def write(self, text: str) -> None:
        await self._is_open()
        is_direct = self._channel.startswith("D")
        self._written = await self._slack.say(self._channel, "U1", text, mention=not is_direct)

    async def invoke(self, command: str, argument: str = "") -> None:
        await self._is_open()
        await self._slack.slash(self._channel, "U1", f"/{command}", argument)

    async def press_stop(self) -> None:
        await self._slack.until(lambda: self._slack.status(self._channel, self._written) == "processing", WAIT_S)
        await self._slack.press_stop(self._channel, self._written, "U1")

    async def sees(self, text: str) -> None:
        await self._slack.until(lambda: self.has_seen(text), WAIT_S)

    def has_seen(self, text: str) -> bool:
        threads = [self._slack.visible(self._channel, root.ts) for root in self._slack.visible(self._channel)]
        messages = [*(message for thread in threads for message in thread), *self._slack.ephemerals("U1")]
        return any(text in message.shown.replace("**", "") for message in messages)

    def has_all_of(self, parts: Sequence[str], text: str) -> bool:
        """Return whether the parts hold the text in order; white space at a cut may go, marks may be added."""
        shown = iter("".join("".join(parts).split()))
        return all(sign in shown for sign in "".join(text.split()))

    async def close(self) -> None:
        self._closed.set()

    async def _is_open(self) -> None:
        """Wait until deliveries reach the adapter, and point them at it."""
        async with asyncio.timeout(WAIT_S):
            await self.adapter.session.opened.wait()
        if self._slack.mode == "http":
            self._slack.events_url = f"http://127.0.0.1:{self.adapter.session.port}/slack/events"


@asynccontextmanager
async def open_slack_platform(
    mode: Literal["socket", "http"], channel: Literal["DM", "C1"]
) -> AsyncGenerator[Platform]:
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        slack.mode = mode
        options = SlackOptions(
            bot_token="xoxb-test",
            app_token="xapp-test" if mode == "socket" else "",
            signing_secret="signing-test" if mode == "http" else "",
            api_url=slack.api_url,
            pace=Pace(trace_delay_s=0.05, grow_from_s=0.1, status_gap_s=0.05),
            watch=Watch(look_s=0.02),
        )
        core = Core()
        async with (
            open_listener("127.0.0.1", 0) as core.host.http,
            open_slack(options, core.host) as adapter,
        ):
            yield Slack(core, adapter, slack, channel=slack.dm("U1") if channel == "DM" else channel)


class Discord:
    """A person in Discord, who writes to the bot in a direct message, in a channel or in a thread."""

    keeps_posts = True

    def __init__(self, core: Core, adapter: DiscordAdapter, discord: FakeDiscord, *, room: Room, ada: User) -> None:
        self.core = core
        self.adapter = adapter
        self._discord = discord
        self._room = room
        self._ada = ada
        self._closed = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self.adapter.run())
            await self._closed.wait()
            serving.cancel()
        await self.adapter.drain()

    async def write(self, text: str) -> None:
        await self._is_open()
        await self._discord.say(self._room, self._ada, text, mention=not self._room.is_dm)

    async def invoke(self, command: str, argument: str = "") -> None:
        await self._is_open()
        await self._discord.slash(self._room, self._ada, command, {"word": argument} if argument else {})

    async def press_stop(self) -> None:
        live = await self._discord.until(
            lambda: next((each for each in self._discord.own(self._room) if "tb:stop" in str(each.custom_ids)), None),
            WAIT_S,
        )
        await self._discord.press(self._room, live, self._ada, "tb:stop", wait=False)

    async def sees(self, text: str) -> None:
        await self._discord.until(lambda: self.has_seen(text), WAIT_S)

    def has_seen(self, text: str) -> bool:
        rooms = [self._room, *self._discord.threads(self._room)]
        messages = [each for room in rooms for each in self._discord.visible(room)]
        shown = [each.shown.replace("**", "") for each in [*messages, *self._discord.ephemerals(self._ada)]]
        return any(text in each for each in shown)

    def has_all_of(self, parts: Sequence[str], text: str) -> bool:
        """Return whether the parts hold the words in order; tables are drawn, and white space may go."""
        shown = iter("".join(parts))
        return all(sign in shown for sign in text if sign.isalnum())

    async def close(self) -> None:
        self._closed.set()

    async def _is_open(self) -> None:
        """Wait until deliveries reach the adapter, and people find its commands."""
        await self._discord.until(lambda: self._discord.connected() and self._discord.commands(), WAIT_S)


@asynccontextmanager
async def open_discord_platform(place: Literal["direct", "channel", "thread"]) -> AsyncGenerator[Platform]:
    async with FakeDiscord() as discord:
        guild = discord.add_guild("Team")
        ada = discord.add_user("Ada")
        room = discord.dm_channel(ada) if place == "direct" else discord.add_channel(guild, "general")
        if place == "thread":
            room = await discord.start_thread(room, ada, "Ours")
        options = DiscordOptions(
            bot_token=discord.token,
            api_url=discord.api_url,
            gateway_url=discord.gateway_url,
            allow_dms=True,
            pace=Pace(trace_delay_s=0.05, grow_from_chars=5, grow_from_s=0.1, status_gap_s=0.05),
            edit_gap_s=0.05,
            watch=GatewayWatch(back_off_s=0.1, identify_pause_s=0.05, guild_ready_s=0.05),
        )
        core = Core()
        async with open_discord(options, core.host) as adapter:
            yield Discord(core, adapter, discord, room=room, ada=ada)


PLATFORMS: dict[str, Callable[[], AbstractAsyncContextManager[Platform]]] = {
    "console": open_console,
    "slack-direct": lambda: open_slack_platform("socket", "DM"),
    "slack-channel": lambda: open_slack_platform("http", "C1"),
    "discord-direct": lambda: open_discord_platform("direct"),
    "discord-channel": lambda: open_discord_platform("channel"),
    "discord-thread": lambda: open_discord_platform("thread"),
}


@pytest.fixture(params=list(PLATFORMS))
async def platform(request: pytest.FixtureRequest) -> AsyncGenerator[Platform]:
    async with PLATFORMS[request.param]() as opened:
        yield opened


@asynccontextmanager
async def running(platform: Platform) -> AsyncGenerator[Core]:
    """Run the adapter against its core and close both at the end."""
    async with asyncio.timeout(2 * WAIT_S), asyncio.TaskGroup() as group:
        task = group.create_task(platform.run())
        yield platform.core
        await platform.close()
        async with asyncio.timeout(WAIT_S):
            await task


def view_of(event: Event, *, turn_id: int = 1, text: str = "", trace: tuple[TraceLine, ...] = ()) -> TurnView:
    return TurnView(
        turn_id=turn_id,
        conversation=event.conversation,
        state="running",
        text=text,
        trace=trace,
        in_reply_to=event.event_key,
        author_id=author_of(event),
    )


def end_of(event: Event, *, turn_id: int = 1) -> TurnView:
    return replace(view_of(event, turn_id=turn_id), state="answered")


def author_of(event: Event) -> str:
    assert isinstance(event, MessageReceived)
    return event.author_id


def post_for(event: Event, text: str, *, turn_id: int = 1) -> Post:
    return Post(
        key=f"{turn_id}.0",
        conversation=event.conversation,
        turn_id=turn_id,
        part=0,
        text=text,
        in_reply_to=event.event_key,
        author_id=author_of(event),
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


async def test_a_message_is_acknowledged_only_after_the_host_has_returned(platform: Platform) -> None:
    async with running(platform) as core:
        core.may_return.clear()
        core.outcomes = [Refused(notice="It is stored.")]
        await platform.write("hello")
        await core.next_event()
        assert not platform.has_seen("It is stored.")
        core.may_return.set()
        await platform.sees("It is stored.")


async def test_a_command_arrives_with_its_argument_and_its_answer_is_shown(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [CommandAnswer(text="Two **tools** match.")]
        await platform.invoke("tools", "calc")
        event = await core.next_event()
        await platform.sees("Two tools match.")
    assert isinstance(event, CommandInvoked)
    assert (event.name, event.argument) == ("tools", "calc")


async def test_a_stop_reaches_the_core_while_a_turn_runs(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1)]
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
        core.outcomes = [Queued(turn_id=1)]
        await platform.write("save it")
        event = await core.next_event()
        platform.adapter.show(view_of(event, text="I am saving it", trace=(line,)))
        await platform.sees("I am saving it")
        await platform.sees("save")
        platform.adapter.show(end_of(event))


async def test_a_turn_that_waits_for_a_decision_rests_and_goes_on_where_it_was(platform: Platform) -> None:
    line = TraceLine(call_id="c1", server="ops", tool="deploy", state="waiting", arguments="{}")
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1)]
        await platform.write("deploy it")
        event = await core.next_event()
        platform.adapter.show(view_of(event, trace=(replace(line, state="asked"),)))
        waiting = replace(view_of(event, trace=(line,)), state="waiting", notice="The call is waiting for Ben.")
        platform.adapter.show(waiting)
        await platform.sees("waiting")
        goes_on = replace(view_of(event, trace=(replace(line, state="ok", seconds=1.5),)), attempt=2)
        platform.adapter.show(goes_on)
        await platform.adapter.post(post_for(event, "It is deployed."))
        await platform.sees("It is deployed.")
        platform.adapter.show(replace(goes_on, state="answered"))


async def test_a_post_can_be_seen_and_has_a_reference(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1)]
        await platform.write("hello")
        event = await core.next_event()
        first = await platform.adapter.post(post_for(event, "Hello to you!"))
        await platform.sees("Hello to you!")
        platform.adapter.show(end_of(event))
    assert first


async def test_two_posts_have_two_references(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1), Queued(turn_id=2)]
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


async def test_a_post_that_was_sent_is_found_by_its_reference_where_the_platform_keeps_it(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1)]
        await platform.write("hello")
        event = await core.next_event()
        sent = post_for(event, "Hello to you!")
        reference = await platform.adapter.post(sent)
        found = await platform.adapter.find(sent)
        other = await platform.adapter.find(post_for(event, "Hello to you!", turn_id=2))
        platform.adapter.show(end_of(event))
    assert found == (Found(reference=reference) if platform.keeps_posts else None)
    assert other is None


async def test_a_core_that_cannot_store_a_message_says_so_and_gets_the_next_one(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [StoreError("The disk is full. Free some space.")]
        await platform.write("first")
        first = await core.next_event()
        await platform.sees("The disk is full. Free some space.")
        await platform.write("second")
        event = await core.next_event()
        while event == first:  # what could not be stored may be delivered again, as it was
            event = await core.next_event()
    assert isinstance(event, MessageReceived)
    assert event.text == "second"


async def test_show_returns_at_once_however_often_it_is_called(platform: Platform) -> None:
    async with running(platform) as core:
        core.outcomes = [Queued(turn_id=1)]
        await platform.write("hello")
        event = await core.next_event()
        began = time.thread_time()  # what else the machine does meanwhile is not counted
        for length in range(5_000):
            platform.adapter.show(view_of(event, text="x" * length))
        cost_s = time.thread_time() - began
        platform.adapter.show(end_of(event))
    assert cost_s < 1.0


async def test_show_after_the_end_is_ignored_and_post_raises(platform: Platform) -> None:
    async with running(platform) as core:
        await platform.write("hello")
        event = await core.next_event()
    platform.adapter.show(view_of(event, text="too late"))
    with pytest.raises(AdapterError):
        await platform.adapter.post(post_for(event, "too late"))


pieces = st.lists(
    st.text(max_size=20) | st.sampled_from(["```\n", "~~~\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "\n\n"])
)
answers = st.text() | st.tuples(pieces.map("".join), st.integers(1, 2_000)).map(lambda made: made[0] * made[1])


async def test_splitting_an_answer_loses_none_of_its_text(platform: Platform) -> None:
    @given(text=answers)
    @example(text="Some words. " * 2_000)
    @example(text="Before it.\n\n```py\n" + "x = 1\n" * 3_000 + "```\n\nAfter it.")
    @example(text="| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 2_000)
    @settings(max_examples=60)
    def loses_nothing(text: str) -> None:
        parts = platform.adapter.split(text)
        assert parts
        assert platform.has_all_of(parts, text)

    loses_nothing()
