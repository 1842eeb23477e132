"""A process of the bot without its platform's connection: the real store, runner and inbox, made to crash."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from bot.domain.answers import Receipt
from bot.domain.events import CommandInvoked, ConversationKey, Event, MessageReceived
from bot.intake.admission import Admission
from bot.intake.commands import Commands
from bot.intake.inbox import Inbox
from bot.ports.model import Model
from bot.ports.platform import Adapter
from bot.ports.store import Store
from bot.ports.tools import Tools
from bot.stores.sqlite.store import open_store
from bot.turns.context import Window
from bot.turns.runner import Limits, Runner
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedTools

T = TypeVar("T")


@dataclass
class Clock:
    """A wall clock and a steady one, both moved by hand."""

    steady_s: float = 5_000.0
    wall_ahead_s: float = 1_800_000_000.0

    def now(self) -> float:
        return self.steady_s + self.wall_ahead_s

    def steady(self) -> float:
        return self.steady_s

    def pass_time(self, seconds: float) -> None:
        self.steady_s += seconds

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock forwards or backwards; no time passes."""
        self.wall_ahead_s += by_s


class Life:
    """Of one process: once it is over, nothing that the process does has an effect."""

    def __init__(self) -> None:
        self.is_over = False

    def end(self) -> None:
        self.is_over = True

    async def go_on(self) -> None:
        if self.is_over:
            await asyncio.Event().wait()


def mortal(part: T, life: Life) -> T:
    """Return the part as it is until the life is over; from then on its methods never return."""
    return cast("T", _Mortal(part, life))


class _Mortal:
    def __init__(self, part: object, life: Life) -> None:
        self._part = part
        self._life = life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*arguments: Any, **options: Any) -> Any:
            if self._life.is_over and name == "release":
                return None  # a dead process releases nothing, but the test goes on
            await self._life.go_on()
            result = await value(*arguments, **options)
            await self._life.go_on()
            return result

        return call


@dataclass
class Bot:
    """See `open_bot`."""

    store: Store
    runner: Runner
    inbox: Inbox
    life: Life

    async def receive(self, event: Event) -> Receipt:
        return await self.inbox.receive(event)

    async def say(self, event: MessageReceived) -> int:
        receipt = await self.receive(event)
        assert receipt.turn_id is not None, receipt.notice
        return receipt.turn_id

    async def command(self, name: str, conversation: ConversationKey = CONVERSATION) -> str:
        event = CommandInvoked(conversation=conversation, event_key=f"command-{name}", author_id="U1", name=name)
        receipt = await self.receive(event)
        assert receipt.answer is not None
        return receipt.answer.text

    def crash(self) -> None:
        """Die here and now; leaving the bot's context only clears up after it."""
        self.life.end()


@asynccontextmanager
async def open_bot(
    store: Store,
    model: Model,
    adapter: Adapter | None = None,
    tools: Tools | None = None,
    *,
    worker: str,
    limits: Limits | None = None,
    requests_per_minute: int = 100_000,
) -> AsyncGenerator[Bot]:
    """A process of the bot on a store that is open already."""
    life = Life()
    tools = tools or ScriptedTools({})
    runner = Runner(
        worker=worker,
        store=mortal(store, life),
        model=model,
        tools=tools,
        adapters=[mortal(adapter or RecordingAdapter(), life)],
        window=Window(max_messages=1000, max_tokens=1_000_000, count=len),
        system_prompt="Be brief.",
        limits=limits or Limits(drain_s=0.0, retry_s=0.01),
    )
    commands = Commands(store=store, tools=tools, model_name=model.name, about="", stop=runner.stop)
    inbox = Inbox(
        worker=worker,
        store=store,
        admission=Admission(max_input_chars=1000, requests_per_minute=requests_per_minute),
        command=commands.answer,
        wake=runner.wake,
        tools=tools,
    )
    async with runner.working():
        yield Bot(store, runner, inbox, life)


@asynccontextmanager
async def open_bot_on(
    path: Path, model: Model, adapter: Adapter | None = None, *, worker: str, clock: Clock | None = None, **options: Any
) -> AsyncGenerator[Bot]:
    """A process of the bot with its own connections to the database file."""
    clock = clock or Clock()
    async with (
        open_store(path, now=clock.now, steady=clock.steady) as store,
        open_bot(store, model, adapter, worker=worker, **options) as bot,
    ):
        yield bot


async def ended(bot: Bot, adapter: RecordingAdapter, turn_ids: Sequence[int]) -> list[str]:
    """Return the states in which the turns ended, once they all have."""
    async with asyncio.timeout(20):
        while True:
            states = {view.turn_id: view.state for view in adapter.views}
            if all(states.get(turn_id) in ("answered", "stopped", "failed", "undelivered") for turn_id in turn_ids):
                return [states[turn_id] for turn_id in turn_ids]
            await asyncio.sleep(0.005)


def at(seconds: float) -> datetime:
    """Return a time by its seconds."""
    return datetime.fromtimestamp(1_800_000_000 + seconds, UTC)
