"""Slack as a chat platform: the Adapter port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from adapters.shared.arrivals import keep_catching_up, log_in
from adapters.shared.fence import Hold, only_while
from adapters.shared.shares import on_behalf_of
from adapters.shared.tasks import Background, run_together
from adapters.slack.answer import PART_CHARS
from adapters.slack.api import SlackApi
from adapters.slack.asks import Asks
from adapters.slack.backfill import Backfill
from adapters.slack.earlier import ThreadReader
from adapters.slack.files import download, located, transcript
from adapters.slack.groups import Groups
from adapters.slack.identities import Identities
from adapters.slack.notice_posts import NoticePosts
from adapters.slack.parse import PLATFORM
from adapters.slack.posts import Posts
from adapters.slack.render import neutralize
from adapters.slack.session import Session
from adapters.slack.words import LATER
from bot.domain.asks import AskPost
from bot.domain.backoff import Backoff
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, Earlier, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Connection, Found
from bot.ports.rights import Memberships
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

LOG_IN_BACKOFF = Backoff(first_s=1.0)
DRAIN_S = 3.0  # for what is still to be shown of ended turns when the process ends


class SlackAdapter:
    """See `bot.ports.platform.Adapter`. Opened by `open_slack`; `session` is the connection, open while `run` runs."""

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
        hold: Hold,
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
        self._hold = hold
        self._has_one_workspace = has_one_workspace
        self._catch_up_pause_s = catch_up_pause_s  # before backfill begins again, where it failed

    @property
    def connection(self) -> Connection:
        """See `Adapter`. A process to which others leave no socket counts as connected: it works on turns."""
        return Connection(
            is_open=self.session.is_connected or self.session.is_spare,
            detail=self._identities.described,
            reconnects=self.session.reconnects,
            rate_limits=self._api.rate_limits,
        )

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
        with on_behalf_of(post.author_id, post.conversation), only_while(self._hold.from_now()):
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
        with on_behalf_of(post.person, post.place), only_while(self._hold.from_now()):
            return await self._asks.put(post)

    async def find_ask(self, post: AskPost) -> Found | None:
        """Look for the message of what is asked. Raises AdapterError where Slack does not show the place."""
        with on_behalf_of(post.person, post.place):
            return await self._asks.find(post)

    async def post_notice(self, notice: Notice) -> str:
        """Post the notice in its channel; return its timestamp. Raises AdapterError."""
        with only_while(self._hold.from_now()):
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
