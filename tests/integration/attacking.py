"""What attacks on rights are made with: the real policy file, guard, intake, loop and store; servers that record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.domain.answers import Decided
from bot.domain.asks import AskView
from bot.domain.events import (
    Choice,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FormAsked,
    FormSubmitted,
    MessageReceived,
    RunRequest,
)
from bot.domain.messages import ToolCall, ToolMessage, ToolResult, ToolSpec
from bot.domain.people import UNKNOWN, Actor, Asker, Standing
from bot.ports.rights import Memberships
from bot.ports.store import Store
from bot.ports.tools import Offer, Progress, Resumed, Tools
from bot.rights.people import PlatformPeople
from bot.rights.policy import FilePolicy
from bot.stores.sqlite.store import open_sqlite
from bot.tools.catalog import tool_name
from bot.tools.servers.errors import CallError
from bot.tools.toolset import arguments_to_send
from tests.fakes.bots import Bot, open_bot
from tests.fakes.ports import RecordingAdapter, ScriptedModel, ScriptedTools, calls, says
from tests.unit.rights.parts import policy_of

HERE = ConversationKey(platform="slack", space="T1", channel="C042", thread="1.1")
ADA, BEN, CLEO, EVE = "U1", "U2", "U3", "U9"  # Ada asks; Eve attacks
NAMES = {ADA: "Ada", BEN: "Ben", CLEO: "Cleo", EVE: "Eve"}
GUEST = Standing(outsider="a guest of this workspace")
OBJECT: Mapping[str, Any] = {"type": "object"}
ASKS_ADA = '[[rule]]\nname = "ask first"\ntools = ["*/*"]\nthen = "ask"\n'
ALLOWS_ALL = '[[rule]]\nname = "all"\ntools = ["*/*"]\nthen = "allow"\n'
TWO_OF_ONCALL = """
[groups]
oncall = ["slack:T1:usergroup:S0"]
[people]
ben = ["slack:T1:U2", "slack:T1:U22"]
[access]
operators = ["slack:T1:U9"]
[[rule]]
name = "two of us"
tools = ["deploys/*"]
then = "ask"
approvers = ["@oncall"]
approvals = 2
asker_may_approve = false
"""


def spec(server: str, tool: str, parameters: Mapping[str, Any] = OBJECT, **options: Any) -> ToolSpec:
    options = {"description": f"{tool}.", **options}
    return ToolSpec(name=tool_name(server, tool), server=server, tool=tool, parameters=parameters, **options)


DEPLOY = spec("deploys", "deploy")
PROD = calls(DEPLOY.name, arguments='{"env": "prod"}')
SENT = [("deploys", "deploy", {"env": "prod"})]
BEN_TOO = "U22"  # Ben's other account
ONCALL = "slack:T1:usergroup:S0"


class Servers(ScriptedTools):
    """Tool servers that take what the real tools port sends, and keep all of it in `got`."""

    def __init__(self, *specs: ToolSpec) -> None:
        super().__init__({})
        self.specs = specs or (DEPLOY,)
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        self.results: dict[str, str] = {}
        self.away: set[str] = set()  # servers that are not offered now, and back as soon as they are called

    def listed(self) -> tuple[ToolSpec, ...]:
        return self.specs

    async def offer(self, asker: Asker | None) -> Offer:
        return Offer(tools=tuple(one for one in self.specs if one.server not in self.away))

    async def call(
        self,
        call: ToolCall,
        *,
        actor: Actor,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
        progress: Progress | None = None,
        may_repeat: bool = True,
    ) -> ToolResult:
        found = next(one for one in self.specs if one.name == call.name)
        try:
            arguments = arguments_to_send(call.arguments)
        except CallError as error:
            return ToolResult(call_id=call.id, text=str(error), outcome="error")
        self.got.append((found.server, found.tool, arguments))
        return ToolResult(call_id=call.id, text=self.results.get(call.name, "It is done."))


@dataclass
class File:
    """A policy file that is written while the bot works."""

    text: str = ASKS_ADA
    now: FilePolicy = field(init=False)

    def __post_init__(self) -> None:
        self.write(self.text)

    def __call__(self) -> FilePolicy:
        return self.now

    def write(self, text: str) -> None:
        self.now = policy_of(text)


@dataclass
class Groups:
    """A platform that says who is in which group, as it is now."""

    holds: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    problem: str = ""

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        if self.problem:
            return Memberships(unknown=dict.fromkeys(groups, self.problem))
        return Memberships(groups=frozenset(group for group in groups if actor.id in self.holds.get(group, ())))

    async def members(self, group: str) -> Sequence[str]:
        return sorted(self.holds.get(group, ()))


def oncall(*more: str) -> Groups:
    """Return the group of those who may approve, with these people as well."""
    return Groups({ONCALL: {ADA, BEN, CLEO, *more}})


@dataclass
class Site:
    """A bot in Slack, as those who attack it find it."""

    bot: Bot
    store: Store
    adapter: RecordingAdapter
    servers: Servers
    model: ScriptedModel
    file: File
    groups: Groups
    people: PlatformPeople

    @asynccontextmanager
    async def next_process(self) -> AsyncGenerator[None]:
        """Another process of the bot, after the death of this one."""
        parts = (self.store, self.model, self.adapter, self.servers)
        async with open_bot(*parts, worker="b", rights=self.file, people=self.people):
            yield

    async def ask(self, text: str = "deploy it", *, by: str = ADA) -> AskView:
        """Ask for a call, and return what is shown of the question that it leads to."""
        before = {post.view.ask_id for post in self.adapter.asks.values()}
        await self.bot.say(said(text, by=by))
        return await self.adapter.wait_for_ask(lambda view: view.ask_id not in before and view.state == "pending")

    async def answered(self, text: str = "deploy it", *, by: str = ADA) -> list[str]:
        """Ask, and return what the model read of its calls once the question is answered."""
        count = len(self.adapter.posts)
        await self.bot.say(said(text, by=by))
        await self.adapter.wait_for_posts(count + 1)
        return self.read_by_the_model()

    async def end(self) -> None:
        """Return once the turn has ended."""
        await self.adapter.wait_for_posts(1)

    def read_by_the_model(self) -> list[str]:
        return [one.text for one in self.model.requests[-1].messages if isinstance(one, ToolMessage)]

    async def press(self, view: AskView, by: str, choice: Choice = "run", **changes: Any) -> Decided:
        return await self.bot.inbox.decide(pressed(view, by, choice, **changes))

    async def state(self, view: AskView) -> str:
        record = await self.store.ask(view.ask_id)
        return record.state if record else "unknown"


@asynccontextmanager
async def site(
    tmp_path: Path,
    *answers: Any,
    text: str = ASKS_ADA,
    specs: Sequence[ToolSpec] = (),
    groups: Groups | None = None,
    tools: Tools | None = None,
    adapter: RecordingAdapter | None = None,
) -> AsyncGenerator[Site]:
    """A bot with this policy file and these tools, whose model gives these answers and then ends its turn."""
    file, servers, groups = File(text), Servers(*specs), groups or Groups()
    adapter, model = adapter or RecordingAdapter(), ScriptedModel([*answers, says("Done.")])
    adapter.name, adapter.serves = "slack", "slack/"
    people = PlatformPeople(file)
    people.add("slack", groups)
    people.add("discord", groups)
    async with (
        open_sqlite(tmp_path / "toolbridge.db") as store,
        open_bot(store, model, adapter, tools or servers, worker="a", rights=file, people=people) as bot,
    ):
        yield Site(bot, store, adapter, servers, model, file, groups, people)


# --- events ---


def said(text: str, *, by: str = ADA, standing: Standing = UNKNOWN, run: RunRequest | None = None) -> MessageReceived:
    return MessageReceived(
        conversation=HERE,
        event_key=f"{by} {text}",
        author_id=by,
        author_name=NAMES.get(by, by),
        text=text,
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        is_shared=True,
        standing=standing,
        run=run,
    )


def pressed(view: AskView, by: str, choice: Choice = "run", **changes: Any) -> DecisionMade:
    values: dict[str, Any] = {
        "conversation": HERE,
        "event_key": f"press {by}",
        "author_id": by,
        "author_name": NAMES.get(by, by),
        "ask_id": view.ask_id,
        "choice": choice,
        "digest": view.digest,
    }
    return DecisionMade(**values | changes)


def form_asked(target: str, by: str = ADA, *, standing: Standing = UNKNOWN) -> FormAsked:
    return FormAsked(conversation=HERE, event_key=f"form {by}", author_id=by, target=target, standing=standing)


def filled(target: str, by: str, values: Mapping[str, str], *, standing: Standing = UNKNOWN) -> FormSubmitted:
    return FormSubmitted(
        conversation=HERE,
        event_key=f"submit {by}",
        author_id=by,
        author_name=NAMES.get(by, by),
        target=target,
        values=values,
        standing=standing,
    )


def details_asked(view: AskView, by: str, *, standing: Standing = UNKNOWN, **changes: Any) -> DetailsAsked:
    values: dict[str, Any] = {"conversation": HERE, "event_key": "d", "author_id": by, "ask_id": view.ask_id}
    values["standing"] = standing
    return DetailsAsked(**values | changes)
