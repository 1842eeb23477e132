"""Where an answer goes that Discord does not take in its place: to the asker, or one sentence where it can be shown."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.errors import MISSING_ACCESS, MISSING_PERMISSIONS, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, find_own_messages, id_of, place_of, send_message, send_reply
from adapters.discord.parse import DIRECT, message_id
from adapters.discord.postable import Postable, postable
from adapters.discord.render import CONTENT_CHARS, Shown, notice_text
from adapters.discord.status import REACTION
from adapters.shared.posting import Posted
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
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
        channel = await self._direct_channel(post.conversation, post.author_id)
        heading = await self._heading(post.conversation, post.in_reply_to, refusal) if refusal is not None else ""
        return await self._send_below(heading, postable(post), channel=channel, key=post.key)

    async def reply(self, conversation: ConversationKey, key: str, shown: Shown, *, author: str) -> None:
        """Reply to the message of that event key, to its author directly where Discord refuses that for good.

        Where that is refused too, the message gets a sign.

        Raises:
            AdapterError: Discord failed, or refused; then there is the sign at most.
        """
        try:
            await send_reply(self._api, key, shown)
        except DiscordRefusedError as error:
            if not error.is_permanent or not author:
                raise
            log.warning("reply_refused", error=str(error))
            await self._reply_directly(conversation, key, shown, author=author, refusal=error)

    async def _reply_directly(
        self, conversation: ConversationKey, key: str, shown: Shown, *, author: str, refusal: AdapterError
    ) -> None:
        heading = await self._heading(conversation, key, refusal)
        try:
            channel = await self._direct_channel(conversation, author)
            # Its buttons belong to the other channel.
            await self._send_below(heading, Postable(shown.text, ()), channel=channel, key=message_id(key))
        except AdapterError as error:
            if error.is_permanent:
                await self._mark(conversation, key)
            raise

    async def _send_below(self, heading: str, sent: Postable, *, channel: str, key: str) -> str:
        """Send it below a heading, in a second message where both do not fit into one; return the id of the last."""
        text, above = sent.text, ""
        if heading and len(heading) + 1 + len(text) > CONTENT_CHARS:
            above = await send_message(self._api, channel, text=heading, key=f"{key}.h")
        elif heading:
            text = f"{heading}\n{text}"
        try:
            return await send_message(self._api, channel, text=text, files=sent.files, key=f"{key}.d")
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
        channel, text = await self._direct_channel(post.conversation, post.author_id), postable(post).text
        link = _link(post.conversation, post.in_reply_to)
        # Other short ones are headed; a text of a few words may be that of another answer.
        may_be_bare = post.part > 0 or len(text) > CONTENT_CHARS // 2
        for message in await find_own_messages(self._api, channel, since=message_id(post.in_reply_to) or "0"):
            is_headed = message.text.endswith(f"\n{text}") and link in message.text
            if is_headed or (may_be_bare and message.text == text):
                return Posted(message.id, "direct")
        return None

    async def _direct_channel(self, conversation: ConversationKey, person: str) -> str:
        if conversation.space == DIRECT:
            raise AdapterError("It was asked for in a direct message.", is_permanent=True)
        body = {"recipient_id": person}
        return id_of(await self._api.call("POST", "/users/@me/channels", json=body, is_repeatable=False))

    async def _heading(self, conversation: ConversationKey, key: str, refusal: AdapterError) -> str:
        await self._channels.learn(conversation.space)
        channel = place_of(conversation, key).channel
        link, reason = _link(conversation, key), self._reason(channel, refusal)
        return f"-# My answer in <#{channel}> ({link}) could not be posted there. {reason}"

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
        await self._mark(post.conversation, post.in_reply_to)
        raise AdapterError(sentence, is_permanent=True)

    async def _mark(self, conversation: ConversationKey, key: str) -> None:
        channel = place_of(conversation, key).channel
        await self._api.call("PUT", REACTION, channel_id=channel, message_id=message_id(key), emoji=SIGN)

    async def _say(self, post: Post, channel: str, sentence: str, *, way: str, reply_to: str = "") -> str:
        text = notice_text(sentence)
        return await send_message(self._api, channel, text=text, reply_to=reply_to, key=f"{post.key}.{way}")


def lacking_permissions(names: Sequence[str]) -> str:
    """Return what is said of a place where the bot lacks permissions."""
    return f"I lack {', '.join(names)} there; someone who manages the channel has to grant that to my role."


def _link(conversation: ConversationKey, key: str) -> str:
    """Return the address of the message of that event key."""
    place = place_of(conversation, key)
    return f"https://discord.com/channels/{place.space}/{place.channel}/{message_id(key)}"
