"""A process of the bot without its platform's connection: the real store, runner and inbox, made to crash."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from bot.domain.answers import Accepted, CommandAnswer, Done, Known, Queued, Refused, Revised
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.domain.turns import CallDecided
from bot.intake.admission import Admission
from bot.intake.commands.table import Answer, Commands
from bot.intake.inbox import Inbox
from bot.intake.rates import CommonCount
from bot.observe.model_watch import WatchedModel
from bot.observe.turn_log import TurnLog
from bot.ports.intake_store import DecisionOutcome
from bot.ports.model import Model
from bot.ports.observer import TurnObserver, Watchers
from bot.ports.platform import Adapter
from bot.ports.rights import People, Policy
from bot.ports.store import Store
from bot.ports.tools import Tools
from bot.ports.work_store import ClaimedTurn
from bot.stores.sqlite.store import open_sqlite
from bot.turns.asking import AskDesk
from bot.turns.bell import Bell
from bot.turns.cluster import ProcessCluster
from bot.turns.context import Window
from bot.turns.lease import WorkerLease
from bot.turns.limits import Limits
from bot.turns.presence import Presence
from bot.turns.resources import Resources
from bot.turns.runner import Runner
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedTools
from tests.fakes.rights import guarded

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
    bell: Bell
    life: Life
    presence: Presence

    async def receive(self, event: MessageReceived | MessageEdited | MessageDeleted) -> Accepted | Revised:
        """Hand over what a platform delivers."""
        if isinstance(event, MessageReceived):
            return await self.inbox.accept(event)
        return await self.inbox.revise(event)

    async def say(self, event: MessageReceived) -> int:
        outcome = await self.inbox.accept(event)
        assert isinstance(outcome, Queued | Known), outcome
        return outcome.turn_id

    async def stop(self, conversation: ConversationKey = CONVERSATION) -> bool:
        """Ask for a stop as `/stop` does; return whether there was something to stop."""
        return await self.command("stop", conversation) == "Stopping."

    async def command(self, name: str, conversation: ConversationKey = CONVERSATION) -> str:
        event = CommandInvoked(conversation=conversation, event_key=f"command-{name}", author_id="U1", name=name)
        answer = await self.inbox.command(event)
        assert isinstance(answer, CommandAnswer)
        return answer.text

    async def decide(
        self, turn_id: int, *, outcome: str = "approved", call_id: str = "call_0", note: str = ""
    ) -> DecisionOutcome:
        """Decide what a tool's own wait is about, as the one who waits for that does it."""
        decided = CallDecided(round=0, call_id=call_id, outcome=outcome, by="fake:U2", note=note)
        made = await self.store.decide(turn_id, decided)
        self.bell.ring_for_work()
        return made

    async def drain(self) -> None:
        """End the work as SIGTERM does."""
        await asyncio.gather(self.presence.say_draining(), self.runner.drain())

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
    more_adapters: Sequence[Adapter] = (),
    limits: Limits | None = None,
    requests_per_minute: int = 100_000,
    max_messages: int = 1000,
    max_tokens: int = 1_000_000,
    answer: Answer | None = None,
    rights: Callable[[], Policy] | None = None,
    people: People | None = None,
    watchers: Watchers | None = None,
    observers: Sequence[TurnObserver] = (TurnLog(),),
) -> AsyncGenerator[Bot]:
    """A process of the bot on a store that is open already; without `rights`, every call is allowed."""
    life, bell, watchers = Life(), Bell(), watchers or Watchers()
    cluster = ProcessCluster(store=store, worker=worker)
    adapters = [mortal(one, life) for one in (adapter or RecordingAdapter(), *more_adapters)]
    core = guarded(mortal(store, life), tools or ScriptedTools({}), bell, rights=rights, people=people)
    limits = limits or Limits(drain_s=0.0, retry_s=0.01)
    lease = WorkerLease(core.store, worker, lease_s=limits.lease_s)
    presence = Presence(
        store=core.store,
        worker=worker,
        lease=lease,
        name=worker,
        version="1",
        settings="",
        policy=lambda: "",
        platforms=[one.name for one in adapters],
    )
    store.listen(bell.hear)
    runner = Runner(
        worker=worker,
        resources=Resources(
            store=core.store,
            model=WatchedModel(model, watchers.models),
            tools=watchers.tracing.enclosing(core.tools) if watchers.tracing else core.tools,
            guard=core.guard,
            policy=core.policy,
            budgets=core.budgets,
            window=Window(max_messages=max_messages, max_tokens=max_tokens, count=len),
            system_prompt="Be brief.",
            limits=limits,
            observers=(*observers, *watchers.turns),
            enclose=lambda turn: _enclosed(turn, watchers),
        ),
        adapters=adapters,
        bell=bell,
        lease=lease,
    )
    desk = AskDesk(
        store=core.store, adapters=adapters, policy=core.policy, bell=bell, worker=worker, is_held=lease.is_held
    )
    # what arrives outlives the crash
    taken = guarded(store, tools or ScriptedTools({}), bell, rights=rights, people=people, settled=watchers.settled)
    commands = Commands(
        store=store,
        tools=taken.tools,
        bell=bell,
        access=taken.access,
        budgets=taken.budgets,
        model_name=model.name,
        about="",
    )
    inbox = Inbox(
        worker=worker,
        store=store,
        admission=Admission(
            max_input_chars=1000,
            requests_per_minute=requests_per_minute,
            common=CommonCount(cluster=cluster, store=store),
        ),
        answer=answer or commands.answer,
        bell=bell,
        directory=taken.tools,
        access=taken.access,
        budgets=taken.budgets,
        decisions=taken.decisions,
        forms=taken.forms,
        cluster=cluster,
        withdrew=watchers.withdrew,
    )
    async with runner.working(), desk.working():
        yield Bot(store, runner, inbox, bell, life, presence)


def _id(conversation: ConversationKey) -> str:
    return f"id of {conversation.channel}"


def _enclosed(turn: ClaimedTurn, watchers: Watchers) -> AbstractContextManager[object]:
    if watchers.tracing is None:
        return nullcontext()
    return watchers.tracing.enclose(turn, conversation_id=_id(turn.event.conversation))


@asynccontextmanager
async def open_bot_on(
    path: Path, model: Model, adapter: Adapter | None = None, *, worker: str, clock: Clock | None = None, **options: Any
) -> AsyncGenerator[Bot]:
    """A process of the bot with its own connections to the database file."""
    clock = clock or Clock()
    async with (
        open_sqlite(path, now=clock.now, steady=clock.steady) as store,
        open_bot(store, model, adapter, worker=worker, **options) as bot,
    ):
        yield bot


def turn_of(outcome: Accepted | Revised) -> int | None:
    """Return the turn of a message that was taken, now or before."""
    return outcome.turn_id if isinstance(outcome, Queued | Known) else None


def notice_of(outcome: Accepted | Revised) -> str:
    """Return what the author hears, empty where that is nothing."""
    return outcome.notice if isinstance(outcome, Refused | Done) else ""


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
