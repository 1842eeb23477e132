"""Where an answer goes that Discord does not take in its place: to the asker, or one sentence where it can be shown."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.errors import MISSING_ACCESS, MISSING_PERMISSIONS, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, find_own_messages, id_of, place_of, send_message
from adapters.discord.parse import DIRECT, message_id
from adapters.discord.postable import postable
from adapters.discord.render import CONTENT_CHARS, notice_text
from adapters.discord.status import REACTION
from adapters.shared.posting import Posted
from bot.domain.errors import AdapterError
from bot.domain.turns import Post

log = structlog.stdlib.get_logger(__name__)

SIGN = "⚠️"


class Elsewhere:
    """See `adapters.shared.posting.Ways`; every call raises AdapterError where Discord refuses or fails."""

    def __init__(self, api: DiscordApi, channels: Channels) -> None:
        self._api = api
        self._channels = channels
        self.say = (self._say_in_place, self._say_above_thread, self._say_in_trace, self._mark_question)

    async def directly(self, post: Post, refusal: AdapterError | None) -> str:
        """Send the post to its asker in a direct message and return its id.

        It gets no buttons: the turn belongs to the other channel, where nobody can rate it now.
        """
        channel = await self._direct_channel(post)
        text, files = postable(post)
        heading = self._heading(post, refusal) if refusal is not None else ""
        above = ""
        if heading and len(heading) + 1 + len(text) > CONTENT_CHARS:
            above = await send_message(self._api, channel, text=heading, key=f"{post.key}.h")
        elif heading:
            text = f"{heading}\n{text}"
        try:
            return await send_message(self._api, channel, text=text, files=files, key=f"{post.key}.d")
        except DiscordRefusedError:
            if above:
                await self._delete(channel, above)
            raise

    async def _delete(self, channel: str, message: str) -> None:
        try:
            await self._api.call("DELETE", MESSAGE, channel_id=channel, message_id=message)
        except AdapterError as error:
            log.warning("message_not_deleted", error=str(error))

    async def find(self, post: Post) -> Posted | None:
        """Look for what was sent of the post by `directly`; a sentence is recognised by its key for a few minutes."""
        channel, text = await self._direct_channel(post), postable(post).text
        # Other short ones are headed; a text of a few words may be that of another answer.
        may_be_bare = post.part > 0 or len(text) > CONTENT_CHARS // 2
        for message in await find_own_messages(self._api, channel, since=message_id(post.in_reply_to) or "0"):
            is_headed = message.text.endswith(f"\n{text}") and _link(post) in message.text
            if is_headed or (may_be_bare and message.text == text):
                return Posted(message.id, "direct")
        return None

    async def _direct_channel(self, post: Post) -> str:
        if post.conversation.space == DIRECT:
            raise AdapterError("It was asked for in a direct message.", is_permanent=True)
        body = {"recipient_id": post.author_id}
        return id_of(await self._api.call("POST", "/users/@me/channels", json=body, is_repeatable=False))

    def _heading(self, post: Post, refusal: AdapterError) -> str:
        channel = place_of(post.conversation, post.in_reply_to).channel
        return (
            f"-# My answer in <#{channel}> ({_link(post)}) could not be posted there. {self._reason(channel, refusal)}"
        )

    def _reason(self, channel: str, refusal: AdapterError) -> str:
        is_lacking = isinstance(refusal, DiscordRefusedError) and refusal.code in (MISSING_ACCESS, MISSING_PERMISSIONS)
        lacking = self._channels.missing_permissions(channel) if is_lacking else ()
        return lacking_permissions(lacking) if lacking else str(refusal)

    # --- one sentence ---

    async def _say_in_place(self, post: Post, sentence: str) -> str:
        channel, question = place_of(post.conversation, post.in_reply_to).channel, message_id(post.in_reply_to)
        return await self._say(post, channel, sentence, way="s", reply_to=question)

    async def _say_above_thread(self, post: Post, sentence: str) -> str:
        place = place_of(post.conversation, post.in_reply_to)
        if not place.is_thread:
            raise AdapterError("There is no channel above.", is_permanent=True)
        return await self._say(post, post.conversation.channel, f"<#{place.channel}>: {sentence}", way="a")

    async def _say_in_trace(self, post: Post, sentence: str) -> str:
        """Say it in the thread of the question's trace, which has the id of the question."""
        return await self._say(post, message_id(post.in_reply_to) or "0", sentence, way="t")

    async def _mark_question(self, post: Post, sentence: str) -> str:
        """Put a sign on the question: less than a sentence, so that the refusal is raised all the same."""
        channel, question = place_of(post.conversation, post.in_reply_to).channel, message_id(post.in_reply_to)
        await self._api.call("PUT", REACTION, channel_id=channel, message_id=question, emoji=SIGN)
        raise AdapterError(sentence, is_permanent=True)

    async def _say(self, post: Post, channel: str, sentence: str, *, way: str, reply_to: str = "") -> str:
        text = notice_text(sentence)
        return await send_message(self._api, channel, text=text, reply_to=reply_to, key=f"{post.key}.{way}")


def lacking_permissions(names: Sequence[str]) -> str:
    """Return what is said of a place where the bot lacks permissions."""
    return f"I lack {', '.join(names)} there; someone who manages the channel has to grant that to my role."


def _link(post: Post) -> str:
    """Return the address of the question."""
    place = place_of(post.conversation, post.in_reply_to)
    return f"https://discord.com/channels/{place.space}/{place.channel}/{message_id(post.in_reply_to)}"
