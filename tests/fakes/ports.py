"""A scripted model, scripted tools and a recording platform: what the core's own tests put at its ports."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.domain.answers import Example
from bot.domain.asks import AskPost, AskView
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, Earlier, MessageReceived, SharedFile
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult, ToolSpec, Usage
from bot.domain.people import Actor, Asker
from bot.domain.turns import CallDecided, Post, TextArrived, TurnView
from bot.ports.model import ModelProgressSink, ModelRequest
from bot.ports.platform import Connection, Found
from bot.ports.rights import Memberships
from bot.ports.tools import Offer, Progress, Resumed, ServerStatus, Wait
from bot.tools.search import ToolIndex

CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")


def message(
    text: str, *, key: str = "", conversation: ConversationKey = CONVERSATION, is_shared: bool = False
) -> MessageReceived:
    return MessageReceived(
        conversation=conversation,
        event_key=key or text,
        author_id="U1",
        author_name="Ada",
        text=text,
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        is_shared=is_shared,
    )


def says(text: str) -> ModelAnswer:
    return ModelAnswer(message=AssistantMessage(text=text), usage=Usage(input_tokens=10, output_tokens=2))


def calls(*names: str, text: str = "", arguments: str = "{}") -> ModelAnswer:
    tool_calls = tuple(ToolCall(id=f"call_{n}", name=name, arguments=arguments) for n, name in enumerate(names))
    return ModelAnswer(message=AssistantMessage(text=text, tool_calls=tool_calls), usage=Usage(input_tokens=10))


Answer = ModelAnswer | Exception | Callable[[ModelRequest], Awaitable[ModelAnswer]]


@dataclass
class ScriptedModel:
    """Gives its answers in order and keeps the requests; the last answer is given again and again.

    What it says when it is to sum up, and these requests, are apart.
    """

    answers: Sequence[Answer]
    name: str = "scripted"
    requests: list[ModelRequest] = field(default_factory=list)
    refused_tools: Mapping[str, str] = field(default_factory=dict)
    summary: Answer = field(default_factory=lambda: says("- The summary."))
    summary_requests: list[ModelRequest] = field(default_factory=list)

    async def complete(self, request: ModelRequest, *, deadline: float, progress: ModelProgressSink) -> ModelAnswer:
        if request.purpose == "summary":
            answer = self.summary
            self.summary_requests.append(request)
        else:
            answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
            self.requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, ModelAnswer):
            answer = await answer(request)
        if answer.message.text:
            progress(TextArrived(text=answer.message.text))
        return answer


Run = Callable[[ToolCall], Awaitable[ToolResult | Wait]]


@dataclass
class ScriptedTools:
    """Tools that are functions of a call; `ran` lists the calls that reached one, `decisions` what they came with."""

    functions: dict[str, Run]
    repeatable: frozenset[str] = frozenset()
    ran: list[str] = field(default_factory=list)
    conversations: list[ConversationKey] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    decisions: list[CallDecided | None] = field(default_factory=list)
    sent: list[ToolCall] = field(default_factory=list)
    may_repeat: list[bool] = field(default_factory=list)

    def listed(self) -> tuple[ToolSpec, ...]:
        return tuple(
            ToolSpec(
                name=name,
                server="fake",
                tool=name,
                description=name,
                parameters={"type": "object"},
                is_repeatable=name in self.repeatable,
            )
            for name in self.functions
        )

    def newest(self, name: str) -> ToolSpec | None:
        return next((spec for spec in self.listed() if spec.name == name), None)

    async def offer(self, asker: Asker | None) -> Offer:
        return Offer(tools=self.listed())

    async def call(
        self,
        call: ToolCall,
        *,
        actor: Actor,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
        progress: Progress | None = None,
        may_repeat: bool = True,
    ) -> ToolResult | Wait:
        self.ran.append(call.name)
        self.sent.append(call)
        self.may_repeat.append(may_repeat)
        self.conversations.append(conversation)
        self.actors.append(actor)
        self.decisions.append(resumed.decision if resumed else None)
        if call.name not in self.functions:
            return ToolResult(call_id=call.id, text=f"no tool {call.name}", outcome="error")
        return await self.functions[call.name](call)

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        return ToolIndex(among).search(query, limit=limit)

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        return ToolIndex(among).named(text, limit=limit)

    async def examples(self) -> Sequence[Example]:
        return ()

    def status(self) -> Sequence[ServerStatus]:
        return ()


def returns(text: str) -> Run:
    async def run(call: ToolCall) -> ToolResult:
        return ToolResult(call_id=call.id, text=text)

    return run


def echoes() -> Run:
    async def run(call: ToolCall) -> ToolResult:
        return ToolResult(call_id=call.id, text=json.dumps(json.loads(call.arguments)))

    return run


class RecordingAdapter:
    """A platform that shows every post, and fails as often as it is told to."""

    name = "fake"
    serves = "fake/"

    def __init__(self, *, max_chars: int = 10_000) -> None:
        self.posts: list[Post] = []
        self.views: list[TurnView] = []
        self.failures: deque[AdapterError] = deque()  # each is raised by one post
        self.loses_references = False  # the post is visible, and then the connection breaks
        self.can_find = True
        self._max_chars = max_chars
        self._changed = asyncio.Condition()
        self.asks: dict[str, AskPost] = {}  # what the messages of asks show, by their references
        self.ask_failures: deque[AdapterError] = deque()
        self.refuses_places: set[str] = set()  # for good
        self.asks_posted = 0
        self.notices: list[Notice] = []
        self.notice_failures: deque[AdapterError] = deque()
        self.groups: frozenset[str] = frozenset()  # which hold everybody
        self.group_members: dict[str, Sequence[str]] = {}
        self.connection = Connection(is_open=True)

    async def run(self) -> None:
        await asyncio.Event().wait()

    def show(self, view: TurnView) -> None:
        self.views.append(view)

    def split(self, text: str) -> Sequence[str]:
        return [text[start : start + self._max_chars] for start in range(0, len(text), self._max_chars)]

    async def post(self, post: Post) -> str:
        if self.failures:
            if self.loses_references:
                await self._keep(post)
            raise self.failures.popleft()
        await self._keep(post)
        return f"ref-{post.key}"

    async def find(self, post: Post) -> Found | None:
        if not self.can_find:
            raise AdapterError("the platform cannot search")
        return next((Found(reference=f"ref-{seen.key}") for seen in self.posts if seen.key == post.key), None)

    async def settle(self, turn_id: int) -> None:
        pass

    async def put_ask(self, post: AskPost) -> str:
        if self.ask_failures:
            if self.loses_references:
                await self._keep_ask(post)
            raise self.ask_failures.popleft()
        if post.person or str(post.place) in self.refuses_places:
            raise AdapterError("the bot may not write there", is_permanent=True)
        return await self._keep_ask(post)

    async def find_ask(self, post: AskPost) -> Found | None:
        if not self.can_find:
            raise AdapterError("the platform cannot search")
        reference = f"ask-{post.key}"
        return Found(reference=reference) if reference in self.asks else None

    async def post_notice(self, notice: Notice) -> str:
        if self.notice_failures:
            raise self.notice_failures.popleft()
        async with self._changed:
            self.notices.append(notice)
            self._changed.notify_all()
        return f"notice-{notice.key}"

    async def find_notice(self, notice: Notice) -> Found | None:
        shown = any(one.key == notice.key for one in self.notices)
        return Found(reference=f"notice-{notice.key}") if shown else None

    async def wait_for_notices(self, count: int, *, timeout_s: float = 60.0) -> list[str]:
        """Return the texts of all notices once there are `count`."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.notices) >= count)
        return [notice.text for notice in self.notices]

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        return Memberships(groups=self.groups & groups)

    async def members(self, group: str) -> Sequence[str]:
        return self.group_members.get(group, ())

    async def _keep_ask(self, post: AskPost) -> str:
        reference = post.reference or f"ask-{post.key}"
        async with self._changed:
            assert not post.reference or post.reference in self.asks, "a message that is changed was posted before"
            self.asks_posted += not post.reference
            self.asks[reference] = post
            self._changed.notify_all()
        return reference

    async def wait_for_ask(self, shows: Callable[[AskView], bool], *, timeout_s: float = 60.0) -> AskView:
        """Return what the newest message of an ask shows, once there is one of which that is true."""
        async with asyncio.timeout(timeout_s), self._changed:
            while True:
                found = [post.view for post in self.asks.values() if shows(post.view)]
                if found:
                    return found[-1]
                await self._changed.wait()

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("the bot cannot take files here", is_permanent=True)

    async def _keep(self, post: Post) -> None:
        async with self._changed:
            self.posts.append(post)
            self._changed.notify_all()

    async def wait_for_posts(self, count: int, *, timeout_s: float = 60.0) -> list[str]:
        """Return the texts of all posts once there are `count`."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.posts) >= count)
        return [post.text for post in self.posts]
