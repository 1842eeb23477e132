"""The Slack adapter alone, with a core by script behind it, serving a loopback Slack: what people are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from adapters.slack.adapter import SlackAdapter
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from adapters.slack.pace import Pace
from bot.domain.answers import CommandAnswer, Queued
from bot.domain.asks import ArgumentLine, AskPost, AskView
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived
from bot.http.listener import open_listener
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.slack import FakeSlack, Message
from tests.fakes.slack.blocks import elements_of
from tests.fakes.slack.world import View

WAIT_S = 60.0
QUICK = Pace(trace_delay_s=0.0, trace_gap_s=0.05, status_gap_s=0.05)
E = TypeVar("E", bound=Event)
Says = Outcome | Callable[[Any], Awaitable[Outcome]]


@dataclass
class Core:
    """What arrived, and what the core says to each kind of event."""

    says: dict[type, Says] = field(default_factory=dict[type, Says])
    events: list[Event] = field(default_factory=list[Event])

    async def receive(self, event: Event) -> Outcome:
        self.events.append(event)
        said = self.says.get(type(event))
        if said is None:
            defaults: dict[type, Outcome] = {
                MessageReceived: Queued(turn_id=1),
                CommandInvoked: CommandAnswer(text="Nothing."),
            }
            return defaults[type(event)]
        return await said(event) if callable(said) else said

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Asking:
    """The adapter between a loopback Slack and the core."""

    slack: FakeSlack
    core: Core
    adapter: SlackAdapter

    async def until(self, kind: type[E], number: int = 1) -> E:
        """Return the event of that kind, once so many have come."""
        await self.slack.until(lambda: self._look(kind, number))
        return self.core.of(kind)[number - 1]

    def _look(self, kind: type[Event], number: int) -> bool:
        return len(self.core.of(kind)) >= number

    async def window(self, user: str, *, showing: str = "") -> View:
        """Return the person's open window, once it shows that."""

        def found() -> View | None:
            views = self.slack.views(user)
            return views[-1] if views and showing in whole(views[-1]) else None

        return await self.slack.until(found)

    async def private(self, user: str, *, number: int = 1) -> Message:
        """Return what only this person sees, once there is so much of it."""
        await self.slack.until(lambda: len(self.slack.ephemerals(user)) >= number)
        return self.slack.ephemerals(user)[number - 1]


@asynccontextmanager
async def open_fake() -> AsyncGenerator[FakeSlack]:
    """A loopback Slack with a channel C1 of three people."""
    async with asyncio.timeout(WAIT_S), FakeSlack() as slack:
        for user, name in (("U1", "Ada"), ("U2", "Ben"), ("U3", "Cleo")):
            slack.add_user(user, name=name.lower(), display_name=name)
        slack.add_channel("C1", members=["U1", "U2", "U3"])
        yield slack


@asynccontextmanager
async def asking(slack: FakeSlack, core: Core, *, mode: Literal["socket", "http"] = "socket") -> AsyncGenerator[Asking]:
    """One life of the adapter."""
    way = {"app_token": "xapp-test"} if mode == "socket" else {"signing_secret": "signing-test"}
    options = SlackOptions(bot_token="xoxb-test", api_url=slack.api_url, pace=QUICK, **way)
    async with (
        open_listener("127.0.0.1", 0) as http,
        open_slack(options, ScriptedHost(core.receive, http=http)) as adapter,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(adapter.run())
        await adapter.session.opened.wait()
        slack.mode = mode
        slack.events_url = f"http://127.0.0.1:{adapter.session.port}/slack/events"
        yield Asking(slack, core, adapter)
        running.cancel()


@asynccontextmanager
async def open_asking(**says: Says) -> AsyncGenerator[Asking]:
    """The adapter in a new world; `says` is by the names of events."""
    kinds: dict[str, type] = {kind.__name__: kind for kind in Event.__args__}
    async with open_fake() as slack, asking(slack, Core({kinds[name]: said for name, said in says.items()})) as world:
        yield world


APPROVAL = AskView(
    ask_id=7,
    kind="approval",
    state="pending",
    title="Run deploys/deploy in #ops?",
    lines=("Ada asks.", "The rule production deploys asks for it."),
    arguments=(ArgumentLine(name="env", value="prod"), ArgumentLine(name="note", value="x" * 200, is_cut=True)),
    choices=("run", "run_for_an_hour", "decline", "withdraw", "suggest_rule"),
    form_target="edit:7",
    expires_at=1_798_000_000.0,
    digest="d" * 64,
)


def in_thread(root: str, view: AskView = APPROVAL, **details: Any) -> AskPost:
    """Return where the view is shown: below the question."""
    place = ConversationKey(platform="slack", space="T1", channel="C1", thread=root)
    return AskPost(key="ask-7-0", view=view, place=place, in_reply_to=f"slack:T1:C1:{root}", **details)


def decided(post: AskPost, record: str, *, reference: str) -> AskPost:
    """Return the same message once it is decided."""
    view = replace(post.view, state="approved", record=record, version=post.view.version + 1)
    return replace(post, view=view, reference=reference)


def buttons(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the buttons by their labels."""
    return {element["text"]["text"]: element for _, element in elements_of(blocks) if element["type"] == "button"}


def whole(view: View) -> str:
    """Return all that a window says."""
    return str(view.content)
