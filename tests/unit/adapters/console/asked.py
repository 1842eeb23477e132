"""A terminal chat in which something is asked: the core by script, asks by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from adapters.console.adapter import ConsoleAdapter
from bot.domain.answers import CommandAnswer, Decided, Details, Done, Formed, Queued, Refused, Submitted
from bot.domain.asks import ArgumentLine, AskPost, AskView
from bot.domain.events import CommandInvoked, DecisionMade, DetailsAsked, FormAsked, FormSubmitted, MessageReceived
from bot.domain.turns import Post, TurnState, TurnView
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.terminal import CTRL_C, CTRL_D, ENTER, FakeTerminal, open_terminal

WAIT_S = 20.0
Seen = Event | FormAsked | FormSubmitted
E = TypeVar("E", bound=Seen)


def approval(ask_id: int = 1, **parts: Any) -> AskView:
    """An ask as the core shows it."""
    shown: dict[str, Any] = {
        "kind": "approval",
        "state": "pending",
        "title": "Run deploys/deploy?",
        "lines": ("jdoe asks for it in console.", "Why it is asked: everything else asks (rule: default)."),
        "arguments": (ArgumentLine(name="env", value='"prod"'), ArgumentLine(name="replicas", value="3")),
        "choices": ("run", "run_for_an_hour", "decline", "suggest_rule"),
        "form_target": f"edit:{ask_id}",
        "expires_at": time.time() + 3600,
        "digest": f"d{ask_id}",
        **parts,
    }
    return AskView(ask_id=ask_id, **shown)


def decided(view: AskView, **parts: Any) -> AskView:
    """The same ask, once it was approved."""
    record = "**Approved** by jdoe on 2026-11-29 at 15:00 UTC. Rule: default."
    return replace(view, state="approved", choices=(), record=record, version=view.version + 1, **parts)


@dataclass
class World(ScriptedHost):
    """The core: keeps what arrives, and answers as it is set."""

    seen: list[Seen] = field(default_factory=list[Seen])
    decides: Decided = field(default_factory=Done)
    forms: Formed = field(default_factory=lambda: Refused(notice="There is no form."))
    takes: list[Submitted] = field(default_factory=list[Submitted])
    commands: list[CommandAnswer] = field(default_factory=list[CommandAnswer])
    explains: Details = field(default_factory=lambda: Details(lines=()))

    def __post_init__(self) -> None:
        super().__init__(self._answer)
        self.arrived = asyncio.Event()

    async def _answer(self, event: Event) -> Outcome:
        self._note(event)
        match event:
            case MessageReceived():
                return Queued(turn_id=1)
            case CommandInvoked():
                return self.commands.pop(0) if self.commands else CommandAnswer(text="done")
            case DecisionMade():
                return self.decides
            case DetailsAsked():
                return self.explains
            case _:
                raise AssertionError(event)

    async def form(self, event: FormAsked) -> Formed:
        self._note(event)
        return self.forms

    async def submit(self, event: FormSubmitted) -> Submitted:
        self._note(event)
        return self.takes.pop(0)

    def _note(self, event: Seen) -> None:
        self.seen.append(event)
        self.arrived.set()

    async def next(self, kind: type[E]) -> E:
        """Wait for the next event of that kind, and take it out."""
        async with asyncio.timeout(WAIT_S):
            while (found := next((each for each in self.seen if isinstance(each, kind)), None)) is None:
                self.arrived.clear()
                await self.arrived.wait()
        self.seen.remove(found)
        return found


@dataclass
class Room:
    """A chat at a terminal."""

    world: World
    adapter: ConsoleAdapter
    terminal: FakeTerminal

    def type(self, line: str) -> None:
        self.terminal.type(line + ENTER)

    def show(self, state: TurnState, question: str = "q1", **parts: Any) -> None:
        self.adapter.show(
            TurnView(turn_id=1, conversation=self.adapter.conversation, state=state, in_reply_to=question, **parts)
        )

    async def put(self, view: AskView, question: str = "q1") -> str:
        return await self.adapter.put_ask(post_of(self.adapter, view, question))

    async def answer(self, text: str, question: str = "q1") -> None:
        here = self.adapter.conversation
        await self.adapter.post(Post(key="p", conversation=here, turn_id=1, part=0, text=text, in_reply_to=question))
        self.show("answered", question)

    async def shows(self, *texts: str) -> None:
        for text in texts:
            await self.terminal.shows(text)


def post_of(adapter: ConsoleAdapter, view: AskView, question: str = "q1") -> AskPost:
    return AskPost(key=f"{view.ask_id}.0", view=view, place=adapter.conversation, in_reply_to=question)


@asynccontextmanager
async def chatting(world: World | None = None, *, asks: Sequence[AskView] = ()) -> AsyncGenerator[Room]:
    """Run a chat of jdoe in which these are asked; it is left at the end."""
    world = world or World()
    async with open_terminal() as (terminal, stdin, stdout), asyncio.TaskGroup() as group:
        terminal.resize(columns=160)
        adapter = ConsoleAdapter("test", host=world, user="jdoe", banner="Welcome.", stdin=stdin, stdout=stdout)
        ended = group.create_task(adapter.run())
        room = Room(world, adapter, terminal)
        await terminal.shows("Welcome.")
        for view in asks:
            await room.put(view)
        yield room
        async with asyncio.timeout(WAIT_S):
            while not ended.done():  # keys that are pressed before a new question is shown are dropped
                room.show("answered")
                terminal.type(CTRL_C + CTRL_D)
                await asyncio.wait([ended], timeout=0.2)
