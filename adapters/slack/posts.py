"""What stays in Slack: the growing and finished messages of answers, their files, and how they are found again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from cachetools import LRUCache

from adapters.shared.posting import Posting
from adapters.shared.progress import ProgressBoard, TurnProgress
from adapters.shared.tasks import Background
from adapters.slack.answer import AnswerWriter
from adapters.slack.api import SlackApi
from adapters.slack.errors import SlackRefusedError
from adapters.slack.identities import Identities
from adapters.slack.own_messages import OwnMessage, Place, find_own_messages, post_mark
from adapters.slack.pace import Pace
from adapters.slack.parse import PLATFORM, message_ts
from adapters.slack.progress import open_progress
from adapters.slack.refusals import Refusals
from adapters.slack.render import answer_blocks, neutralize, notification
from adapters.slack.traces import TraceLevel
from adapters.slack.uploads import Uploads
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found

MAX_PRIVATE = 1_000
_UNPOSTABLE = frozenset({"not_in_channel", "channel_not_found", "is_archived", "restricted_action"})


class Posts:
    """Shows turns on `board` and posts their answers; `on_running` is awaited when a turn begins to run.

    `home` returns the workspace that a user belongs to, by the workspace that has the app and the user's id.
    """

    def __init__(
        self,
        api: SlackApi,
        *,
        identities: Identities,
        home: Callable[[str, str], str],
        background: Background,
        pace: Pace,
        trace: TraceLevel,
        on_running: Callable[[TurnView], Awaitable[None]],
    ) -> None:
        self._api = api
        self._identities = identities
        self._home = home
        self._pace = pace
        self._trace: TraceLevel = trace
        self._on_running = on_running
        self._refusals = Refusals()
        self._uploads = Uploads(api, find_own=self._find_own)
        self._private: LRUCache[str, Place] = LRUCache(MAX_PRIVATE)  # where posts went that only the asker sees
        self.board = ProgressBoard(self._open_progress, background)
        self._posting = Posting(
            self.board,
            platform=PLATFORM.capitalize(),
            finish=self._finish,
            is_unpostable=lambda error: isinstance(error, SlackRefusedError) and error.code in _UNPOSTABLE,
            post_privately=self._post_privately,
        )

    async def post(self, post: Post) -> str:
        """Show the post in its thread, with its files below it, and return its timestamp.

        A post that its channel does not take goes to the asker, with the reason. Raises AdapterError.
        """
        posted = await self._posting.post(post)
        place = self._private[post.key] if posted.is_private else place_of(post.conversation)
        await self._uploads.upload_missing(post, posted.reference, place=place)
        return posted.reference

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its thread. Raises AdapterError where Slack does not show the thread."""
        if self._posting.is_shown(post):
            return None
        place = place_of(post.conversation)
        own = await self._find_own(place, message_ts(post.in_reply_to))
        found = next((message for message in own if message.kind == "post" and message.key == post.key), None)
        if found is None:
            return None
        await self._uploads.upload_missing(post, found.ts, place=place, own=own)
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
            on_running=self._on_running,
        )

    async def _finish(self, post: Post) -> str:
        """Show a post of which nothing was shown before."""
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
        )
        return await writer.finish(post)

    async def _find_own(self, place: Place, since: str) -> Sequence[OwnMessage]:
        bot_user = (await self._identities.of(place.team)).user
        return await find_own_messages(self._api, place, bot_user=bot_user, since=since)

    async def _post_privately(self, post: Post, error: AdapterError) -> str:
        """Send the post to the asker in a direct message, once; return its timestamp."""
        if (sent := self._private.get(post.key)) is not None:
            return sent.thread
        team = post.conversation.space
        opened = await self._api.call("conversations.open", team=team, may_repeat=True, users=post.author_id)
        text = neutralize(post.text)
        if post.part == 0:
            why = f"_My answer to your message in <#{post.conversation.channel}> could not be posted there. {error}_"
            text = f"{why}\n\n{text}"
        channel = str(opened["channel"]["id"])
        posted = await self._api.call(
            "chat.postMessage",
            team=team,
            channel=channel,
            text=notification(text),
            # Without buttons: a press here could not be recognised as one on the other channel's answer.
            blocks=answer_blocks(text, turn_id=post.turn_id, is_last=False),
            metadata=post_mark(post),
            unfurl_links=False,
            unfurl_media=False,
        )
        place = Place(team=team, channel=channel, thread=str(posted["ts"]))
        self._private[post.key] = place
        return place.thread


def place_of(conversation: ConversationKey) -> Place:
    """Return the conversation's thread."""
    return Place(team=conversation.space, channel=conversation.channel, thread=conversation.thread)
