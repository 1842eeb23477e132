"""Opens Slack: makes the parts of the adapter and puts them together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.shared.arrivals import Arrivals, Notices, WaitingSign, Written
from adapters.shared.common import CommonRates
from adapters.shared.fence import Hold
from adapters.shared.tasks import Background
from adapters.slack.adapter import SlackAdapter
from adapters.slack.api import SlackApi, Tokens, open_client
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.asks import Asks
from adapters.slack.authors import Authors
from adapters.slack.backfill import Backfill, Threads
from adapters.slack.bolt import OAuth
from adapters.slack.deliveries import Deliveries, make_deliveries
from adapters.slack.earlier import ThreadReader
from adapters.slack.groups import Groups
from adapters.slack.identities import Identities
from adapters.slack.installs import Installations, InstalledTokens, OneToken
from adapters.slack.limits import Limits
from adapters.slack.notice_posts import NoticePosts
from adapters.slack.oauth_states import NoteStates
from adapters.slack.options import SlackOptions
from adapters.slack.parse import PLATFORM, message_ts
from adapters.slack.people import People
from adapters.slack.posts import Posts
from adapters.slack.previews import Looking, Previews
from adapters.slack.readable import Readable
from adapters.slack.replies import Replies
from adapters.slack.session import Endpoints, Session
from adapters.slack.socket_slots import app_of
from adapters.slack.standing import Standings
from bot.domain.events import ConversationKey, MessageDeleted, MessageEdited
from bot.ports.platform import Host

WAITING_SIGN = "hourglass_flowing_sand"
MAX_CONNECTIONS = 200


@asynccontextmanager
async def open_slack(options: SlackOptions, host: Host) -> AsyncGenerator[SlackAdapter]:
    """Open the adapter, without waiting for Slack; posts can be made until the end of the context."""
    async with AsyncExitStack() as stack:
        # No timeout of its own: each call has one. The API's own limits bound how many connections there can be.
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
            )
        )
        oauth = _open_oauth(options, session, host)
        tokens: Tokens = oauth.tokens if oauth else OneToken(options.bot_token)
        common = CommonRates(host.cluster, platform=PLATFORM)
        api = SlackApi(tokens, session, base_url=options.api_url, limits=Limits(options.rates, common=common))
        people = await stack.enter_async_context(People(api))
        adapter = _make_adapter(_Basics(options=options, host=host, oauth=oauth, api=api, people=people))
        stack.push_async_callback(adapter.drain)
        yield adapter


class _Basics:
    """What most parts are made of."""

    def __init__(
        self, *, options: SlackOptions, host: Host, oauth: OAuth | None, api: SlackApi, people: People
    ) -> None:
        self.options = options
        self.host = host
        self.oauth = oauth
        self.api = api
        self.people = people
        self.identities = Identities(api)
        self.replies = Replies(api)
        self.standings = Standings(people, self.identities)
        self.readable = Readable(api, identities=self.identities, people=people)
        self.authors = Authors(people, previews=Previews(look=Looking(api, host.cluster).below))
        self.threads = Threads(host.notes, host.cluster)
        self.background = Background(PLATFORM)
        self.sign = WaitingSign(partial(_react, api), self.background, host.cluster)


def _make_adapter(basics: _Basics) -> SlackAdapter:
    api, identities = basics.api, basics.identities
    arrivals, posts = _arrivals(basics), _posts(basics)
    deliveries = _deliveries(basics, arrivals=arrivals, at_work_in=posts.board.at_work_in)
    return SlackAdapter(
        api,
        identities=identities,
        session=_session(basics, deliveries),
        backfill=_backfill(basics, arrivals),
        posts=posts,
        asks=Asks(api, identities=identities),
        notices=NoticePosts(api, identities=identities),
        groups=Groups(api),
        reader=ThreadReader(api, identities=identities, people=basics.people, readable=basics.readable),
        background=basics.background,
        is_held=basics.host.cluster.is_held,
        hold=Hold(basics.host.cluster),
        has_one_workspace=basics.oauth is None,
        catch_up_pause_s=basics.options.watch.note_s,
    )


def _arrivals(basics: _Basics) -> SlackArrivals:
    host, background = basics.host, basics.background
    notices = Notices(partial(_tell, basics.replies), background, host.cluster)
    return SlackArrivals(
        Arrivals(host, notices=notices, sign=basics.sign),
        readable=basics.readable,
        standings=basics.standings,
        note=basics.threads.note,
        background=background,
        cluster=host.cluster,
    )


def _posts(basics: _Basics) -> Posts:
    return Posts(
        basics.api,
        notes=basics.host.notes,
        identities=basics.identities,
        home=basics.people.home,
        background=basics.background,
        pace=basics.options.pace,
        trace=basics.options.trace,
        on_running=basics.sign.remove,
    )


def _deliveries(
    basics: _Basics, *, arrivals: SlackArrivals, at_work_in: Callable[[ConversationKey], int]
) -> Deliveries:
    return make_deliveries(
        basics.api,
        basics.host,
        arrivals=arrivals,
        authors=basics.authors,
        identities=basics.identities,
        people=basics.people,
        standings=basics.standings,
        replies=basics.replies,
        background=basics.background,
        prefix=basics.options.command_prefix,
        at_work_in=at_work_in,
    )


def _session(basics: _Basics, deliveries: Deliveries) -> Session:
    options, host = basics.options, basics.host
    return Session(
        Endpoints(app_token=options.app_token, signing_secret=options.signing_secret),
        api=basics.api,
        identities=basics.identities,
        handle=deliveries.take,
        listener=host.http,
        cluster=host.cluster,
        oauth=basics.oauth,
        watch=options.watch,
    )


def _backfill(basics: _Basics, arrivals: SlackArrivals) -> Backfill:
    options, host = basics.options, basics.host
    return Backfill(
        basics.api,
        identities=basics.identities,
        authors=basics.authors,
        notes=host.notes,
        threads=basics.threads,
        cluster=host.cluster,
        watch=f"{PLATFORM}/{app_of(options.app_token)}/catch-up",
        max_age_s=60 * options.backfill_minutes,
        tick_s=options.watch.note_s,
        take=arrivals.take,
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
