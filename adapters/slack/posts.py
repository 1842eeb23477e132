"""What stays in Slack: the growing and finished messages of answers, their files, and how they are found again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from cachetools import LRUCache

from adapters.shared.kept import KeptMessages
from adapters.shared.posting import Posting, Ways
from adapters.shared.progress import ProgressBoard, TurnProgress
from adapters.shared.tasks import Background
from adapters.slack.answer import AnswerWriter
from adapters.slack.api import SlackApi
from adapters.slack.elsewhere import Elsewhere
from adapters.slack.identities import Identities
from adapters.slack.own_messages import OwnMessage, Place, find_own_messages, place_of
from adapters.slack.pace import Pace
from adapters.slack.parse import PLATFORM, message_ts
from adapters.slack.progress import open_progress
from adapters.slack.refusals import Refusals
from adapters.slack.traces import TraceLevel
from adapters.slack.uploads import Uploads
from bot.domain.errors import AdapterError
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found
from bot.ports.store import NoteStore

MAX_FOUND = 1_000


class Posts:
    """Shows turns on `board` and posts their answers; `on_running` is awaited when a turn begins to run.

    `home` returns the workspace that a user belongs to, by the workspace that has the app and the user's id.
    """

    def __init__(
        self,
        api: SlackApi,
        *,
        notes: NoteStore,
        identities: Identities,
        home: Callable[[str, str], str],
        background: Background,
        pace: Pace,
        trace: TraceLevel,
        on_running: Callable[[TurnView], Awaitable[None]],
    ) -> None:
        self._api = api
        self._notes = notes
        self._identities = identities
        self._home = home
        self._pace = pace
        self._trace: TraceLevel = trace
        self._on_running = on_running
        self._refusals = Refusals()
        self._uploads = Uploads(api, find_own=self._find_own)
        self._found: LRUCache[str, str] = LRUCache(MAX_FOUND)  # posts that lack only files, by key
        self._elsewhere = Elsewhere(api, identities=identities)
        self.board = ProgressBoard(self._open_progress, background)
        ways = Ways(
            finish=self._finish,
            find=self._find,
            is_about_files=lambda error: False,  # they are posted below the answer, by calls of their own
            without_files=lambda post, reason: post,
            directly=self._elsewhere.directly,
            find_elsewhere=self._elsewhere.find,
            say=self._elsewhere.say,
        )
        self._posting = Posting(board=self.board, platform=PLATFORM.capitalize(), ways=ways)

    async def post(self, post: Post) -> str:
        """Show the post in its thread, with its files below it, and return its timestamp.

        A post that its thread does not take goes to the asker, with the reason; see `adapters.shared.posting`. Raises
        AdapterError.
        """
        posted = await self._posting.post(post)
        if posted.where != "said":
            place = place_of(post.conversation) if posted.where == "there" else self._elsewhere.place_of(post)
            await self._uploads.upload_missing(post, posted.reference, place=place)
        return posted.reference

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its thread; None also where posting it again only completes it.

        Raises:
            AdapterError: Slack does not show the thread.
        """
        return await self._posting.find(post)

    async def _find(self, post: Post) -> Found | None:
        place = place_of(post.conversation)
        own = await self._find_own(place, message_ts(post.in_reply_to))
        found = next((message for message in own if message.kind == "post" and message.key == post.key), None)
        if found is None:
            return None
        try:
            await self._uploads.upload_missing(post, found.ts, place=place, own=own)
        except AdapterError:
            self._found[post.key] = found.ts
            return None
        return Found(reference=found.ts)

    def _open_progress(self, view: TurnView) -> TurnProgress:
        return open_progress(
            view,
            slack=self._api,
            place=place_of(view.conversation),
            home=self._home(view.conversation.space, view.author_id),
            find_own=self._find_own,
            refusals=self._refusals,
            pace=self._pace,
            trace_level=self._trace,
            kept=self._kept(view.turn_id),
            on_running=self._on_running,
        )

    async def _finish(self, post: Post) -> str:
        """Show a post of which nothing is shown, as far as is known here."""
        if (ts := self._found.get(post.key)) is not None:
            return ts
        place = place_of(post.conversation)
        writer = AnswerWriter(
            slack=self._api,
            place=place,
            turn_id=post.turn_id,
            author=post.author_id,
            author_team=self._home(place.team, post.author_id),
            refusals=self._refusals,
            search=lambda: self._find_own(place, message_ts(post.in_reply_to)),
            pace=self._pace,
            kept=self._kept(post.turn_id),
        )
        return await writer.finish(post)

    def _kept(self, turn_id: int) -> KeptMessages:
        return KeptMessages(notes=self._notes, platform=PLATFORM, turn_id=turn_id)

    async def _find_own(self, place: Place, since: str) -> Sequence[OwnMessage]:
        bot_user = (await self._identities.of(place.team)).user
        return await find_own_messages(self._api, place, bot_user=bot_user, since=since)
