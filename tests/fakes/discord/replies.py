"""Storing what the bot posts and edits: one place for channel messages, interaction answers and follow-ups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord.bodies import check_content, check_fields, require_something
from tests.fakes.discord.errors import DiscordError, Json, check_count, form_error
from tests.fakes.discord.gateway import DIRECT_MESSAGES, GUILD_MESSAGES, Gateway
from tests.fakes.discord.world import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    SUPPRESS_EMBEDS,
    SUPPRESS_NOTIFICATIONS,
    Attachment,
    Message,
)

MAX_REQUEST_BYTES = 25 * 1024 * 1024  # https://discord.com/developers/docs/reference#uploading-files
SETTABLE_FLAGS = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2


@dataclass(frozen=True)
class SentFile:
    """One `files[n]` part of a multipart request."""

    number: str
    filename: str
    content: bytes
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request's JSON and the files that came with it."""

    json: Any
    files: list[SentFile] = field(default_factory=list[SentFile])

    @property
    def fields(self) -> Json:
        """The JSON object; 50109 where the body is none."""
        if not isinstance(self.json, dict):
            raise DiscordError(50109)
        return self.json  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def fill(discord: Gateway, message: Message, body: Body) -> None:
    """Give a new message its content as the body says, or refuse the body."""
    fields = body.fields
    flags = int(fields.get("flags") or 0)
    check_fields(fields, flags=flags)
    content = check_content(fields.get("content"))
    require_something(
        content=content,
        others=(
            fields.get("embeds"),
            fields.get("components"),
            body.files,
            fields.get("sticker_ids"),
            fields.get("poll"),
        ),
    )
    attachments = _attach(discord, message, body)
    message.content = content
    message.embeds = list(fields.get("embeds") or [])
    message.components = list(fields.get("components") or [])
    message.allowed_mentions = fields.get("allowed_mentions")
    message.flags = (flags & SETTABLE_FLAGS) | (message.flags & EPHEMERAL)
    message.attachments = attachments


def change(discord: Gateway, message: Message, body: Body) -> None:
    """Edit a message as the body says; fields that it leaves out stay.

    https://discord.com/developers/docs/resources/message#edit-message: without allowed_mentions the defaults hold.
    """
    fields = body.fields
    flags = int(fields["flags"] or 0) if fields.get("flags") is not None else message.flags & SETTABLE_FLAGS
    if message.flags & COMPONENTS_V2:
        flags |= COMPONENTS_V2  # it cannot be taken away again
    check_fields(fields, flags=flags)
    content = check_content(fields["content"]) if "content" in fields else message.content
    embeds = list(fields["embeds"] or []) if "embeds" in fields else message.embeds
    components = list(fields["components"] or []) if "components" in fields else message.components
    if flags & COMPONENTS_V2 and (content or embeds):
        raise form_error("content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", "Content must be null.")
    kept = message.attachments
    if fields.get("attachments") is not None:
        wanted = {str(each["id"]) for each in fields["attachments"]}
        kept = [each for each in message.attachments if str(each.id) in wanted]
    require_something(content=content, others=(embeds, components, kept, body.files))
    message.attachments = kept + _attach(discord, message, body)
    message.content, message.embeds, message.components = content, embeds, components
    message.flags = (message.flags & ~(SETTABLE_FLAGS | LOADING)) | (flags & SETTABLE_FLAGS)
    message.allowed_mentions = fields.get("allowed_mentions")
    message.edits += 1
    message.edited_at = discord.now()


def _attach(discord: Gateway, message: Message, body: Body) -> list[Attachment]:
    """Store the uploaded files: https://discord.com/developers/docs/reference#uploading-files."""
    check_count("files", body.files, most=10)
    sizes = [len(each.content) for each in body.files]
    if any(size > discord.max_file_bytes for size in sizes) or sum(sizes) > MAX_REQUEST_BYTES:
        raise DiscordError(40005)
    about_files: list[Json] = body.fields.get("attachments") or []
    described = {str(each.get("id")): each for each in about_files}
    known = {str(each.id) for each in message.attachments} | {each.number for each in body.files}
    if unknown := set(described) - known:
        raise form_error("attachments", "ATTACHMENT_NOT_FOUND", f"No file for {sorted(unknown)}.")
    stored: list[Attachment] = []
    for each in body.files:
        about = described.get(each.number, {})
        stored.append(
            Attachment(
                id=discord.next_id(),
                channel=message.channel,
                filename=about.get("filename") or each.filename,
                content=each.content,
                content_type=each.content_type,
                size=len(each.content),
                description=about.get("description"),
            )
        )
    discord.attachments |= {each.id: each for each in stored}
    return stored


def store(discord: Gateway, message: Message) -> None:
    """Let the message be there, call whom it calls, and deliver MESSAGE_CREATE."""
    discord.messages[message.id] = message
    if not message.is_ephemeral:
        discord.channels[message.channel].messages[message.id] = message
        discord.pings += discord.pings_of(message, is_edit=False)
    discord.touch()
    extra: Json = {} if message.nonce is None else {"nonce": message.nonce}
    discord.dispatch_message("MESSAGE_CREATE", message, extra=extra)


def announce_change(discord: Gateway, message: Message) -> None:
    """Deliver MESSAGE_UPDATE after a change."""
    discord.touch()
    discord.dispatch_message("MESSAGE_UPDATE", message)


def remove(discord: Gateway, message: Message, *, deliver: bool = True) -> None:
    """Delete a message and deliver MESSAGE_DELETE."""
    from_room = discord.channels.get(message.channel)
    message.is_deleted = True
    if from_room is not None and from_room.messages.pop(message.id, None) is not None:
        from_room.deleted.append(message)
        data: Json = {"id": str(message.id), "channel_id": str(from_room.id)}
        if from_room.guild is not None:
            data["guild_id"] = str(from_room.guild)
        if deliver and discord.bot_may(from_room, "VIEW_CHANNEL"):
            intents = DIRECT_MESSAGES if from_room.is_dm else GUILD_MESSAGES
            discord.dispatch("MESSAGE_DELETE", data, guild=from_room.guild, intents=intents)
    discord.touch()
