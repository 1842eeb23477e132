"""Commands, presses and choices in a menu, as events of the core; pure. Payloads are those of INTERACTION_CREATE.

https://docs.discord.com/developers/interactions/receiving-and-responding
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from adapters.discord.parse import (
    DIRECT,
    THREAD_TYPES,
    DirectRefused,
    Thread,
    conversation_in,
    interaction_key,
    sent_at,
)
from adapters.discord.payloads import text_at
from adapters.discord.readable import Reader, display_name
from adapters.discord.standing import standing_in
from adapters.discord.words import quoted
from adapters.shared.payloads import Payload, dict_of, dicts_of, list_of
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived, Quoted
from bot.domain.people import UNKNOWN, Standing

# https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type
_APPLICATION_COMMAND, _MESSAGE_COMPONENT = 2, 3
_CHAT_INPUT, _MESSAGE_MENU = 1, 3  # types of application commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button of the bot that someone pressed, or options that they chose; `action` is the custom id."""

    conversation: ConversationKey
    channel: str  # or the thread: where it was pressed
    event_key: str  # the same for each delivery of the press
    message_id: str  # the message with the button
    user_id: str
    user_name: str
    action: str
    values: tuple[str, ...] = ()  # the chosen options
    standing: Standing = UNKNOWN

    @property
    def channel_conversation(self) -> ConversationKey:
        """The conversation of the channel itself, to which a trace's thread belongs."""
        return replace(self.conversation, thread="")

    def question(self, text: str, *, event_key: str, at: datetime) -> MessageReceived:
        """Return `text` as asked by this person; `event_key` is that of the post that shows it."""
        return MessageReceived(
            conversation=self.conversation,
            event_key=event_key,
            author_id=self.user_id,
            author_name=self.user_name,
            text=text,
            sent_at=at,
            is_shared=self.conversation.space != DIRECT,
            standing=self.standing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAbout:
    """A choice of "Ask about this" in the menu of a message; `chosen` is that message."""

    conversation: ConversationKey
    channel: str  # or the thread: where the message is
    event_key: str
    user_id: str
    user_name: str
    message_id: str
    chosen: Quoted
    asked_at: datetime
    standing: Standing = UNKNOWN

    def question(self, text: str, *, event_key: str) -> MessageReceived:
        """Return the question `text` about the message; `event_key` is that of the post that shows the question."""
        return MessageReceived(
            conversation=self.conversation,
            event_key=event_key,
            author_id=self.user_id,
            author_name=self.user_name,
            text=text,
            sent_at=self.asked_at,
            is_shared=self.conversation.space != DIRECT,
            has_earlier=self.channel != self.conversation.channel,
            quoted=(self.chosen,),
            standing=self.standing,
        )


def parse_slash(interaction: Payload, *, reader: Reader, allow_dms: bool) -> CommandInvoked | DirectRefused | None:
    """Return the slash command of an INTERACTION_CREATE; None for any other interaction."""
    data = dict_of(interaction.get("data"))
    if not _is_command(interaction, _CHAT_INPUT):
        return None
    if refused := _refused(interaction, reader, allow_dms=allow_dms):
        return refused
    values = [text_at(option, "value") for option in dicts_of(data.get("options"))]
    return CommandInvoked(
        conversation=_place(interaction, reader),
        event_key=interaction_key(text_at(interaction, "id")),
        author_id=_user(interaction)[0],
        name=text_at(data, "name"),
        argument=" ".join(values).strip(),
        standing=standing_in(interaction),
    )


def parse_component(interaction: Payload, *, reader: Reader, allow_dms: bool) -> Pressed | DirectRefused | None:
    """Return the pressed button or the choice of an INTERACTION_CREATE; None for any other interaction."""
    if interaction.get("type") != _MESSAGE_COMPONENT:
        return None
    if refused := _refused(interaction, reader, allow_dms=allow_dms):
        return refused
    return pressed_in(interaction, reader)


def pressed_in(interaction: Payload, reader: Reader) -> Pressed:
    """Return who did what where, of an interaction of any kind; a sent form has its custom id as well."""
    data = dict_of(interaction.get("data"))
    user_id, user_name = _user(interaction)
    return Pressed(
        conversation=_place(interaction, reader),
        channel=_channel(interaction),
        event_key=interaction_key(text_at(interaction, "id")),
        message_id=text_at(dict_of(interaction.get("message")), "id"),
        user_id=user_id,
        user_name=user_name,
        action=text_at(data, "custom_id"),
        values=tuple(value for value in list_of(data.get("values")) if isinstance(value, str)),
        standing=standing_in(interaction),
    )


def parse_context_menu(interaction: Payload, *, reader: Reader, allow_dms: bool) -> AskedAbout | DirectRefused | None:
    """Return the message that was chosen in a message's menu; None for any other interaction."""
    if not _is_command(interaction, _MESSAGE_MENU):
        return None
    if refused := _refused(interaction, reader, allow_dms=allow_dms):
        return refused
    data = dict_of(interaction.get("data"))
    target = text_at(data, "target_id")
    message = dict_of(dict_of(dict_of(data.get("resolved")).get("messages")).get(target))
    return asked_about(interaction, message, target=target, reader=reader)


def asked_about(interaction: Payload, message: Payload, *, target: str, reader: Reader) -> AskedAbout:
    """Return what the interaction asks about the message of the id `target`."""
    user_id, user_name = _user(interaction)
    return AskedAbout(
        conversation=_place(interaction, reader),
        channel=_channel(interaction),
        event_key=interaction_key(text_at(interaction, "id")),
        user_id=user_id,
        user_name=user_name,
        message_id=target,
        chosen=quoted(message, "chosen", reader),
        asked_at=sent_at(text_at(interaction, "id")),
        standing=standing_in(interaction),
    )


def _is_command(interaction: Payload, kind: int) -> bool:
    data = dict_of(interaction.get("data"))
    return interaction.get("type") == _APPLICATION_COMMAND and data.get("type", _CHAT_INPUT) == kind


def _refused(interaction: Payload, reader: Reader, *, allow_dms: bool) -> DirectRefused | None:
    place = _place(interaction, reader)
    if allow_dms or place.space != DIRECT:
        return None
    return DirectRefused(
        channel=place.channel,
        author_id=_user(interaction)[0],
        event_key=interaction_key(text_at(interaction, "id")),
    )


def _place(interaction: Payload, reader: Reader) -> ConversationKey:
    channel = dict_of(interaction.get("channel"))
    parent = text_at(channel, "parent_id") if channel.get("type") in THREAD_TYPES else ""
    thread = Thread(parent, text_at(channel, "owner_id")) if parent else None
    guild = text_at(interaction, "guild_id")
    return conversation_in(_channel(interaction), thread, guild=guild, bot_user=reader.bot_user)


def _channel(interaction: Payload) -> str:
    return text_at(interaction, "channel_id") or text_at(dict_of(interaction.get("channel")), "id")


def _user(interaction: Payload) -> tuple[str, str]:
    """Return id and name of the person who acts: a member in a guild, a user elsewhere."""
    member = dict_of(interaction.get("member"))
    user = dict_of(member.get("user")) or dict_of(interaction.get("user"))
    return text_at(user, "id"), display_name(user, member)
