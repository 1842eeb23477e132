"""One conversation, on the terminal, in Slack and in Discord: what people see is the same."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from adapters.console.adapter import ConsoleAdapter
from bot.app import open_app
from bot.models.rehearsal_server import serve_rehearsal
from bot.settings import load_settings
from tests.e2e.discord import serving as discord_serving
from tests.e2e.discord.rooms import Room
from tests.e2e.slack import serving as slack_serving
from tests.e2e.slack.pressing import Person
from tests.e2e.slack.serving import Model
from tests.e2e.slack.threads import Thread, start
from tests.fakes.discord import Message

# An answer with most of what Markdown has.
SAVED = """## Result

15 × 8 is **120**, saved as `calculation.txt`:

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


@dataclass
class Seen:
    """What somebody saw of the conversation, without the way in which it was drawn."""

    answers: list[str] = field(default_factory=list[str])
    calls: list[list[tuple[str, str, str]]] = field(default_factory=list[list[tuple[str, str, str]]])  # sign, server, tool
    commands: list[str] = field(default_factory=list[str])


class Place(Protocol):
    """Where a person talks with the bot."""

    async def ask(self, text: str) -> tuple[str, str]:
        """Ask, and return the answer and what is shown of the tools, as they are read."""
        ...

    async def command(self, name: str, argument: str = "") -> str:
        """Return what a command answers."""
        ...


# --- the terminal ---


@dataclass
class Terminal:
    """`toolbridge chat -m`, one start after the other."""

    home: Path
    model: Model

    async def ask(self, text: str) -> tuple[str, str]:
        out, err = await self._run(text)
        return out, err

    async def command(self, name: str, argument: str = "") -> str:
        out, _ = await self._run(f"/{name} {argument}")
        return out

    async def _run(self, text: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        adapter = ConsoleAdapter("main", stdout=out, stderr=err)
        async with open_app(load_settings(env_file=None, **settings(self)), [adapter], drain_s=0.5) as app:
            assert await adapter.ask_once(app.receive, text) == 0, err.getvalue()
        return out.getvalue(), err.getvalue()


def settings(place: Terminal) -> dict[str, Any]:
    return {"openai_base_url": place.model.url, "openai_model": "rehearsal", "toolbridge_home": place.home}


@asynccontextmanager
async def open_terminal(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with serve_rehearsal(control=True) as url:
        yield Terminal(home, Model(url)), Model(url)


# --- Slack: a thread, in which commands are written as words ---


class SlackThread:
    """Ada in a thread."""

    def __init__(self, bot: slack_serving.Bot) -> None:
        self._bot = bot
        self._ada = Person(slack=bot.slack)
        self._thread: Thread | None = None

    async def ask(self, text: str) -> tuple[str, str]:
        if self._thread is None:
            self._thread = await start(self._bot, "U1", text)
        else:
            await self._thread.say("U1", text)
        thread = self._thread
        before = len(thread.answers)
        await thread.answered(before + 1)
        traces = thread.traces[len(self._traces) :] if False else thread.traces
        return thread.texts[-1], traces[-1].shown if traces else ""

    async def command(self, name: str, argument: str = "") -> str:
        assert self._thread is not None
        before = len(self._ada.answers)
        await self._thread.say("U1", f"{name} {argument}".strip(), mention=True)
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

    async def ask(self, text: str) -> tuple[str, str]:
        before = len(self._room.answers)
        question = await self._room.ask(self._world.ada, text)
        answers = await self._room.answered(before + 1)
        return answers[-1], "\n".join(trace.content for trace in self._traces_of(question))

    async def command(self, name: str, argument: str = "") -> str:
        options = {"word": argument} if argument else {}
        asked = await self._world.discord.slash(self._world.channel, self._world.ada, name, options)
        await self._world.discord.until(lambda: asked.text)
        return asked.text

    def _traces_of(self, question: Message) -> Sequence[Message]:
        thread = self._world.discord.thread_of(question)
        return self._world.discord.own(thread) if thread is not None else ()


@asynccontextmanager
async def open_discord(home: Path) -> AsyncGenerator[tuple[Place, Model]]:
    async with discord_serving.open_world() as world, discord_serving.serving(world, home) as bot:
        await world.discord.until(lambda: world.discord.commands(world.guild))
        yield DiscordChannel(world, bot), world.model


# --- the conversation ---


Open = Callable[[Path], AbstractAsyncContextManager[tuple[Place, Model]]]
