"""Discord as a chat platform: the Adapter port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp
import structlog

from adapters.discord.answer import EDIT_GAP_S
from adapters.discord.api import API_URL, BREAKER_S, REQUESTS_PER_S, DiscordApi, Identity
from adapters.discord.arrivals import DiscordArrivals
from adapters.discord.ask_posts import AskPosts
from adapters.discord.ask_presses import AskPresses
from adapters.discord.asking import Asking
from adapters.discord.backfill import Backfill
from adapters.discord.channels import Channels
from adapters.discord.commands import Commands
from adapters.discord.deliveries import Deliveries
from adapters.discord.earlier import read_earlier
from adapters.discord.elsewhere import Elsewhere
from adapters.discord.files import download
from adapters.discord.forms import Forms
from adapters.discord.interactions import Interactions
from adapters.discord.manifest import keep_synced
from adapters.discord.notice_posts import NoticePosts
from adapters.discord.parse import PLATFORM
from adapters.discord.posts import Posts
from adapters.discord.proxies import Proxies
from adapters.discord.questions import Questions
from adapters.discord.render import notice, split_answer
from adapters.discord.responses import Responses
from adapters.discord.roles import NOT_LISTED, Roles
from adapters.discord.session import GATEWAY_URL, Session, Watch
from adapters.discord.status import TYPING_S, Hourglass
from adapters.discord.traces import TraceLevel
from adapters.shared.arrivals import Arrivals, Notices, WaitingSign, Written, keep_catching_up, log_in
from adapters.shared.common import CommonRates
from adapters.shared.fence import Hold, only_while
from adapters.shared.progress import Pace
from adapters.shared.shares import on_behalf_of
from adapters.shared.tasks import Background, run_together
from bot.domain.asks import AskPost
from bot.domain.backoff import Backoff
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, Earlier, MessageDeleted, MessageEdited, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Connection, Found, Host
from bot.ports.rights import Memberships
from bot.text.counting import count

log = structlog.stdlib.get_logger(__name__)

DRAIN_S = 3.0
READY_S = 5.0  # for the login, before a question that someone waits for
STORE_TRIES = 8  # Discord delivers a message only once, so storing it is tried again
STORE_PAUSE_S = 0.5
CATCH_UP_PAUSE_S = 10.0  # after a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordOptions:
    """How to reach Discord."""

    bot_token: str = field(repr=False)
    api_url: str = API_URL
    gateway_url: str = GATEWAY_URL
    allow_dms: bool = False
    message_content: bool = True
    dev_guild: str = ""
    backfill_minutes: float = 15.0
    trace: TraceLevel = "summary"
    pace: Pace = field(default_factory=lambda: Pace(status_gap_s=0.0, status_refresh_s=TYPING_S))
    edit_gap_s: float = EDIT_GAP_S
    breaker_s: float = BREAKER_S
    requests_per_s: float = REQUESTS_PER_S
    store_pause_s: float = STORE_PAUSE_S
    watch: Watch = field(default_factory=Watch)


@asynccontextmanager
async def open_discord(options: DiscordOptions, host: Host) -> AsyncGenerator[DiscordAdapter]:
    """Open the adapter, without connecting yet; posts wait for the login in `run`, and fail after the context."""
    async with AsyncExitStack() as stack:
        downloads = await stack.enter_async_context(aiohttp.ClientSession())
        api = await stack.enter_async_context(
            DiscordApi(
                options.bot_token,
                api_url=options.api_url,
                breaker_s=options.breaker_s,
                requests_per_s=options.requests_per_s,
                common=CommonRates(host.cluster, platform=PLATFORM),
            )
        )
        adapter = DiscordAdapter(options, host, api=api, downloads=downloads)
        stack.push_async_callback(adapter.drain)
        yield adapter


class DiscordAdapter:
    """See `bot.ports.platform.Adapter`. Made by `open_discord`."""

    name = PLATFORM
    serves = f"{PLATFORM}/"

    def __init__(
        self, options: DiscordOptions, host: Host, *, api: DiscordApi, downloads: aiohttp.ClientSession
    ) -> None:
        self._options = options
        self._host = host
        self._is_held = host.cluster.is_held
        self._hold = Hold(host.cluster)
        self._api = api
        self._downloads = downloads
        self._background = Background(PLATFORM)
        self._me: Identity | None = None  # None: not logged in yet
        self._is_ready = asyncio.Event()  # the bot is logged in, or never will be
        self.session = Session(
            options.bot_token,
            api=api,
            gateway_url=options.gateway_url,
            wants_content=options.message_content,
            watch=options.watch,
            cluster=host.cluster,
        )
        self._channels = Channels(api, self.session)
        self._questions = Questions()
        self._proxies = Proxies()
        self._elsewhere = Elsewhere(api, self._channels)
        self._roles = Roles(api)
        self._asks = AskPosts(api)
        self._notices = NoticePosts(api)
        sign = WaitingSign(Hourglass(api), self._background, host.cluster)
        self._arrivals = Arrivals(
            host,
            notices=Notices(self._tell, self._background, host.cluster),
            sign=sign,
            tries=STORE_TRIES,
            backoff=Backoff(first_s=options.store_pause_s),
            hears=self._questions.concerns_bot,
        )
        self._posts = Posts(
            api,
            notes=host.notes,
            channels=self._channels,
            elsewhere=self._elsewhere,
            questions=self._questions,
            background=self._background,
            trace=options.trace,
            pace=options.pace,
            edit_gap_s=options.edit_gap_s,
            on_running=sign.remove,
        )

    @property
    def connection(self) -> Connection:
        """See `Adapter`. A process to which others leave no shard counts as connected: it works on turns."""
        shards = self.session.shards
        is_open = shards.are_connected and (len(shards) > 0 or not self.session.is_alone)
        servers = shards.server_count
        return Connection(
            is_open=self._me is not None and is_open,
            detail=f"as @{self._me.name} in {count(servers, 'server')}" if self._me else "",
            reconnects=self.session.reconnects,
            rate_limits=self._api.rate_limits,
        )

    # --- what arrives ---

    async def run(self) -> None:
        """Receive until cancelled, and what was sent while the bot was offline.

        Raises:
            AdapterError: Discord does not let the bot in, and trying again cannot help.
        """
        options, api, notes = self._options, self._api, self._host.notes
        me = self._me = await log_in(api.log_in, platform=PLATFORM, backoff=options.watch.backoff)
        self._is_ready.set()
        log.info("discord_bot", user=me.user, application=me.application)
        backfill = Backfill(api, session=self.session, notes=notes, max_age_s=60 * options.backfill_minutes)
        commands = Commands(self._host, me=me, session=self.session, allow_dms=options.allow_dms)
        arrivals = self._open_arrivals(me, commands, backfill)
        deliveries = Deliveries(arrivals, self._open_interactions(me, commands, arrivals), background=self._background)

        async def catch_up() -> None:
            await backfill.run(arrivals.take_missed, is_behind=lambda: arrivals.is_behind)

        def is_behind() -> bool:
            return arrivals.is_behind or backfill.is_behind

        try:
            await run_together(
                PLATFORM,
                commands=keep_synced(api, notes, allow_dms=options.allow_dms, dev_guild=options.dev_guild),
                session=self.session.run(deliveries.take, is_behind=is_behind),
                backfill=keep_catching_up(catch_up, pause_s=CATCH_UP_PAUSE_S),
            )
        finally:
            await arrivals.drain(timeout_s=DRAIN_S)  # while the host can still store it

    def _open_arrivals(self, me: Identity, commands: Commands, backfill: Backfill) -> DiscordArrivals:
        return DiscordArrivals(
            self._api,
            host=self._host,
            me=me,
            arrivals=self._arrivals,
            channels=self._channels,
            backfill=backfill,
            commands=commands,
            questions=self._questions,
            proxies=self._proxies,
            elsewhere=self._elsewhere,
            background=self._background,
            allow_dms=self._options.allow_dms,
        )

    def _open_interactions(self, me: Identity, commands: Commands, arrivals: DiscordArrivals) -> Interactions:
        responses = Responses(self._api, application=me.application)
        asking = Asking(
            self._api,
            self._host,
            channels=self._channels,
            responses=responses,
            commands=commands,
            ask=arrivals.hand_over,
            allow_dms=self._options.allow_dms,
        )
        forms = Forms(self._host, responses=responses, run=asking.start_run)
        return Interactions(
            self._host,
            channels=self._channels,
            responses=responses,
            commands=commands,
            asking=asking,
            forms=forms,
            asks=AskPresses(self._host, responses=responses, forms=forms),
            allow_dms=self._options.allow_dms,
        )

    async def _tell(self, event: Written, text: str) -> None:
        if isinstance(event, MessageDeleted) and await self._proxies.is_replaced_soon(event.event_key):
            return
        message = event.message if isinstance(event, MessageEdited) else event
        author = message.author_id if isinstance(message, MessageReceived) else ""
        await self._elsewhere.reply(event.conversation, event.event_key, notice(text), author=author)

    # --- what is shown ---

    def show(self, view: TurnView) -> None:
        """Show progress; see `adapters.shared.progress`."""
        with on_behalf_of(view.author_id, view.conversation), only_while(self._is_held):
            self._posts.board.show(view)

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into messages of 2,000 characters; the rest of a very long one is one part, for a file."""
        return split_answer(text) or (text,)

    async def post(self, post: Post) -> str:
        """Show the post in its channel, once the bot is logged in, and return its id. Raises AdapterError."""
        await self._is_ready.wait()
        with on_behalf_of(post.author_id, post.conversation), only_while(self._hold.from_now()):
            return await self._posts.post(post)

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its channel, once the bot is logged in. Raises AdapterError."""
        await self._is_ready.wait()
        with on_behalf_of(post.author_id, post.conversation):
            return await self._posts.find(post)

    async def settle(self, turn_id: int) -> None:
        """See `adapters.shared.progress`."""
        await self._posts.board.settle(turn_id)

    async def put_ask(self, post: AskPost) -> str:
        """Post what is asked, or change its message, once the bot is logged in; return its key. Raises AdapterError."""
        await self._is_ready.wait()
        with on_behalf_of(post.person, post.place), only_while(self._hold.from_now()):
            return await self._asks.put(post)

    async def find_ask(self, post: AskPost) -> Found | None:
        """Look for the message of what is asked, once the bot is logged in. Raises AdapterError."""
        await self._is_ready.wait()
        with on_behalf_of(post.person, post.place):
            return await self._asks.find(post)

    async def post_notice(self, notice: Notice) -> str:
        """Post the notice in its channel, once the bot is logged in; return its id. Raises AdapterError."""
        await self._is_ready.wait()
        with only_while(self._hold.from_now()):
            return await self._notices.post(notice)

    async def find_notice(self, notice: Notice) -> Found | None:
        """Look for the notice in its channel, once the bot is logged in. Raises AdapterError."""
        await self._is_ready.wait()
        return await self._notices.find(notice)

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return which of the roles the person has; what Discord does not say is unknown."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await self._is_ready.wait()
        return await self._roles.memberships(actor, groups, is_fresh=is_fresh)

    async def members(self, group: str) -> Sequence[str]:
        """Raise AdapterError: listing the members of a role needs an intent that the bot does not use."""
        raise AdapterError(NOT_LISTED, is_permanent=True)

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        """Return what was said in the thread before the message, once the bot is logged in. Raises AdapterError."""
        await self._is_ready.wait()
        with on_behalf_of(message.author_id, message.conversation):
            return await read_earlier(self._api, self._channels, message, since=since, limit=limit)

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file that came with a message. Raises AdapterError."""
        return await download(self._downloads, file.reference, max_bytes=max_bytes, api_url=self._options.api_url)

    async def drain(self) -> None:
        """Give what is still to be shown of ended turns a moment, then stop; nothing can be posted after that."""
        self._posts.board.close()
        self._is_ready.set()
        await self._background.drain(timeout_s=DRAIN_S)
