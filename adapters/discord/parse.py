"""What Discord delivers, as events of the core; pure. Payloads are the gateway's own JSON, ids are strings of digits.

https://docs.discord.com/developers/events/gateway-events
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

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
from bot.text.split import ELLIPSIS, cut

PLATFORM = "discord"
DIRECT = "@me"  # in place of the guild of a direct message
MAX_NAME_CHARS = 80
QUOTE_CHARS = 500

# The only types that people write: https://docs.discord.com/developers/resources/message#message-object-message-types
_DEFAULT, _REPLY = 0, 19
_FORWARD = 1  # type of a message reference; 0 is a reply
# https://docs.discord.com/developers/resources/channel#channel-object-channel-types
THREAD_TYPES = (10, 11, 12)  # a tuple: what a payload has for a type may not be hashable
# https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type
_APPLICATION_COMMAND, _MESSAGE_COMPONENT = 2, 3
_CHAT_INPUT, _MESSAGE_MENU = 1, 3  # types of application commands

Payload = Mapping[str, Any]


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
    words = _without(incoming.content, bot_user=bot_user).split()
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
    edited_at = _time(payload.get("edited_timestamp"))
    if edited_at is None or not _is_written(payload, bot_user=bot_user):
        return None  # a link got its preview, a thread was opened, the message was pinned
    incoming = _Incoming(payload, bot_user=bot_user, parent=parent, guild=guild)
    words = _without(incoming.content, bot_user=bot_user).split()
    if (incoming.is_direct and not allow_dms) or spoken_command(words, is_addressed=True):
        return None
    message = incoming.message(names or {})
    return message and MessageEdited(message=replace(message, edited_at=edited_at, is_addressed=True))


def parse_delete(payload: Payload, *, parent: str | None) -> tuple[MessageDeleted, ...]:
    """Return the messages that a MESSAGE_DELETE or MESSAGE_DELETE_BULK removes."""
    channel = _text(payload, "channel_id")
    gone = [_text(payload, "id"), *map(_id, _list(payload.get("ids")))]
    conversation = conversation_key(_text(payload, "guild_id"), channel, parent)
    return tuple(
        MessageDeleted(conversation=conversation, event_key=event_key(channel, message)) for message in gone if message
    )


class _Incoming:
    """A message that a person wrote, and whether it is addressed to the bot."""

    def __init__(self, payload: Payload, *, bot_user: str, parent: str | None, guild: str) -> None:
        self._payload = payload
        self._bot_user = bot_user
        self._id = _text(payload, "id")
        author = _dict(payload.get("author"))
        guild = guild or _text(payload, "guild_id")
        self.content = _text(payload, "content")
        self.author_id = _text(author, "id")
        self.author_name = display_name(author, _dict(payload.get("member")))
        self.channel = _text(payload, "channel_id")
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
    author = _dict(payload.get("author"))
    return (
        payload.get("type", _DEFAULT) in (_DEFAULT, _REPLY)
        and bool(_text(payload, "id") and _text(payload, "channel_id") and _text(author, "id"))
        and _text(author, "id") != bot_user
        and not (author.get("bot") or author.get("system") or payload.get("webhook_id"))
    )


def _is_for(payload: Payload, bot_user: str) -> bool:
    """Tell whether the message mentions the bot or replies to it; an id in a code block is not a mention."""
    mentioned = any(_text(user, "id") == bot_user for user in _dicts(payload.get("mentions")))
    replied = _dict(_dict(payload.get("referenced_message")).get("author"))
    return bool(bot_user) and (mentioned or (_reference_type(payload) == 0 and _text(replied, "id") == bot_user))


def _is_to_someone_else(content: str) -> bool:
    return re.match(r"\s*<@[!&]?\d+>", content) is not None


def _reference_type(payload: Payload) -> int:
    kind = _dict(payload.get("message_reference")).get("type")
    return kind if isinstance(kind, int) else 0


def _quoted(payload: Payload, *, bot_user: str) -> Payload | None:
    """Return the message, not by the bot, that this one replies to or forwards."""
    if _reference_type(payload) == _FORWARD:
        snapshots = _dicts(payload.get("message_snapshots"))
        return _dict(snapshots[0].get("message")) if snapshots else None
    replied = _dict(payload.get("referenced_message"))
    return replied if replied and _text(_dict(replied.get("author")), "id") != bot_user else None


# --- messages as people read them ------------------------------------------------------------------------------

# https://docs.discord.com/developers/reference#message-formatting-formats
_MARKUP = re.compile(
    r"<@!?(?P<user>\d+)>"
    r"|<@&(?P<role>\d+)>"
    r"|<#(?P<channel>\d+)>"
    r"|<a?:(?P<emoji>\w+):\d+>"
    r"|</(?P<command>[^:<>\n]+):\d+>"
    r"|<t:(?P<time>-?\d{1,13})(?::[tTdDfFsSR])?>"
)


def readable(payload: Payload, *, bot_user: str, names: Mapping[str, str]) -> str:
    """Return a message's text as people read it: without the bot's mention, and with other markup as words."""
    people = {
        _text(user, "id"): display_name(user, _dict(user.get("member"))) for user in _dicts(payload.get("mentions"))
    }
    content = _without(_text(payload, "content"), bot_user=bot_user)
    return _MARKUP.sub(lambda found: _word(found, people=people, names=names), content).strip()


def _word(found: re.Match[str], *, people: Mapping[str, str], names: Mapping[str, str]) -> str:
    value = found[found.lastgroup or 0]
    match found.lastgroup:
        case "user":
            return f"@{people[value]}" if value in people else found[0]  # not a mention: it is in a code block
        case "role":
            return f"@{_flat(names.get(value, '')) or value}"
        case "channel":
            return f"#{_flat(names.get(value, '')) or value}"
        case "emoji":
            return f":{value}:"
        case "command":
            return f"/{value}"
        case _:
            return _iso(int(value)) or found[0]


def _iso(unix_s: int) -> str:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ""


def _without(content: str, *, bot_user: str) -> str:
    """Return the text without the bot's mention, closing the gap."""
    return re.sub(rf"([ \t]*)<@!?{re.escape(bot_user)}>([ \t]*)", _gap, content) if bot_user else content


def _gap(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    if start == 0 or end == len(text) or text[start - 1] == "\n" or text[end] == "\n":
        return ""
    return " " if found[2] or (found[1] and text[end].isalnum()) else ""


def quotation(payload: Payload, *, bot_user: str, names: Mapping[str, str]) -> str:
    """Return the message as lines of a quotation that starts with its author; "" where there is nothing to quote."""
    author = _dict(payload.get("author"))
    name = display_name(author, _dict(payload.get("member"))) if author else "forwarded"
    text = readable(payload, bot_user=bot_user, names=names)
    if not text:
        files = ", ".join(file.name for file in files_of(payload))
        text = f"({_flat(files)})" if files else ""
    if len(text) > QUOTE_CHARS:
        text = f"{text[: QUOTE_CHARS - 1]}{ELLIPSIS}"
    lines = text.splitlines()  # also at rarer line ends: no part of it may leave the quotation
    return "\n".join(f"> {line}" for line in [f"{name}: {lines[0]}", *lines[1:]]) if lines else ""


def display_name(user: Payload, member: Payload) -> str:
    """Return the name that the guild shows for a user, on one line."""
    names = (_text(member, "nick"), _text(user, "global_name"), _text(user, "username"), _text(user, "id"))
    return next((flat for name in names if (flat := _flat(name))), "someone")


def files_of(payload: Payload) -> tuple[SharedFile, ...]:
    """Return the attachments of a message. https://docs.discord.com/developers/resources/message#attachment-object"""
    return tuple(map(_file, _dicts(payload.get("attachments"))))


def _file(attachment: Payload) -> SharedFile:
    size = attachment.get("size")
    return SharedFile(
        name=_text(attachment, "filename") or "file",
        mime_type=_text(attachment, "content_type").partition(";")[0].strip(),
        size=size if isinstance(size, int) else 0,
        reference=_text(attachment, "url"),
    )


# --- commands, buttons, the menu of a message ------------------------------------------------------------------


def parse_slash(interaction: Payload, *, allow_dms: bool) -> CommandInvoked | DirectRefused | None:
    """Return the slash command of an INTERACTION_CREATE; None for any other interaction."""
    data = _dict(interaction.get("data"))
    if not _is_command(interaction, _CHAT_INPUT):
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    values = [str(option.get("value", "")) for option in _dicts(data.get("options"))]
    return CommandInvoked(
        conversation=_place(interaction),
        event_key=interaction_key(_text(interaction, "id")),
        author_id=_user(interaction)[0],
        name=_text(data, "name"),
        argument=" ".join(values).strip(),
    )


def parse_component(interaction: Payload, *, allow_dms: bool) -> Pressed | DirectRefused | None:
    """Return the pressed button or the choice of an INTERACTION_CREATE; None for any other interaction."""
    if interaction.get("type") != _MESSAGE_COMPONENT:
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    data = _dict(interaction.get("data"))
    user_id, user_name = _user(interaction)
    return Pressed(
        conversation=_place(interaction),
        event_key=interaction_key(_text(interaction, "id")),
        message_id=_text(_dict(interaction.get("message")), "id"),
        user_id=user_id,
        user_name=user_name,
        action=_text(data, "custom_id"),
        values=tuple(value for value in _list(data.get("values")) if isinstance(value, str)),
    )


def parse_context_menu(
    interaction: Payload, *, bot_user: str, allow_dms: bool, names: Mapping[str, str] | None = None
) -> AskedAbout | DirectRefused | None:
    """Return the message that was chosen in a message's menu; None for any other interaction."""
    if not _is_command(interaction, _MESSAGE_MENU):
        return None
    if refused := _refused(interaction, allow_dms=allow_dms):
        return refused
    data = _dict(interaction.get("data"))
    target = _text(data, "target_id")
    message = _dict(_dict(_dict(data.get("resolved")).get("messages")).get(target))
    return asked_about(interaction, message, target=target, bot_user=bot_user, names=names)


def asked_about(
    interaction: Payload, message: Payload, *, target: str, bot_user: str, names: Mapping[str, str] | None = None
) -> AskedAbout:
    """Return what the interaction asks about the message of the id `target`."""
    user_id, user_name = _user(interaction)
    return AskedAbout(
        conversation=_place(interaction),
        event_key=interaction_key(_text(interaction, "id")),
        user_id=user_id,
        user_name=user_name,
        message_id=target,
        quote=quotation(message, bot_user=bot_user, names=names or {}),
        files=files_of(message),
        asked_at=sent_at(_text(interaction, "id")),
    )


def _is_command(interaction: Payload, kind: int) -> bool:
    data = _dict(interaction.get("data"))
    return interaction.get("type") == _APPLICATION_COMMAND and data.get("type", _CHAT_INPUT) == kind


def _refused(interaction: Payload, *, allow_dms: bool) -> DirectRefused | None:
    place = _place(interaction)
    if allow_dms or place.space != DIRECT:
        return None
    return DirectRefused(
        channel=place.channel,
        author_id=_user(interaction)[0],
        event_key=interaction_key(_text(interaction, "id")),
    )


def _place(interaction: Payload) -> ConversationKey:
    channel = _dict(interaction.get("channel"))
    parent = _text(channel, "parent_id") if channel.get("type") in THREAD_TYPES else ""
    channel_id = _text(interaction, "channel_id") or _text(channel, "id")
    return conversation_key(_text(interaction, "guild_id"), channel_id, parent or None)


def _user(interaction: Payload) -> tuple[str, str]:
    """Return id and name of the person who acts: a member in a guild, a user elsewhere."""
    member = _dict(interaction.get("member"))
    user = _dict(member.get("user")) or _dict(interaction.get("user"))
    return _text(user, "id"), display_name(user, member)


# --- the shapes of payloads ------------------------------------------------------------------------------------


def _flat(text: str) -> str:
    """Return an untrusted name on one line, without invisible characters."""
    return cut("".join(char if char.isprintable() else " " for char in text), MAX_NAME_CHARS)


def _text(payload: Payload, name: str) -> str:
    return _id(payload.get(name))


def _id(value: object) -> str:
    """Return a text, or an id that a library turned into a number, as text."""
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _dicts(value: object) -> Sequence[dict[str, Any]]:
    return [cast("dict[str, Any]", item) for item in _list(value) if isinstance(item, dict)]


def _time(timestamp: object) -> datetime | None:
    with suppress(ValueError, TypeError):
        at = datetime.fromisoformat(cast("str", timestamp))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return None
