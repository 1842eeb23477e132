"""The product in this process, as a platform sees it: events in, posts out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import perf_counter

from bot.app import App, open_app
from bot.composition.watching import open_watching
from bot.domain.answers import Queued
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, MessageReceived, SharedFile
from bot.domain.turns import CallState, Post, TurnView
from bot.observe.logs import configure_logs
from bot.ports.http import NoListener
from bot.ports.platform import Connection, Found
from bot.settings import Settings, load_settings
from tests.fakes.rights import allow_all

PLATFORM = "bench"
WAIT_S = 120.0
ENDED = ("answered", "stopped", "failed", "undelivered")


class Platform:
    """A platform that shows everything at once and keeps nothing but when it was told."""

    name = PLATFORM
    serves = f"{PLATFORM}/"
    connection = Connection(is_open=True)

    def __init__(self) -> None:
        self._ended: dict[int, asyncio.Future[TurnView]] = {}
        self._asked_at: float | None = None
        self.tools_s = 0.0  # from the last turn's calls being asked for to the last of their results

    async def run(self) -> None:
        await asyncio.Event().wait()

    def show(self, view: TurnView) -> None:
        if view.state in ENDED:
            self._end_of(view.turn_id).set_result(view)
        elif view.trace:
            self._time_tools({line.state for line in view.trace})

    def split(self, text: str) -> Sequence[str]:
        return [text]

    async def post(self, post: Post) -> str:
        return f"ref-{post.key}"

    async def find(self, post: Post) -> Found | None:
        return None

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("no message of the benchmark has files")

    async def ended(self, turn_id: int) -> TurnView:
        """Return the last view of the turn, once it has ended."""
        async with asyncio.timeout(WAIT_S):
            view = await self._end_of(turn_id)
        del self._ended[turn_id]
        return view

    def _time_tools(self, states: set[CallState]) -> None:
        if self._asked_at is None and states == {"asked"}:
            self._asked_at = perf_counter()
        if self._asked_at is not None and not states & {"asked", "running"}:
            self.tools_s = perf_counter() - self._asked_at
            self._asked_at = None

    def _end_of(self, turn_id: int) -> asyncio.Future[TurnView]:
        return self._ended.setdefault(turn_id, asyncio.get_running_loop().create_future())


class Product:
    """The running product."""

    def __init__(self, app: App, platform: Platform) -> None:
        self.app = app
        self.platform = platform
        # Processes that share a database need numbers of their own.
        self._numbers = count(os.getpid() * 10_000_000)

    def next_number(self) -> int:
        """Return a number that no message has yet."""
        return next(self._numbers)

    async def ask(self, text: str, *, conversation: str = "") -> TurnView:
        """Return the end of the turn that answers; without a name the conversation is a new one."""
        event = question(text, number=self.next_number(), conversation=conversation)
        outcome = await self.app.host.accept(event)
        assert isinstance(outcome, Queued), outcome
        view = await self.platform.ended(outcome.turn_id)
        assert view.state == "answered", view
        return view


def question(text: str, *, number: int, conversation: str = "") -> MessageReceived:
    """Return a message as a platform hands it over."""
    return MessageReceived(
        conversation=ConversationKey(platform=PLATFORM, space="team", channel=conversation or f"channel-{number}"),
        event_key=f"{PLATFORM}-{number}",
        author_id=f"U{number}",
        author_name="Ada",
        text=text,
        sent_at=datetime.now(UTC),
    )


def one_by_one(product: Product, text: str, *, turns: int) -> Callable[[], Awaitable[None]]:
    """Return a work: to ask the same so many times, each in a new conversation."""

    async def work() -> None:
        for _ in range(turns):
            await product.ask(text)

    return work


def settings_for(*, home: Path, model_url: str, tools_url: str, database_url: str = "", **others: object) -> Settings:
    """Return settings for these servers, with room for as many questions as a benchmark asks.

    After a database's URL stands, behind a space, the key of what is kept encrypted in it.
    """
    allow_all(home)
    url, _, key = database_url.partition(" ")
    shared = {"database_url": url, "toolbridge_secret_key": key} if url else {}
    return load_settings(
        **shared,
        **others,
        env_file=None,
        model_provider="openai",
        openai_base_url=model_url,
        openai_model="rehearsal",
        mcp_server_url=tools_url,
        toolbridge_home=home,
        requests_per_minute=10_000_000,
    )


@asynccontextmanager
async def open_product(
    *, home: Path, model_url: str, tools_url: str, database_url: str = "", **others: object
) -> AsyncGenerator[Product]:
    """Yield the product: its own store, runner, model and tools ports, its logs in a file as in a terminal chat.

    `others` are more settings, by their names.
    """
    settings = settings_for(home=home, model_url=model_url, tools_url=tools_url, database_url=database_url, **others)
    configure_logs(log_format="json", level="INFO", file=home / "logs" / "toolbridge.log")
    platform = Platform()
    async with (
        open_watching(settings, NoListener()) as watching,
        open_app(settings, [lambda _host: nullcontext(platform)], drain_s=1, watchers=watching.watchers) as app,
    ):
        watching.started(app)
        offer = await app.tools.offer(None)
        assert offer.tools, offer.notes
        yield Product(app, platform)
