"""Slack as a chat platform: the Adapter port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import aiohttp
import structlog
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.shared.arrivals import Arrivals, Notices, WaitingSign, Written, keep_catching_up, log_in
from adapters.shared.buckets import Rate
from adapters.shared.common import CommonRates
from adapters.shared.fence import only_while
from adapters.shared.shares import on_behalf_of
from adapters.shared.tasks import Background, run_together
from adapters.slack.answer import PART_CHARS
from adapters.slack.api import SlackApi, Tokens, open_client
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.asks import Asks
from adapters.slack.authors import Authors
from adapters.slack.backfill import Backfill, Threads
from adapters.slack.bolt import OAuth
from adapters.slack.deliveries import make_deliveries
from adapters.slack.earlier import ThreadReader
from adapters.slack.files import download, located, transcript
from adapters.slack.groups import Groups
from adapters.slack.identities import Identities
from adapters.slack.installs import Installations, InstalledTokens, OneToken
from adapters.slack.limits import RATES, Limits
from adapters.slack.notice_posts import NoticePosts
from adapters.slack.oauth_states import NoteStates
from adapters.slack.pace import Pace
from adapters.slack.parse import PLATFORM, message_ts
from adapters.slack.people import People
from adapters.slack.places import app_of
from adapters.slack.posts import Posts
from adapters.slack.previews import Looking, Previews
from adapters.slack.readable import Readable
from adapters.slack.render import neutralize
from adapters.slack.replies import Replies
from adapters.slack.session import Endpoints, Session, Watch
from adapters.slack.standing import Standings
from adapters.slack.traces import TraceLevel
from adapters.slack.words import LATER
from bot.domain.asks import AskPost
from bot.domain.backoff import Backoff
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, Earlier, MessageDeleted, MessageEdited, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found, Host
from bot.ports.rights import Memberships
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

WAITING_SIGN = "hourglass_flowing_sand"
LOG_IN_BACKOFF = Backoff(first_s=1.0)
DRAIN_S = 3.0  # for what is still to be shown of ended turns when the process ends


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackOptions:
    """How to reach Slack. Either `bot_token`, or `client_id` and `client_secret` for several workspaces."""

    bot_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_url: str = "https://slack.com/api/"
    http_address: str = "127.0.0.1:8080"  # where the bot listens, as the doctor says it
    command_prefix: str = ""
    backfill_minutes: float = 15.0
    trace: TraceLevel = "summary"
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)
    pace: Pace = field(default_factory=Pace)
    watch: Watch = field(default_factory=Watch)


@asynccontextmanager
async def open_slack(options: SlackOptions, host: Host) -> AsyncGenerator[SlackAdapter]:
    """Open the adapter, without waiting for Slack; posts can be made until the end of the context."""
    async with AsyncExitStack() as stack:
        # No timeout of its own: each call has one. The API's own limits bound how many connections there can be.
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=200))
        )
        oauth = _open_oauth(options, session, host)
        tokens: Tokens = oauth.tokens if oauth else OneToken(options.bot_token)
        common = CommonRates(host.cluster, platform=PLATFORM)
        api = SlackApi(tokens, session, base_url=options.api_url, limits=Limits(options.rates, common=common))
        people = await stack.enter_async_context(People(api))
        background = Background(PLATFORM)
        identities, replies = Identities(api), Replies(api)
        sign = WaitingSign(partial(_react, api), background, host.cluster)
        threads = Threads(host.notes, host.cluster)
        authors, readable = (
            Authors(people, previews=Previews(look=Looking(api, host.cluster).below)),
            Readable(api, identities=identities, people=people),
        )
        standings = Standings(people, identities)
        arrivals = SlackArrivals(
            Arrivals(host, notices=Notices(partial(_tell, replies), background, host.cluster), sign=sign),
            readable=readable,
            standings=standings,
            note=threads.note,
            background=background,
            cluster=host.cluster,
        )
        posts = _posts(options, host, api=api, identities=identities, people=people, background=background, sign=sign)
        deliveries = make_deliveries(
            api,
            host,
            arrivals=arrivals,
            authors=authors,
            identities=identities,
            people=people,
            standings=standings,
            replies=replies,
            background=background,
            prefix=options.command_prefix,
            at_work_in=posts.board.at_work_in,
        )
        adapter = SlackAdapter(
            api,
            identities=identities,
            session=Session(
                Endpoints(app_token=options.app_token, signing_secret=options.signing_secret),
                api=api,
                identities=identities,
                handle=deliveries.take,
                listener=host.http,
                cluster=host.cluster,
                oauth=oauth,
                watch=options.watch,
            ),
            backfill=_backfill(
                options, host, api=api, identities=identities, authors=authors, threads=threads, arrivals=arrivals
            ),
            posts=posts,
            asks=Asks(api, identities=identities),
            notices=NoticePosts(api, identities=identities),
            groups=Groups(api),
            reader=ThreadReader(api, identities=identities, people=people, readable=readable),
            background=background,
            is_held=host.cluster.is_held,
            has_one_workspace=oauth is None,
            catch_up_pause_s=options.watch.note_s,
        )
        stack.push_async_callback(adapter.drain)
        yield adapter


def _backfill(
    options: SlackOptions,
    host: Host,
    *,
    api: SlackApi,
    identities: Identities,
    authors: Authors,
    threads: Threads,
    arrivals: SlackArrivals,
) -> Backfill:
    return Backfill(
        api,
        identities=identities,
        authors=authors,
        notes=host.notes,
        threads=threads,
        cluster=host.cluster,
        watch=f"{PLATFORM}/{app_of(options.app_token)}/catch-up",
        max_age_s=60 * options.backfill_minutes,
        tick_s=options.watch.note_s,
        take=arrivals.take,
    )


def _posts(
    options: SlackOptions,
    host: Host,
    *,
    api: SlackApi,
    identities: Identities,
    people: People,
    background: Background,
    sign: WaitingSign,
) -> Posts:
    return Posts(
        api,
        notes=host.notes,
        identities=identities,
        home=people.home,
        background=background,
        pace=options.pace,
        trace=options.trace,
        on_running=sign.remove,
    )


def _open_oauth(options: SlackOptions, session: aiohttp.ClientSession, host: Host) -> OAuth | None:
    """Return what workspaces install the app with; None where there is only one."""
    if not options.client_id:
        return None
    rotator = AsyncTokenRotator(
        client_id=options.client_id,
        client_secret=options.client_secret,
        client=open_client(session, base_url=options.api_url),
    )
    installations = Installations(host.notes, rotator=rotator, cluster=host.cluster)
    return OAuth(
        client_id=options.client_id,
        client_secret=options.client_secret,
        installations=installations,
        tokens=InstalledTokens(installations),
        states=NoteStates(host.notes, cluster=host.cluster),
    )


async def _tell(replies: Replies, event: Written, text: str) -> None:
    """Say it to the author of the message; the author of a deleted message is unknown."""
    if not isinstance(event, MessageDeleted):
        message = event.message if isinstance(event, MessageEdited) else event
        if message.author_kind != "person":
            return  # nobody sees what only an app is shown
        await replies.tell(message.conversation, message.author_id, text)


async def _react(api: SlackApi, conversation: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
    await api.call(
        "reactions.add" if is_waiting else "reactions.remove",
        team=conversation.space,
        may_repeat=True,
        channel=conversation.channel,
        timestamp=message_ts(event_key),
        name=WAITING_SIGN,
    )


class SlackAdapter:
    """See `bot.ports.platform.Adapter`. Made by `open_slack`; `session` is the connection, open while `run` runs."""

    name = PLATFORM
    serves = f"{PLATFORM}/"

    def __init__(
        self,
        api: SlackApi,
        *,
        identities: Identities,
        session: Session,
        backfill: Backfill,
        posts: Posts,
        asks: Asks,
        notices: NoticePosts,
        groups: Groups,
        reader: ThreadReader,
        background: Background,
        is_held: Callable[[], bool],
        has_one_workspace: bool,
        catch_up_pause_s: float,
    ) -> None:
        self._api = api
        self._identities = identities
        self.session = session
        self._backfill = backfill
        self._posts = posts
        self._asks = asks
        self._notices = notices
        self._groups = groups
        self._reader = reader
        self._background = background
        self._is_held = is_held
        self._has_one_workspace = has_one_workspace
        self._catch_up_pause_s = catch_up_pause_s  # before backfill begins again, where it failed

    # --- what arrives ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Receive deliveries until cancelled, and what was written while the bot was away.

        Raises:
            AdapterError: Slack does not let the bot in, and trying again cannot help.
        """
        if self._has_one_workspace:
            bot = await log_in(lambda: self._identities.of(""), platform=PLATFORM, backoff=LOG_IN_BACKOFF)
            log.info("slack_bot", team=bot.team, user=bot.user)
        catching_up = keep_catching_up(lambda: self._backfill.run(self.session), pause_s=self._catch_up_pause_s)
        await run_together(PLATFORM, session=self.session.run(), backfill=catching_up)

    # --- what is shown -----------------------------------------------------------------------------------------

    def show(self, view: TurnView) -> None:
        """Show progress; see `adapters.shared.progress`."""
        with on_behalf_of(view.author_id, view.conversation), only_while(self._is_held):
            self._posts.board.show(view)

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into messages of 9,000 characters at most."""
        return split_markdown(neutralize(text), max_chars=PART_CHARS) or (text,)

    async def post(self, post: Post) -> str:
        """Show the post in its thread, with its files below it, and return its timestamp. Raises AdapterError."""
        with on_behalf_of(post.author_id, post.conversation), only_while(self._is_held):
            return await self._posts.post(post)

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its thread. Raises AdapterError where Slack does not show the thread."""
        with on_behalf_of(post.author_id, post.conversation):
            return await self._posts.find(post)

    async def settle(self, turn_id: int) -> None:
        """See `adapters.shared.progress`."""
        await self._posts.board.settle(turn_id)

    async def put_ask(self, post: AskPost) -> str:
        """Post what is asked, or change its message; return the message's reference. Raises AdapterError."""
        with on_behalf_of(post.person, post.place):
            return await self._asks.put(post)

    async def find_ask(self, post: AskPost) -> Found | None:
        """Look for the message of what is asked. Raises AdapterError where Slack does not show the place."""
        with on_behalf_of(post.person, post.place):
            return await self._asks.find(post)

    async def post_notice(self, notice: Notice) -> str:
        """Post the notice in its channel; return its timestamp. Raises AdapterError."""
        return await self._notices.post(notice)

    async def find_notice(self, notice: Notice) -> Found | None:
        """Look for the notice in its channel. Raises AdapterError where Slack does not show that."""
        return await self._notices.find(notice)

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return which of Slack's user groups hold the actor; remembered for a minute unless `is_fresh`."""
        return await self._groups.memberships(actor, groups, is_fresh=is_fresh)

    async def members(self, group: str) -> Sequence[str]:
        """Return the ids of the people in a user group, of very many the first 50. Raises AdapterError."""
        return await self._groups.members(group)

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        """Return the thread before the message, as people read it. Raises AdapterError where Slack does not show it."""
        with on_behalf_of(message.author_id, message.conversation):
            return await self._reader.before(message, since=since, limit=limit)

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file that came with a message. Raises AdapterError."""
        file = await located(self._api, file, team=conversation.space)
        file_id, _, url = file.reference.partition(" ")
        if url == LATER:
            return await transcript(self._api, file_id, team=conversation.space, max_bytes=max_bytes)
        if not url:
            raise AdapterError("Slack does not say where the file is. Send it again.", is_permanent=True)
        return await download(self._api, url, team=conversation.space, max_bytes=max_bytes, mime_type=file.mime_type)

    async def drain(self) -> None:
        """Finish showing ended turns within a moment, then stop; nothing can be posted afterwards."""
        self._posts.board.close()
        await self._background.drain(timeout_s=DRAIN_S)
