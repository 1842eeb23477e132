"""Platforms that are slow, dead, or watched by nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from bot.domain.asks import AskPost
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import ConversationKey, Earlier, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found
from bot.ports.rights import Memberships
from tests.fakes.ports import RecordingAdapter


def room(channel: object, *, platform: str = "fake") -> ConversationKey:
    """Return the key of a conversation of its own."""
    return ConversationKey(platform=platform, space="team", channel=str(channel))


class Platform(RecordingAdapter):
    """A platform under a name of its own, which can be told to be busy or gone."""

    def __init__(self, name: str = "fake", *, pause_s: float = 0.01) -> None:
        super().__init__()
        self.name = name
        self.serves = f"{name}/"
        self.is_busy = False  # it answers 429 and asks for `pause_s`
        self.is_gone = False  # nothing can be sent, and nothing looked for
        self.is_blind = False  # progress cannot be shown
        self.refusals = 0
        self._pause_s = pause_s

    def show(self, view: TurnView) -> None:
        if self.is_blind:
            raise RuntimeError("the message that showed the progress is gone")
        super().show(view)

    async def post(self, post: Post) -> str:
        if self.is_busy:
            self.refusals += 1
            raise RateLimitError(retry_after_s=self._pause_s)
        if self.is_gone:
            self.refusals += 1
            raise AdapterError("the connection is closed")
        return await super().post(post)

    async def find(self, post: Post) -> Found | None:
        if self.is_gone:
            raise AdapterError("the connection is closed")
        return await super().find(post)


class Crowd:
    """A platform with many people, each of whom waits for one answer at a time; nothing is kept of it afterwards."""

    name = "crowd"
    serves = "crowd/"

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[str]] = {}  # by the event_key of the question

    async def run(self) -> None:
        await asyncio.Event().wait()

    def show(self, view: TurnView) -> None:
        pass

    def split(self, text: str) -> Sequence[str]:
        return (text,)

    async def post(self, post: Post) -> str:
        self._answers.pop(post.in_reply_to).set_result(post.text)
        return post.key

    async def find(self, post: Post) -> Found | None:
        return None

    async def settle(self, turn_id: int) -> None:
        pass

    async def put_ask(self, post: AskPost) -> str:
        raise AdapterError("the crowd is asked nothing", is_permanent=True)

    async def find_ask(self, post: AskPost) -> Found | None:
        return None

    async def post_notice(self, notice: Notice) -> str:
        return notice.key

    async def find_notice(self, notice: Notice) -> Found | None:
        return None

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        return Memberships(groups=frozenset())

    async def members(self, group: str) -> Sequence[str]:
        return []

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("the crowd sends no files")

    def expect(self, event_key: str) -> asyncio.Future[str]:
        """Return what will be the answer to this question. A second answer to one question fails its delivery."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[event_key] = answer
        return answer
