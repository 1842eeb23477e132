"""What the bot posts in turns: progress, answers, how they are found again, and where a refused answer goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from adapters.discord.answer import AnswerWriter
from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.elsewhere import Elsewhere, lacking_permissions
from adapters.discord.errors import DiscordRefusedError
from adapters.discord.own_messages import OwnMessage, Place, find_own_messages, place_of
from adapters.discord.parse import PLATFORM, message_id
from adapters.discord.postable import without_files
from adapters.discord.questions import Questions
from adapters.discord.render import part_message, thread_name
from adapters.discord.status import Typing
from adapters.discord.traces import Threadless, Trace, TraceLevel
from adapters.shared.kept import KeptMessages
from adapters.shared.posting import Posting, Ways
from adapters.shared.progress import Pace, ProgressBoard, TurnProgress
from adapters.shared.tasks import Background
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found
from bot.ports.store import NoteStore
from bot.text.apart import apart


class Posts:
    """Shows turns on `board`, in the channels where they were asked for, and posts their answers."""

    def __init__(
        self,
        api: DiscordApi,
        *,
        notes: NoteStore,
        channels: Channels,
        elsewhere: Elsewhere,
        questions: Questions,
        background: Background,
        trace: TraceLevel,
        pace: Pace,
        edit_gap_s: float,
        on_running: Callable[[TurnView], Awaitable[None]],
    ) -> None:
        self._api = api
        self._notes = notes
        self._questions = questions
        self._trace: TraceLevel = trace
        self._pace = pace
        self._edit_gap_s = edit_gap_s
        self._on_running = on_running
        self._threadless = Threadless()
        self.board = ProgressBoard(self._open_progress, background)
        self._channels = channels
        ways = Ways(
            finish=self._finish,
            find=self._find,
            is_about_files=lambda error: isinstance(error, DiscordRefusedError) and error.may_be_about_files,
            without_files=self._without_files,
            directly=elsewhere.directly,
            find_elsewhere=elsewhere.find,
            say=elsewhere.say,
        )
        self._posting = Posting(board=self.board, platform="Discord", ways=ways)

    async def post(self, post: Post) -> str:
        """Show the post in its final form, with its files, and return its id; in private where its channel is closed.

        Raises:
            RateLimitError: Discord asked for a pause; nothing was posted.
            AdapterError: Discord refused, the outcome is unknown, or the board is closed.
        """
        return (await self._posting.post(post)).reference

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its channel; None also where posting it again changes its message.

        Raises:
            AdapterError: Discord does not show the channel.
        """
        return await self._posting.find(post)

    async def _find(self, post: Post) -> Found | None:
        channel = place_of(post.conversation, post.in_reply_to).channel
        text = (await apart(lambda: part_message(post.text), size=len(post.text))).text
        for message in await self._own_messages(channel, message_id(post.in_reply_to)):
            is_it = message.has("good", turn=post.turn_id) if post.is_last else message.text == text
            if is_it and not message.has("stop", turn=post.turn_id):
                return Found(reference=message.id)
        return None

    def _open_progress(self, view: TurnView) -> TurnProgress:
        """Return the turn, ready to be shown."""
        place, question = place_of(view.conversation, view.in_reply_to), message_id(view.in_reply_to)
        answer = self._writer(view, place)
        trace = Trace(
            level=view.trace_style or self._trace,
            api=self._api,
            place=place,
            turn_id=view.turn_id,
            question=question,
            title=thread_name(self._questions.title_of(view.in_reply_to)),
            threadless=self._threadless,
            search=lambda channel: self._own_messages(channel, question),
            kept=replace(answer.kept, kind="trace"),
            waits_for=lambda: progress.view.notice if progress.view.state == "waiting" else "",
        )

        async def adopt() -> None:
            kept = await answer.kept.read()
            await trace.adopt_kept()
            try:
                answer.adopt(await self._own_messages(place.channel, question))
            finally:
                answer.adopt_kept(kept)  # where the channel shows it too, its text is known
            await trace.adopt()

        progress = TurnProgress(
            view=view,
            status=Typing(api=self._api, place=place),
            trace=trace,
            answer=answer,
            pace=self._pace,
            on_running=self._on_running,
            adopt=adopt,
        )
        return progress

    async def _finish(self, post: Post) -> str:
        """Post an answer of which nothing is shown here, and return its id. Raises AdapterError."""
        try:
            return await self._writer(post, place_of(post.conversation, post.in_reply_to)).finish(post)
        except DiscordRefusedError:  # which permissions are lacking may have to be said
            await self._channels.learn(post.conversation.space)
            raise

    def _without_files(self, post: Post, reason: str) -> Post:
        lacking = self._channels.missing_permissions(place_of(post.conversation, post.in_reply_to).channel)
        return without_files(post, lacking_permissions(("Attach Files",)) if "Attach Files" in lacking else reason)

    def _writer(self, of: Post | TurnView, place: Place) -> AnswerWriter:
        question = message_id(of.in_reply_to)
        return AnswerWriter(
            api=self._api,
            place=place,
            turn_id=of.turn_id,
            question=question,
            search=lambda: self._own_messages(place.channel, question),
            kept=KeptMessages(notes=self._notes, platform=PLATFORM, turn_id=of.turn_id),
            edit_gap_s=self._edit_gap_s,
        )

    async def _own_messages(self, channel: str, since: str) -> Sequence[OwnMessage]:
        return await find_own_messages(self._api, channel, since=since or "0")
