"""What Discord delivers, as events of the core; pure. Payloads are the gateway's own JSON, ids are strings of digits.

https://docs.discord.com/developers/events/gateway-events
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from adapters.discord.payloads import text_at, text_of, time_of
from adapters.discord.readable import Reader, display_name
from adapters.discord.snowflakes import made_at
from adapters.discord.standing import standing_in
from adapters.discord.words import (
    COMMAND,
    DEFAULT,
    MENU_COMMAND,
    REPLY,
    author_kind,
    is_named_in,
    own_words,
    quoted_by,
    reference_type,
    unread_of_reply,
)
from adapters.shared.arrivals import Unanswered
from adapters.shared.payloads import Payload, dict_of, dicts_of, list_of
from bot.domain.commands import spoken_command
from bot.domain.events import (
    AuthorKind,
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)

PLATFORM = "discord"
DIRECT = "@me"  # in place of the guild of a direct message

# https://docs.discord.com/developers/resources/channel#channel-object-channel-types
THREAD_TYPES = (10, 11, 12)  # a tuple: what a payload has for a type may not be hashable
FORUM_TYPES = (15, 16)  # channels whose threads are posts with a title


class Thread(NamedTuple):
    """A thread: its channel, who began it, and its title where it is a post in a forum."""

    parent: str
    owner: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRefused:
    """A direct message to the bot, which the operator does not allow."""

    channel: str
    author_id: str
    event_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A message of which the bot gets no words, for lack of the Message Content intent; it may be a follow-up."""

    conversation: ConversationKey
    event_key: str
    is_addressed: bool


class Mark(NamedTuple):
    """What a button's custom id says about its message; `number` is that of the answer's part or of the call."""

    kind: str
    turn: int
    number: int


# --- keys ------------------------------------------------------------------------------------------------------


def event_key(channel: str, message: str) -> str:
    """Return the key of a message, the same for each delivery; `channel` is the thread if the message is in one."""
    return f"{PLATFORM}:{channel}:{message}"


def interaction_key(interaction: str) -> str:
    """Return the key of an interaction, the same for each of its deliveries."""
    return f"{PLATFORM}:interaction:{interaction}"


def message_place(key: str) -> tuple[str, str]:
    """Return channel (or thread) and id of the message in a key that `event_key` made, ("", "") for any other key."""
    found = re.fullmatch(rf"{PLATFORM}:(\d+):(\d+)", key)
    return (found[1], found[2]) if found else ("", "")


def message_id(key: str) -> str:
    """Return the id of the message in a key that `event_key` made, "" for any other key."""
    return message_place(key)[1]


def conversation_in(channel: str, thread: Thread | None, *, guild: str, bot_user: str) -> ConversationKey:
    """Return the conversation of a channel, or of the thread `channel`.

    A thread that the bot began, for a trace, belongs to the conversation of its channel.
    """
    is_own = thread is not None and thread.owner == bot_user != ""
    return ConversationKey(
        platform=PLATFORM,
        space=guild or DIRECT,
        channel=channel if thread is None else thread.parent,
        thread="" if thread is None or is_own else channel,
    )


def parse_mark(custom_id: str) -> Mark | None:
    """Return the mark in a custom id that `adapters.discord.render` made; None for any other custom id."""
    found = re.fullmatch(r"tb:(good|bad|stop|details):(\d{1,18}):(\d{1,9})", custom_id, re.ASCII)
    return Mark(found[1], int(found[2]), int(found[3])) if found else None


def sent_at(snowflake: str) -> datetime:
    """Return when the message or interaction of that id was made; for an id that does not say it, now."""
    return made_at(snowflake) or datetime.now(UTC)


# --- messages --------------------------------------------------------------------------------------------------

Parsed = MessageReceived | CommandInvoked | DirectRefused | Unreadable | Unanswered


def parse_message(
    payload: Payload, *, reader: Reader, thread: Thread | None, allow_dms: bool, guild: str = ""
) -> Parsed | None:
    """Return what a message says to the bot, or among people in a thread; None where it is not for the bot.

    `thread` is where the message is, None outside threads. `guild` is the guild's id of a fetched message; only
    delivered ones name it.
    """
    if not _has_author(payload, reader):
        return None
    incoming = _Incoming(payload, reader=reader, thread=thread, guild=guild)
    if why := incoming.why_not_written():
        return incoming.unanswered(why) if reader.is_mentioned_in(payload) else None
    if incoming.author_kind == "app":
        return incoming.message() if incoming.is_addressed or thread is not None else None
    if incoming.is_direct and not allow_dms:
        return DirectRefused(channel=incoming.channel, author_id=incoming.author_id, event_key=incoming.event_key)
    if not incoming.is_addressed and thread is None:
        return None
    return incoming.command() or incoming.unreadable() or incoming.message()


def parse_edit(
    payload: Payload, *, reader: Reader, thread: Thread | None, allow_dms: bool, guild: str = ""
) -> MessageEdited | Unanswered | None:
    """Return the change in a MESSAGE_UPDATE; None where nobody changed what the bot may have been asked.

    A question that has lost its mention still counts: the core knows which messages asked it something.
    """
    edited_at = time_of(payload.get("edited_timestamp"))
    if edited_at is None or not _has_author(payload, reader):
        return None  # a link got its preview, a thread was opened, the message was pinned
    incoming = _Incoming(payload, reader=reader, thread=thread, guild=guild)
    is_by_app = incoming.author_kind == "app"
    if incoming.why_not_written() or (is_by_app and not incoming.is_addressed):
        return None
    if (incoming.is_direct and not allow_dms) or incoming.unreadable():
        return None
    if not is_by_app and spoken_command(incoming.said, is_addressed=True, text=incoming.content):
        return incoming.unanswered("an edit made it a command") if incoming.is_addressed else None
    message = incoming.message()
    return message and MessageEdited(message=replace(message, edited_at=edited_at, is_talk=False))


def parse_delete(payload: Payload, *, reader: Reader, thread: Thread | None) -> tuple[MessageDeleted, ...]:
    """Return the messages that a MESSAGE_DELETE or MESSAGE_DELETE_BULK removes."""
    channel = text_at(payload, "channel_id")
    gone = [text_at(payload, "id"), *map(text_of, list_of(payload.get("ids")))]
    conversation = conversation_in(channel, thread, guild=text_at(payload, "guild_id"), bot_user=reader.bot_user)
    return tuple(
        MessageDeleted(conversation=conversation, event_key=event_key(channel, message)) for message in gone if message
    )


class _Incoming:
    """A message that someone else wrote, and whether it is addressed to the bot."""

    def __init__(self, payload: Payload, *, reader: Reader, thread: Thread | None, guild: str) -> None:
        self._payload = payload
        self._reader = reader
        self._thread = thread
        self._id = text_at(payload, "id")
        self._author = dict_of(payload.get("author"))
        guild = guild or text_at(payload, "guild_id")
        self._is_named = is_named_in(payload, reader)
        self._replied_to = text_at(dict_of(dict_of(payload.get("referenced_message")).get("author")), "id")
        self.author_id = text_at(self._author, "id")
        self.author_kind: AuthorKind = author_kind(payload, reader)
        self.channel = text_at(payload, "channel_id")
        self.conversation = conversation_in(self.channel, thread, guild=guild, bot_user=reader.bot_user)
        self.event_key = event_key(self.channel, self._id)
        self.is_direct = not guild
        self.is_addressed = self._is_for_bot()

    @property
    def said(self) -> list[str]:
        """The words of its text, without the bot's mention."""
        return self.content.split()

    @property
    def content(self) -> str:
        """Its text as it was written, without the bot's mention."""
        return self._reader.without_mention(text_at(self._payload, "content"))

    def why_not_written(self) -> str:
        """Return why nobody says something by it, in a few words; "" where someone does."""
        kind = self._payload.get("type", DEFAULT)
        if self._author.get("system"):
            return "it is a message of Discord's own"
        if self.author_kind == "app":
            is_written = not self.is_direct and kind in (DEFAULT, REPLY, COMMAND, MENU_COMMAND)
        else:
            is_written = kind in (DEFAULT, REPLY)
        return "" if is_written else f"it is a message of the type {text_of(kind)[:9]}"

    def unanswered(self, reason: str) -> Unanswered:
        """Return that it gets no answer."""
        return Unanswered(event_key=self.event_key, reason=reason)

    def command(self) -> CommandInvoked | None:
        """Return the command that it is, if it is one."""
        if self._is_talk:
            return None
        command = spoken_command(self.said, is_addressed=self.is_addressed, text=self.content)
        return command and CommandInvoked(
            conversation=self.conversation,
            event_key=self.event_key,
            author_id=self.author_id,
            name=command[0],
            argument=command[1],
            is_addressed=self.is_addressed,
            standing=standing_in(self._payload),
        )

    def unreadable(self) -> Unreadable | None:
        """Return that the bot gets no words of it, where that is for lack of the Message Content intent.

        Those of direct messages and of messages that mention the bot itself come in any case.
        https://docs.discord.com/developers/events/gateway#message-content-intent
        """
        if self._reader.reads_content or self.is_direct or self._is_named or self._is_talk:
            return None
        if not own_words(self._payload, self._reader).is_empty or dicts_of(self._payload.get("message_snapshots")):
            return None
        return Unreadable(conversation=self.conversation, event_key=self.event_key, is_addressed=self.is_addressed)

    def message(self) -> MessageReceived | None:
        """Return the message; None for a follow-up with nothing in it."""
        words = own_words(self._payload, self._reader)
        quoted = quoted_by(self._payload, self._reader)
        if words.is_empty and not quoted and not self.is_addressed and not self._is_talk:
            return None
        # The first message of a post in a forum has the thread's id, and the title belongs to it.
        title = self._thread.title if self._thread is not None and self._id == self.channel else ""
        return MessageReceived(
            conversation=self.conversation,
            event_key=self.event_key,
            author_id=self.author_id,
            author_name=display_name(self._author, dict_of(self._payload.get("member"))),
            author_kind=self.author_kind,
            author_aliases=self._aliases,
            text="\n\n".join(filter(None, (title, words.text))),
            sent_at=sent_at(self._id),
            is_shared=not self.is_direct,
            is_addressed=self.is_addressed,
            is_talk=self._is_talk,
            talks_to=self._people_at_the_beginning if self._is_talk else (),
            has_earlier=self._has_earlier,
            begun_at=sent_at(self.channel) if self._has_earlier else None,
            files=words.files,
            quoted=quoted,
            unread=(*words.unread, *unread_of_reply(self._payload)),
            standing=standing_in(self._payload),
        )

    @property
    def _has_earlier(self) -> bool:
        """Whether it is in a thread, and not the message that the thread began with.

        Its `position` does not say it: the message after the first one may have 0 as well.
        https://github.com/discord/discord-api-docs/issues/7788
        """
        return self._thread is not None and self._id != self.channel

    @property
    def _aliases(self) -> tuple[str, ...]:
        application = text_at(self._payload, "application_id")
        return (application,) if self.author_kind == "app" and application else ()

    def _is_for_bot(self) -> bool:
        is_mentioned = self._reader.is_mentioned_in(self._payload)
        if self.author_kind == "app":  # the reply of a bot notifies as well: only a mention that was written counts
            return is_mentioned and self._is_named
        is_reply = reference_type(self._payload) == 0 and self._replied_to == self._reader.bot_user != ""
        return self.is_direct or is_mentioned or is_reply

    @property
    def _is_talk(self) -> bool:
        """Whether it is said to someone else, or by another bot without a mention."""
        if self.is_addressed:
            return False
        if self.author_kind == "app":
            return True
        content = text_at(self._payload, "content")
        if not content and not self._reader.reads_content and self._mentions_others:
            return True  # where in it they are mentioned cannot be seen
        begins_so = re.match(r"\s*(?:<@[!&]?\d+>|@everyone\b|@here\b)", content, re.ASCII)
        return begins_so is not None or self._is_reply_to_someone_else()

    @property
    def _people_at_the_beginning(self) -> tuple[str, ...]:
        begins = re.match(r"\s*(?:<@!?\d+>[\s,]*+)+", text_at(self._payload, "content"), re.ASCII)
        return tuple(re.findall(r"<@!?(\d+)>", begins[0])) if begins else ()

    def _is_reply_to_someone_else(self) -> bool:
        if self._payload.get("type") != REPLY:
            return False
        if self._replied_to:
            return self._replied_to not in (self._reader.bot_user, self.author_id)
        return self._mentions_others  # it is not known what it answers, but whom it notifies

    @property
    def _mentions_others(self) -> bool:
        return any(text_at(user, "id") != self.author_id for user in dicts_of(self._payload.get("mentions")))


def _has_author(payload: Payload, reader: Reader) -> bool:
    author = text_at(dict_of(payload.get("author")), "id")
    return bool(text_at(payload, "id") and text_at(payload, "channel_id") and author) and author != reader.bot_user
