"""What Discord delivers, as events of the core; pure. Payloads are the gateway's own JSON, ids are strings of digits.

https://docs.discord.com/developers/events/gateway-events
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from adapters.discord.payloads import Payload, dict_of, dicts_of, list_of, text_at, text_of, time_of
from adapters.discord.readable import display_name, files_of, quotation, readable, without_mention
from adapters.discord.snowflakes import created_at
from bot.domain.commands import spoken_command
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    SharedFile,
)

PLATFORM = "discord"
DIRECT = "@me"  # in place of the guild of a direct message

# The only types that people write: https://docs.discord.com/developers/resources/message#message-object-message-types
_DEFAULT, _REPLY = 0, 19
_FORWARD = 1  # type of a message reference; 0 is a reply
# https://docs.discord.com/developers/resources/channel#channel-object-channel-types
THREAD_TYPES = (10, 11, 12)  # a tuple: what a payload has for a type may not be hashable
# https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type
_APPLICATION_COMMAND, _MESSAGE_COMPONENT = 2, 3
_CHAT_INPUT, _MESSAGE_MENU = 1, 3  # types of application commands


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRefused:
    """A direct message to the bot, which the operator does not allow."""

    channel: str
    author_id: str
    event_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button of the bot that someone pressed, or options that they chose; `action` is the custom id."""

    conversation: ConversationKey
    event_key: str  # the same for each delivery of the press
    message_id: str  # the message with the button
    user_id: str
    user_name: str
    action: str
    values: tuple[str, ...] = ()  # the chosen options

    @property
    def channel_conversation(self) -> ConversationKey:
        """The conversation of the channel itself, to which a trace's thread belongs."""
        return replace(self.conversation, thread="")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAbout:
    """A choice of "Ask about this" in the menu of a message; `quote` is that message, as lines of a quotation."""

    conversation: ConversationKey
    event_key: str
    user_id: str
    user_name: str
    message_id: str
    quote: str  # empty where the message has neither text nor files
    files: tuple[SharedFile, ...]
    asked_at: datetime

    def question(self, text: str, *, event_key: str) -> MessageReceived:
        """Return the question `text` about the message; `event_key` is that of the post that shows the question."""
        return MessageReceived(
            conversation=self.conversation,
            event_key=event_key,
            author_id=self.user_id,
            author_name=self.user_name,
            text="\n\n".join(filter(None, [self.quote, text])),
            sent_at=self.asked_at,
            is_shared=self.conversation.space != DIRECT,
            files=self.files,
        )


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


def conversation_key(guild: str, channel: str, parent: str | None) -> ConversationKey:
    """Return the conversation of a channel, or of the thread `channel` of the channel `parent`."""
    return ConversationKey(
        platform=PLATFORM,
        space=guild or DIRECT,
        channel=channel if parent is None else parent,
        thread="" if parent is None else channel,
    )


def parse_mark(custom_id: str) -> Mark | None:
    """Return the mark in a custom id that `adapters.discord.render` made; None for any other custom id."""
    found = re.fullmatch(r"tb:(good|bad|stop|details):(\d{1,18}):(\d{1,9})", custom_id, re.ASCII)
    return Mark(found[1], int(found[2]), int(found[3])) if found else None


def sent_at(snowflake: str) -> datetime:
    """Return when the message or interaction of that id was made; for an id that does not say it, now."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(created_at(snowflake), UTC)
    return datetime.now(UTC)


# --- messages --------------------------------------------------------------------------------------------------


def parse_message(
    payload: Payload,
    *,
    bot_user: str,
    parent: str | None,
    allow_dms: bool,
    guild: str = "",
    names: Mapping[str, str] | None = None,
) -> MessageReceived | CommandInvoked | DirectRefused | None:
    """Return what a message says to the bot; None where it is not for the bot.

    `parent` is the channel of the thread that the message is in, None outside threads. `guild` is the guild's id of a
    fetched message; only delivered ones name it. `names` has the names of roles and channels by id.
    """
    if not _is_written(payload, bot_user=bot_user):
        return None
    incoming = _Incoming(payload, bot_user=bot_user, parent=parent, guild=guild)
    if incoming.is_direct and not allow_dms:
        return DirectRefused(channel=incoming.channel, author_id=incoming.author_id, event_key=incoming.event_key)
    if not incoming.is_addressed and (parent is None or _is_to_someone_else(incoming.content)):
        return None
    words = without_mention(incoming.content, bot_user=bot_user).split()
    if command := spoken_command(words, is_addressed=incoming.is_addressed):
        return CommandInvoked(
            conversation=incoming.conversation,
            event_key=incoming.event_key,
            author_id=incoming.author_id,
            name=command[0],
            argument=command[1],
            is_addressed=incoming.is_addressed,
        )
    return incoming.message(names or {})


def parse_edit(
    payload: Payload,
    *,
    bot_user: str,
    parent: str | None,
    allow_dms: bool,
    guild: str = "",
    names: Mapping[str, str] | None = None,
) -> MessageEdited | None:
    """Return the change in a MESSAGE_UPDATE; None where nobody changed what the bot may have been asked.

    A question that has lost its mention still counts: the core knows which messages asked it something.
    """
    edited_at = time_of(payload.get("edited_timestamp"))
    if edited_at is None or not _is_written(payload, bot_user=bot_user):
        return None  # a link got its preview, a thread was opened, the message was pinned
    incoming = _Incoming(payload, bot_user=bot_user, parent=parent, guild=guild)
    words = without_mention(incoming.content, bot_user=bot_user).split()
    if (incoming.is_direct and not allow_dms) or spoken_command(words, is_addressed=True):
        return None
    message = incoming.message(names or {})
    return message and MessageEdited(message=replace(message, edited_at=edited_at, is_addressed=True))


def parse_delete(payload: Payload, *, parent: str | None) -> tuple[MessageDeleted, ...]:
    """Return the messages that a MESSAGE_DELETE or MESSAGE_DELETE_BULK removes."""
    channel = text_at(payload, "channel_id")
    gone = [text_at(payload, "id"), *map(text_of, list_of(payload.get("ids")))]
    conversation = conversation_key(text_at(payload, "guild_id"), channel, parent)
    return tuple(
        MessageDeleted(conversation=conversation, event_key=event_key(channel, message)) for message in gone if message
    )


class _Incoming:
    """A message that a person wrote, and whether it is addressed to the bot."""

    def __init__(self, payload: Payload, *, bot_user: str, parent: str | None, guild: str) -> None:
        self._payload = payload
        self._bot_user = bot_user
        self._id = text_at(payload, "id")
        author = dict_of(payload.get("author"))
        guild = guild or text_at(payload, "guild_id")
        self.content = text_at(payload, "content")
        self.author_id = text_at(author, "id")
        self.author_name = display_name(author, dict_of(payload.get("member")))
        self.channel = text_at(payload, "channel_id")
        self.conversation = conversation_key(guild, self.channel, parent)
        self.event_key = event_key(self.channel, self._id)
        self.is_direct = not guild
        self.is_addressed = self.is_direct or _is_for(payload, bot_user)

    def message(self, names: Mapping[str, str]) -> MessageReceived | None:
        """Return the message; None for a follow-up without text or files.

        That is how a bot without the Message Content intent sees it.
        """
        text = readable(self._payload, bot_user=self._bot_user, names=names)
        files = files_of(self._payload)
        quoted = _quoted(self._payload, bot_user=self._bot_user)
        if quoted is not None:
            quote = quotation(quoted, bot_user=self._bot_user, names=names)
            text = "\n\n".join(filter(None, [quote, text]))
            files = (*files, *files_of(quoted))
        if not text and not files and not self.is_addressed:
            return None
        return MessageReceived(
            conversation=self.conversation,
            event_key=self.event_key,
            author_id=self.author_id,
            author_name=self.author_name,
            text=text,
            sent_at=sent_at(self._id),
            is_shared=not self.is_direct,
            is_addressed=self.is_addressed,
            files=files,
        )


def _is_written(payload: Payload, *, bot_user: str) -> bool:
    author = dict_of(payload.get("author"))
    return (
        payload.get("type", _DEFAULT) in (_DEFAULT, _REPLY)
        and bool(text_at(payload, "id") and text_at(payload, "channel_id") and text_at(author, "id"))
        and text_at(author, "id") != bot_user
        and not (author.get("bot") or author.get("system") or payload.get("webhook_id"))
    )


def _is_for(payload: Payload, bot_user: str) -> bool:
    """Return whether the message mentions the bot or replies to it; an id in a code block is not a mention."""
    mentioned = any(text_at(user, "id") == bot_user for user in dicts_of(payload.get("mentions")))
    replied = dict_of(dict_of(payload.get("referenced_message")).get("author"))
    return bool(bot_user) and (mentioned or (_reference_type(payload) == 0 and text_at(replied, "id") == bot_user))


def _is_to_someone_else(content: str) -> bool:
    return re.match(r"\s*<@[!&]?\d+>", content) is not None


def _reference_type(payload: Payload) -> int:
    kind = dict_of(payload.get("message_reference")).get("type")
    return kind if isinstance(kind, int) else 0


def _quoted(payload: Payload, *, bot_user: str) -> Payload | None:
    """Return the message, not by the bot, that this one replies to or forwards."""
    if _reference_type(payload) == _FORWARD:
        snapshots = dicts_of(payload.get("message_snapshots"))
        return dict_of(snapshots[0].get("message")) if snapshots else None
    replied = dict_of(payload.get("referenced_message"))
    return replied if replied and text_at(dict_of(replied.get("author")), "id") != bot_user else None


# --- commands, buttons, the menu of a message ------------------------------------------------------------------


def parse_slash(interaction: Payload, *, allow_dms: bool) -> CommandInvoked | DirectRefused | None:
    """Return the slash command of an INTERACTION_CREATE; None for any other interaction."""
    data = dict_of(interaction.get("data"))
    if not _is_command(interaction, _CHAT_INPUT):
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    values = [str(option.get("value", "")) for option in dicts_of(data.get("options"))]
    return CommandInvoked(
        conversation=_place(interaction),
        event_key=interaction_key(text_at(interaction, "id")),
        author_id=_user(interaction)[0],
        name=text_at(data, "name"),
        argument=" ".join(values).strip(),
    )


def parse_component(interaction: Payload, *, allow_dms: bool) -> Pressed | DirectRefused | None:
    """Return the pressed button or the choice of an INTERACTION_CREATE; None for any other interaction."""
    if interaction.get("type") != _MESSAGE_COMPONENT:
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    data = dict_of(interaction.get("data"))
    user_id, user_name = _user(interaction)
    return Pressed(
        conversation=_place(interaction),
        event_key=interaction_key(text_at(interaction, "id")),
        message_id=text_at(dict_of(interaction.get("message")), "id"),
        user_id=user_id,
        user_name=user_name,
        action=text_at(data, "custom_id"),
        values=tuple(value for value in list_of(data.get("values")) if isinstance(value, str)),
    )


def parse_context_menu(
    interaction: Payload, *, bot_user: str, allow_dms: bool, names: Mapping[str, str] | None = None
) -> AskedAbout | DirectRefused | None:
    """Return the message that was chosen in a message's menu; None for any other interaction."""
    if not _is_command(interaction, _MESSAGE_MENU):
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    data = dict_of(interaction.get("data"))
    target = text_at(data, "target_id")
    message = dict_of(dict_of(dict_of(data.get("resolved")).get("messages")).get(target))
    return asked_about(interaction, message, target=target, bot_user=bot_user, names=names)


def asked_about(
    interaction: Payload, message: Payload, *, target: str, bot_user: str, names: Mapping[str, str] | None = None
) -> AskedAbout:
    """Return what the interaction asks about the message of the id `target`."""
    user_id, user_name = _user(interaction)
    return AskedAbout(
        conversation=_place(interaction),
        event_key=interaction_key(text_at(interaction, "id")),
        user_id=user_id,
        user_name=user_name,
        message_id=target,
        quote=quotation(message, bot_user=bot_user, names=names or {}),
        files=files_of(message),
        asked_at=sent_at(text_at(interaction, "id")),
    )


def _is_command(interaction: Payload, kind: int) -> bool:
    data = dict_of(interaction.get("data"))
    return interaction.get("type") == _APPLICATION_COMMAND and data.get("type", _CHAT_INPUT) == kind


def _refused(interaction: Payload, *, allow_dms: bool) -> DirectRefused | None:
    place = _place(interaction)
    if allow_dms or place.space != DIRECT:
        return None
    return DirectRefused(
        channel=place.channel,
        author_id=_user(interaction)[0],
        event_key=interaction_key(text_at(interaction, "id")),
    )


def _place(interaction: Payload) -> ConversationKey:
    channel = dict_of(interaction.get("channel"))
    parent = text_at(channel, "parent_id") if channel.get("type") in THREAD_TYPES else ""
    channel_id = text_at(interaction, "channel_id") or text_at(channel, "id")
    return conversation_key(text_at(interaction, "guild_id"), channel_id, parent or None)


def _user(interaction: Payload) -> tuple[str, str]:
    """Return id and name of the person who acts: a member in a guild, a user elsewhere."""
    member = dict_of(interaction.get("member"))
    user = dict_of(member.get("user")) or dict_of(interaction.get("user"))
    return text_at(user, "id"), display_name(user, member)
