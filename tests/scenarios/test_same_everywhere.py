"""One conversation, on the terminal, in Slack and in Discord: what people see is the same."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from adapters.console.adapter import ConsoleAdapter
from bot.app import open_app
from bot.settings import load_settings
from tests.fakes.discord import Message
from tests.fakes.openai import serve_openai
from tests.fakes.slack import Message as SlackMessage
from tests.scenarios.discord import serving as discord_serving
from tests.scenarios.discord.rooms import Room
from tests.scenarios.model import Model
from tests.scenarios.slack import serving as slack_serving
from tests.scenarios.slack.pressing import Person
from tests.scenarios.slack.threads import Thread, start

# An answer with most of what Markdown has.
SAVED = """## Result

15 times 8 is **120**, saved as `calculation.txt`:

| step | tool |
|------|------|
| product | *calculate* |
| file | save_text_file |

1. Ask for more.
2. Or read the [manual](https://example.com/manual).

```py
print(15 * 8)
```
"""
AGAIN = "It was **120**; half of it is 60."
FAILED = "That cannot be divided."


def calls(*wanted: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An answer of the model that asks for tools of the bundled server."""
    return {"tool_calls": [{"name": f"toolbridge__{name}", "arguments": dict(given)} for name, given in wanted]}


def calculation(operation: str, a: float, b: float) -> tuple[str, Mapping[str, Any]]:
    return "calculate", {"operation": operation, "a": a, "b": b}


ANSWERS: Sequence[Mapping[str, Any]] = (
    calls(calculation("multiply", 15, 8), ("save_text_file", {"filename": "calculation.txt", "content": "120"})),
    {"text": SAVED},
    {"text": AGAIN},
    calls(calculation("divide", 1, 0)),
    {"text": FAILED},
)


class Call(NamedTuple):
    """A tool call as a trace shows it."""

    sign: str
    server: str
    tool: str


class Place(Protocol):
    """Where a person talks with the bot."""

    async def ask(self, text: str, *, tools: int) -> tuple[str, str]:
        """Ask; return the answer and what is shown of so many tool calls, as both are read."""
        ...

    async def command(self, name: str, argument: str = "") -> str:
        """Return what a command answers."""
        ...


# --- the terminal ---


@dataclass(frozen=True)
class Terminal:
    """`toolbridge chat -m`, one start after the other."""

    home: Path
    model: Model

    async def ask(self, text: str, *, tools: int) -> tuple[str, str]:
        return await self._run(text)

    async def command(self, name: str, argument: str = "") -> str:
        return (await self._run(f"/{name} {argument}"))[0]

    async def _run(self, text: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        adapter = ConsoleAdapter("main", stdout=out, stderr=err)
        settings = load_settings(
            env_file=None, openai_base_url=self.model.url, openai_model="rehearsal", toolbridge_home=self.home
        )
        async with open_app(settings, [adapter], drain_s=0.5) as app:
            assert await adapter.ask_once(app.receive, text) == 0, err.getvalue()
        return out.getvalue(), err.getvalue()


@asynccontextmanager
async def open_terminal(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with serve_openai(control=True) as url:
        yield Terminal(home, Model(url)), Model(url)


# --- Slack: a thread, in which commands are written as words ---


class SlackThread:
    """Ada in a thread."""

    def __init__(self, bot: slack_serving.Bot) -> None:
        self._bot = bot
        self._ada = Person(slack=bot.slack)
        self._thread: Thread | None = None
        self._asked = 0

    async def ask(self, text: str, *, tools: int) -> tuple[str, str]:
        if self._thread is None:
            self._thread = await start(self._bot, "U1", text)
        else:
            await self._thread.say("U1", text)
        thread, seen = self._thread, len(self._thread.traces) if self._asked else 0
        self._asked += 1
        await thread.answered(self._asked)
        await self._bot.slack.until(lambda: len(calls_in(shown(thread.traces[seen:]))) == tools)
        return thread.texts[-1], shown(thread.traces[seen:])

    async def command(self, name: str, argument: str = "") -> str:
        assert self._thread is not None
        before = len(self._ada.answers)
        await self._thread.say("U1", f"{name} {argument}", mention=True)
        return (await self._ada.next_answer(after=before)).shown


@asynccontextmanager
async def open_slack(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with slack_serving.open_world() as (slack, model), slack_serving.serving(slack, model, home) as bot:
        yield SlackThread(bot), model


# --- Discord: a channel, with slash commands ---


class DiscordChannel:
    """Ada in a channel."""

    def __init__(self, world: discord_serving.World, bot: discord_serving.Bot) -> None:
        self._world = world
        self._room = Room(world=world, bot=bot, channel=world.channel)
        self._asked = 0

    async def ask(self, text: str, *, tools: int) -> tuple[str, str]:
        self._asked += 1
        question = await self._room.ask(self._world.ada, text)
        answers = await self._room.answered(self._asked)
        await self._world.discord.until(lambda: len(calls_in(self._trace_of(question))) == tools)
        return answers[-1], self._trace_of(question)

    async def command(self, name: str, argument: str = "") -> str:
        options = {"word": argument} if argument else {}
        asked = await self._world.discord.slash(self._world.channel, self._world.ada, name, options)
        await self._world.discord.until(lambda: asked.text)
        return asked.text

    def _trace_of(self, question: Message) -> str:
        thread = self._world.discord.thread_of(question)
        return shown(self._world.discord.own(thread)) if thread is not None else ""


@asynccontextmanager
async def open_discord(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with discord_serving.open_world() as world, discord_serving.serving(world, home) as bot:
        await world.discord.until(lambda: world.discord.commands(world.guild))
        yield DiscordChannel(world, bot), world.model


# --- the conversation ---


PLACES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[tuple[Place, Model]]]] = {
    "terminal": open_terminal,
    "slack": open_slack,
    "discord": open_discord,
}


@dataclass
class Seen:
    """What somebody saw of the conversation, without the way in which it was drawn."""

    answers: list[Sequence[str]] = field(default_factory=list[Sequence[str]])  # their words
    tools: list[Sequence[Call]] = field(default_factory=list[Sequence[Call]])
    commands: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])  # words, by what was asked
    roles: list[Sequence[str]] = field(default_factory=list[Sequence[str]])  # of the messages that the model read

    async def ask(self, place: Place, text: str, *, tools: int = 0) -> None:
        answer, trace = await place.ask(text, tools=tools)
        self.answers.append(words(answer))
        self.tools.append(calls_in(trace))

    async def command(self, place: Place, name: str, argument: str = "", *, key: str = "") -> None:
        self.commands[key or f"{name} {argument}".strip()] = words(await place.command(name, argument))


async def converse(place: Place, model: Model) -> Seen:
    """Have the conversation, and return what was seen."""
    await model.script(*ANSWERS)
    seen = Seen()
    await seen.ask(place, "Calculate 15 * 8 and save the result to calculation.txt", tools=2)
    await seen.ask(place, "How much was it, and half of it?")
    await seen.command(place, "tools")
    await seen.command(place, "tools", "calc")
    await seen.ask(place, "Now divide 1 by 0", tools=1)
    await seen.command(place, "history")
    await seen.command(place, "clear")
    await seen.command(place, "history", key="history afterwards")
    seen.roles = [[message["role"] for message in request["messages"]] for request in await model.requests()]
    return seen


def shown(messages: Sequence[Message] | Sequence[SlackMessage]) -> str:
    return "\n".join(message.shown for message in messages)


def calls_in(trace: str) -> Sequence[Call]:
    """Return the ended calls that a trace shows, in its order: their sign, and the names of server and tool."""
    lines = [line.replace("\\", "") for line in trace.splitlines()]
    return [
        Call(sign=sign[0], server="toolbridge" if "toolbridge" in line else "", tool=tool[0])
        for line in lines
        if (sign := re.search("[✓✗]", line)) and (tool := re.search("calculate|save_text_file", line))
    ]


def words(text: str) -> Sequence[str]:
    """Return the words that people read: no markup, no times, and not whose questions they were.

    A picture of a table or a heading differs from place to place; what it says does not.
    """
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", text)
    text = re.sub(r"\*\*(you|Ada)\*\*", "", text)
    text = re.sub(r"^```\w+$", "```", text, flags=re.MULTILINE)
    return re.findall(r"\w+(?:\.\w+)*", text.replace("\\", ""))


async def test_the_same_conversation_is_seen_on_the_terminal_in_slack_and_in_discord(tmp_path: Path) -> None:
    everywhere: dict[str, Seen] = {}
    for name, open_place in PLACES.items():
        home = tmp_path / name
        home.mkdir()
        async with open_place(home) as (place, model):
            everywhere[name] = await converse(place, model)
    seen = everywhere["terminal"]
    assert seen.answers == [words(SAVED), words(AGAIN), words(FAILED)]
    calculated, failed = (Call(sign=sign, server="toolbridge", tool="calculate") for sign in "✓✗")
    saved = Call(sign="✓", server="toolbridge", tool="save_text_file")
    assert seen.tools == [[calculated, saved], [], [failed]]
    assert {"save_text_file", "calculate"} <= set(seen.commands["tools"])
    assert "calculate" in seen.commands["tools calc"] and "save_text_file" not in seen.commands["tools calc"]
    history = " ".join(seen.commands["history"])
    assert "used toolbridge__calculate toolbridge__save_text_file" in history and "That cannot be divided" in history
    assert " ".join(seen.commands["clear"]).startswith("11 messages of this conversation deleted")
    assert everywhere["slack"] == seen
    assert everywhere["discord"] == seen
