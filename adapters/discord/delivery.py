"""Turns on their way to Discord: their progress, their answers, and where an answer goes that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.discord.answer import AnswerWriter
from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.errors import CLOSED, DiscordRefusedError
from adapters.discord.own_messages import OwnMessage, Place, find_own_messages, place_of
from adapters.discord.parse import DIRECT, message_id
from adapters.discord.questions import Questions
from adapters.discord.render import part_message, thread_name
from adapters.discord.status import Typing
from adapters.discord.traces import Threadless, Trace, TraceLevel
from adapters.shared.arrivals import WaitingSign
from adapters.shared.progress import Pace, TurnProgress
from bot.domain.errors import AdapterError
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found


@dataclass(slots=True, kw_only=True)
class Delivery:
    """Shows turns in the channels where they were asked for."""

    api: DiscordApi
    channels: Channels
    questions: Questions
    sign: WaitingSign
    trace_level: TraceLevel
    pace: Pace
    edit_gap_s: float
    threadless: Threadless

    def open_progress(self, view: TurnView) -> TurnProgress:
        """Return what shows the turn while it runs."""
        place, question = place_of(view.conversation), message_id(view.in_reply_to)
        answer = self._writer(view, place)
        trace = Trace(
            level=self.trace_level,
            api=self.api,
            place=place,
            turn_id=view.turn_id,
            question=question,
            title=thread_name(self.questions.text_of(view.in_reply_to)),
            threadless=self.threadless,
            search=lambda channel: self._own_messages(channel, question),
            waits_for=lambda: progress.view.notice if progress.view.state == "waiting" else "",
        )

        async def adopt() -> None:
            answer.adopt(await self._own_messages(place.channel, question))
            await trace.adopt()

        progress = TurnProgress(
            view=view,
            status=Typing(api=self.api, place=place),
            trace=trace,
            answer=answer,
            pace=self.pace,
            on_running=self.sign.remove,
            adopt=adopt,
        )
        return progress

    async def finish(self, post: Post) -> str:
        """Post an answer of which nothing is shown here, and return its id. Raises AdapterError."""
        return await self._writer(post, place_of(post.conversation)).finish(post)

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its channel. Raises AdapterError where Discord does not show it."""
        channel = place_of(post.conversation).channel
        text = part_message(post.text).text
        for message in await self._own_messages(channel, message_id(post.in_reply_to)):
            is_it = message.has("good", turn=post.turn_id) if post.is_last else message.text == text
            if is_it and not message.has("stop", turn=post.turn_id):
                return Found(reference=message.id)
        return None

    async def post_privately(self, post: Post, error: AdapterError) -> str:
        """Send an answer to the person who asked, with the reason why it is not where they asked; return its id.

        Raises:
            AdapterError: Discord refuses that too.
        """
        opened = await self.api.call("POST", "/users/@me/channels", json={"recipient_id": post.author_id})
        place = Place(space=DIRECT, channel=str(opened["id"]), is_thread=False)
        lacking = ", ".join(self.channels.missing_permissions(place_of(post.conversation).channel))
        reason = (
            f"I lack {lacking} there; someone who manages the channel has to grant that to my role."
            if lacking
            else str(error)
        )
        why = f"-# My answer in <#{post.conversation.channel}> could not be posted there. {reason}"
        text = f"{why}\n{post.text}" if post.part == 0 else post.text
        # It gets no buttons: the turn belongs to the other channel, where nobody can rate it now.
        private = replace(post, text=text, in_reply_to="", is_last=False)
        return await self._writer(private, place).finish(private)

    def _writer(self, of: Post | TurnView, place: Place) -> AnswerWriter:
        question = message_id(of.in_reply_to)
        return AnswerWriter(
            api=self.api,
            place=place,
            turn_id=of.turn_id,
            question=question,
            search=lambda: self._own_messages(place.channel, question),
            edit_gap_s=self.edit_gap_s,
        )

    async def _own_messages(self, channel: str, since: str) -> Sequence[OwnMessage]:
        return await find_own_messages(self.api, channel, since=since or "0")


def is_unpostable(error: AdapterError) -> bool:
    """Tell whether nothing can be posted where Discord refused so."""
    return isinstance(error, DiscordRefusedError) and error.code in CLOSED
