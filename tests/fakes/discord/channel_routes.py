"""Channels, messages, reactions and threads.

https://discord.com/developers/docs/resources/channel and https://discord.com/developers/docs/resources/message
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.fakes.discord.bodies import check_nonce
from tests.fakes.discord.errors import DiscordError, Json, check_length, form_error
from tests.fakes.discord.gateway import DIRECT_REACTIONS, GUILD_REACTIONS, GUILDS, Gateway
from tests.fakes.discord.moderation import check_title, check_words
from tests.fakes.discord.replies import announce_change, change, fill, remove, store
from tests.fakes.discord.routes import Request, Route, as_snowflake
from tests.fakes.discord.shapes import emoji_json
from tests.fakes.discord.world import (
    DM,
    HAS_THREAD,
    OLD_EDIT_S,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    REPLY,
    TEXT,
    THREAD_CREATED,
    THREAD_STARTER,
    WRITTEN,
    Channel,
    Message,
    User,
)

ARCHIVE_MINUTES = {60, 1440, 4320, 10080}
MAX_REACTIONS = 20


# --- messages


def create_message(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/message#create-message"""
    room = discord.accessible(request.snowflake("channel"))
    discord.require(room, "SEND_MESSAGES_IN_THREADS" if room.is_thread else "SEND_MESSAGES")
    fields = request.body.fields
    if room.is_dm:
        _require_reachable(discord, discord.users[room.recipient])
    if request.body.files:
        discord.require(room, "ATTACH_FILES")
    if fields.get("embeds"):
        discord.require(room, "EMBED_LINKS")
    check_nonce(fields.get("nonce"))
    if earlier := _earlier(discord, fields):
        return discord.message_json(earlier) | {"nonce": earlier.nonce}
    message = Message(
        id=discord.next_id(),
        channel=room.id,
        author=discord.bot,
        created_at=discord.now(),
        nonce=fields.get("nonce"),
    )
    fill(discord, message, request.body)
    check_words(discord, room, message)
    _refer(discord, message, fields.get("message_reference"))
    _reopen(discord, room)
    store(discord, message)
    answer = discord.message_json(message)
    return answer if message.nonce is None else answer | {"nonce": message.nonce}


def _require_reachable(discord: Gateway, person: User) -> None:
    """A person may take no direct messages, and takes none from a bot with whom they share no server."""
    if person.has_closed_dms:
        raise DiscordError(50007)
    if not any(guild.has_bot and person.id in guild.members for guild in discord.guilds.values()):
        raise DiscordError(50278)


def _earlier(discord: Gateway, fields: Json) -> Message | None:
    """Return the bot's message of the past few minutes that has the same nonce, where that is enforced."""
    nonce = fields.get("nonce")
    if nonce is None or not fields.get("enforce_nonce"):
        return None
    for message in reversed(discord.messages.values()):
        if discord.now() - message.created_at > discord.nonce_life_s:
            break
        if message.author is discord.bot and str(message.nonce) == str(nonce):
            return message
    return None


def _refer(discord: Gateway, message: Message, reference: Any) -> None:
    """Let the message be a reply: https://discord.com/developers/docs/resources/message#message-reference-structure."""
    if not reference or reference.get("message_id") is None:
        return
    room = discord.channels[message.channel]
    if not discord.bot_may(room, "READ_MESSAGE_HISTORY"):
        raise DiscordError(160002)
    target = room.messages.get(int(reference["message_id"]))
    if target is None:
        if reference.get("fail_if_not_exists", True):
            raise form_error("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        return
    if target.type not in WRITTEN:
        raise form_error("message_reference", "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", "Cannot reply to this message")
    allowed = message.allowed_mentions
    message.type, message.reference, message.reference_channel = REPLY, target.id, room.id
    message.pings_author = True if allowed is None else bool(allowed.get("replied_user"))


def _reopen(discord: Gateway, room: Channel) -> None:
    """A message brings an archived thread back; a locked one takes none but of those who manage threads.

    https://discord.com/developers/docs/topics/threads#active-archived-threads
    """
    if room.is_locked and not discord.bot_may(room, "MANAGE_THREADS"):
        raise DiscordError(160005)
    if not room.is_archived:
        return
    room.is_archived = False
    announce_thread(discord, room, "THREAD_UPDATE")


def edit_message(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/message#edit-message"""
    room, message = _found(discord, request)
    if message.author is not discord.bot:
        raise DiscordError(50005)
    if message.type not in WRITTEN:
        raise DiscordError(50021)
    _require_open(room)
    if request.body.files:
        discord.require(room, "ATTACH_FILES")
    _count_old_edit(discord, message)
    changed = replace(message)
    change(discord, changed, request.body)
    check_words(discord, room, changed)
    change(discord, message, request.body)
    discord.pings += discord.pings_of(message, is_edit=True)
    announce_change(discord, message)
    return discord.message_json(message)


def _count_old_edit(discord: Gateway, message: Message) -> None:
    """Let only some edits of messages older than an hour through; then 30046, with status 429."""
    if discord.now() - message.created_at <= OLD_EDIT_S:
        return
    recent = [at for at in discord.old_edit_times[message.channel] if discord.now() - at < discord.old_edits_window_s]
    if len(recent) >= discord.old_edits:
        raise DiscordError(30046)
    discord.old_edit_times[message.channel] = [*recent, discord.now()]


def delete_message(discord: Gateway, request: Request) -> None:
    """https://discord.com/developers/docs/resources/message#delete-message"""
    room, message = _found(discord, request)
    if message.author is not discord.bot:
        discord.require(room, "MANAGE_MESSAGES")
    _require_open(room)
    remove(discord, message)


def get_message(discord: Gateway, request: Request) -> Json:
    room, message = _found(discord, request)
    discord.require(room, "READ_MESSAGE_HISTORY")
    return _read(discord, message)


def list_messages(discord: Gateway, request: Request) -> list[Json]:
    """Return up to `limit` messages, newest first: https://discord.com/developers/docs/resources/message.

    Without READ_MESSAGE_HISTORY there are none. `after` gives those that follow the id next, not the latest.
    """
    room = discord.accessible(request.snowflake("channel"))
    query = request.query
    limit = query.get("limit", "50")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        raise form_error("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
    if not discord.bot_may(room, "READ_MESSAGE_HISTORY"):
        return []
    ids = sorted(room.messages)
    if "after" in query:
        after = as_snowflake("after", query["after"])
        chosen = [each for each in ids if each > after][: int(limit)]
    elif "around" in query:
        around = as_snowflake("around", query["around"])
        nearest = sorted(ids, key=lambda each: abs(each - around))[: int(limit)]
        chosen = sorted(nearest)
    else:
        before = as_snowflake("before", query.get("before", str(1 << 63)))
        chosen = [each for each in ids if each < before][-int(limit) :]
    return [_read(discord, room.messages[each]) for each in reversed(chosen)]


def _read(discord: Gateway, message: Message) -> Json:
    """The portal's switch decides over REST; a session's intents do not matter there."""
    return discord.message_json(message, has_intent=discord.has_message_content)


def _found(discord: Gateway, request: Request) -> tuple[Channel, Message]:
    room = discord.accessible(request.snowflake("channel"))
    message = room.messages.get(request.snowflake("message"))
    if message is None:
        raise DiscordError(10008)
    return room, message


def _require_open(room: Channel) -> None:
    if room.is_archived:
        raise DiscordError(50083)


def trigger_typing(discord: Gateway, request: Request) -> None:
    room = discord.accessible(request.snowflake("channel"))
    discord.require(room, "SEND_MESSAGES_IN_THREADS" if room.is_thread else "SEND_MESSAGES")
    discord.typings.append((room.id, discord.now()))
    discord.touch()


# --- reactions


def create_reaction(discord: Gateway, request: Request) -> None:
    """https://discord.com/developers/docs/resources/message#create-reaction"""
    room, message = _found(discord, request)
    discord.require(room, "READ_MESSAGE_HISTORY")
    _require_open(room)
    emoji = request.parameters["emoji"]
    if emoji.isascii() and not emoji.rpartition(":")[2].isdigit():
        raise DiscordError(10014)
    if emoji not in message.reactions:
        discord.require(room, "ADD_REACTIONS")
        if len(message.reactions) >= MAX_REACTIONS:
            raise DiscordError(30010)
    who = message.reactions.setdefault(emoji, [])
    if discord.bot.id not in who:
        who.append(discord.bot.id)
        announce_reaction(discord, message, emoji, user=discord.bot.id, event="MESSAGE_REACTION_ADD")


def delete_own_reaction(discord: Gateway, request: Request) -> None:
    _, message = _found(discord, request)
    take_reaction(discord, message, request.parameters["emoji"], user=discord.bot.id)


def delete_user_reaction(discord: Gateway, request: Request) -> None:
    room, message = _found(discord, request)
    user = request.snowflake("user")
    if user != discord.bot.id:
        discord.require(room, "MANAGE_MESSAGES")
    take_reaction(discord, message, request.parameters["emoji"], user=user)


def take_reaction(discord: Gateway, message: Message, emoji: str, *, user: int) -> None:
    who = message.reactions.get(emoji, [])
    if user not in who:
        return
    who.remove(user)
    if not who:
        del message.reactions[emoji]
    announce_reaction(discord, message, emoji, user=user, event="MESSAGE_REACTION_REMOVE")


def announce_reaction(discord: Gateway, message: Message, emoji: str, *, user: int, event: str) -> None:
    room = discord.channels[message.channel]
    data: Json = {
        "user_id": str(user),
        "channel_id": str(room.id),
        "message_id": str(message.id),
        "emoji": emoji_json(emoji),
        "burst": False,
        "type": 0,
    }
    if room.guild is not None:
        data["guild_id"] = str(room.guild)
    discord.touch()
    discord.dispatch(event, data, guild=room.guild, intents=DIRECT_REACTIONS if room.is_dm else GUILD_REACTIONS)


# --- threads


def start_thread_from_message(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/channel#start-thread-from-message: its id is the message's."""
    room, message = _found(discord, request)
    if room.type != TEXT or message.type not in WRITTEN:
        raise DiscordError(50024)
    discord.require(room, "CREATE_PUBLIC_THREADS")
    if discord.thread_of(message) is not None:
        raise DiscordError(160004)
    check_title(discord, room, str(request.body.fields.get("name")))
    thread = _new_thread(discord, room, request.body.fields, number=message.id, kind=PUBLIC_THREAD)
    return discord.channel_json(open_thread(discord, thread, starter=message))


def start_thread(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/channel#start-thread-without-message"""
    room = discord.accessible(request.snowflake("channel"))
    if room.type != TEXT:
        raise DiscordError(50024)
    kind = int(request.body.fields.get("type") or PRIVATE_THREAD)
    discord.require(room, "CREATE_PUBLIC_THREADS" if kind == PUBLIC_THREAD else "CREATE_PRIVATE_THREADS")
    thread = _new_thread(discord, room, request.body.fields, number=discord.next_id(), kind=kind)
    return discord.channel_json(open_thread(discord, thread))


def _new_thread(discord: Gateway, room: Channel, fields: Json, *, number: int, kind: int) -> Channel:
    check_length("name", fields.get("name"), least=1, most=100)
    minutes = int(fields.get("auto_archive_duration") or 1440)
    if minutes not in ARCHIVE_MINUTES:
        raise form_error("auto_archive_duration", "BASE_TYPE_CHOICES", f"Must be one of {sorted(ARCHIVE_MINUTES)}.")
    return Channel(
        id=number,
        type=kind,
        name=fields["name"],
        guild=room.guild,
        parent=room.id,
        owner=discord.bot.id,
        auto_archive_minutes=minutes,
    )


def open_thread(discord: Gateway, thread: Channel, *, starter: Message | None = None) -> Channel:
    """Let the thread be there with the system messages that Discord writes; refuse it over the guild's cap."""
    guild = discord.guilds[thread.guild or 0]
    active = [each for each in discord.channels.values() if each.is_thread and each.guild == guild.id]
    if sum(not each.is_archived for each in active) >= guild.max_active_threads:
        raise DiscordError(160006)
    discord.channels[thread.id] = thread
    announce_thread(discord, thread, "THREAD_CREATE")
    owner = discord.users[thread.owner]
    if starter is not None:
        starter.flags |= HAS_THREAD
        announce_change(discord, starter)
        where, kind, target = thread.id, THREAD_STARTER, starter.id
    elif thread.type == PUBLIC_THREAD:
        where, kind, target = thread.parent or 0, THREAD_CREATED, None
    else:
        return thread
    note = Message(
        id=discord.next_id(),
        channel=where,
        author=owner,
        created_at=discord.now(),
        type=kind,
        content=thread.name if kind == THREAD_CREATED else "",
        reference=target,
        reference_channel=thread.parent,
    )
    store(discord, note)
    return thread


def announce_thread(discord: Gateway, thread: Channel, event: str) -> None:
    data = discord.channel_json(thread)
    if event == "THREAD_CREATE":
        data["newly_created"] = True
    if event == "THREAD_DELETE":
        data = {name: data[name] for name in ("id", "guild_id", "parent_id", "type")}
    discord.touch()
    if discord.bot_may(thread, "VIEW_CHANNEL"):
        discord.dispatch(event, data, guild=thread.guild, intents=GUILDS)


def join_thread(discord: Gateway, request: Request) -> None:
    _require_open(discord.accessible(request.snowflake("channel")))


# --- channels


def get_channel(discord: Gateway, request: Request) -> Json:
    return discord.channel_json(discord.accessible(request.snowflake("channel")))


def modify_channel(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/channel#modify-channel: threads by their starter or a manager."""
    room = discord.accessible(request.snowflake("channel"))
    fields = request.body.fields
    if not room.is_thread:
        discord.require(room, "MANAGE_CHANNELS")
    elif room.owner != discord.bot.id or "locked" in fields:
        discord.require(room, "MANAGE_THREADS")
    if room.is_archived and fields.get("archived") is not False:
        raise DiscordError(50083)
    if "name" in fields:
        check_length("name", fields["name"], least=1, most=100)
        room.name = fields["name"]
    set_archived(discord, room, archived=fields.get("archived"), locked=fields.get("locked"))
    return discord.channel_json(room)


def set_archived(discord: Gateway, room: Channel, *, archived: bool | None, locked: bool | None) -> None:
    """Change a thread's state and deliver THREAD_UPDATE."""
    if archived is not None and archived != room.is_archived:
        room.is_archived, room.archived_at = archived, discord.now()
    if locked is not None:
        room.is_locked = locked
    announce_thread(discord, room, "THREAD_UPDATE" if room.is_thread else "CHANNEL_UPDATE")


def delete_channel(discord: Gateway, request: Request) -> Json:
    room = discord.accessible(request.snowflake("channel"))
    discord.require(room, "MANAGE_THREADS" if room.is_thread else "MANAGE_CHANNELS")
    shape = discord.channel_json(room)
    drop_channel(discord, room)
    return shape


def drop_channel(discord: Gateway, room: Channel) -> None:
    """Take a channel or thread away with everything in it, threads of the channel included."""
    for thread in discord.threads(room) if not room.is_thread else []:
        discord.channels.pop(thread.id, None)
    shape, is_seen = discord.channel_json(room), discord.bot_may(room, "VIEW_CHANNEL")
    if room.is_thread:
        announce_thread(discord, room, "THREAD_DELETE")
    del discord.channels[room.id]
    for message in room.messages.values():
        message.is_deleted = True
    discord.touch()
    if not room.is_thread and is_seen:
        discord.dispatch("CHANNEL_DELETE", shape, guild=room.guild, intents=GUILDS)


def create_dm(discord: Gateway, request: Request) -> Json:
    """https://discord.com/developers/docs/resources/user#create-dm"""
    recipient = str(request.body.fields.get("recipient_id"))
    user = discord.users.get(int(recipient)) if recipient.isdigit() else None
    if user is None or user is discord.bot:
        raise DiscordError(50033)
    return discord.channel_json(dm_with(discord, user.id))


def dm_with(discord: Gateway, user: int) -> Channel:
    """Return the direct messages between the bot and a person; there is one such channel."""
    for room in discord.channels.values():
        if room.is_dm and room.recipient == user:
            return room
    room = Channel(id=discord.next_id(), type=DM, recipient=user)
    discord.channels[room.id] = room
    return room


MESSAGE = "/channels/{channel}/messages/{message}"
ROUTES = (
    Route("create_message", "POST", "/channels/{channel}/messages", create_message),
    Route("list_messages", "GET", "/channels/{channel}/messages", list_messages),
    Route("edit_message", "PATCH", MESSAGE, edit_message),
    Route("delete_message", "DELETE", MESSAGE, delete_message),
    Route("get_message", "GET", MESSAGE, get_message),
    Route("trigger_typing", "POST", "/channels/{channel}/typing", trigger_typing),
    Route("create_reaction", "PUT", MESSAGE + "/reactions/{emoji}/@me", create_reaction),
    Route("delete_own_reaction", "DELETE", MESSAGE + "/reactions/{emoji}/@me", delete_own_reaction),
    Route("delete_user_reaction", "DELETE", MESSAGE + "/reactions/{emoji}/{user}", delete_user_reaction),
    Route("start_thread_from_message", "POST", MESSAGE + "/threads", start_thread_from_message),
    Route("start_thread", "POST", "/channels/{channel}/threads", start_thread),
    Route("join_thread", "PUT", "/channels/{channel}/thread-members/@me", join_thread),
    Route("leave_thread", "DELETE", "/channels/{channel}/thread-members/@me", join_thread),
    Route("get_channel", "GET", "/channels/{channel}", get_channel),
    Route("modify_channel", "PATCH", "/channels/{channel}", modify_channel),
    Route("delete_channel", "DELETE", "/channels/{channel}", delete_channel),
    Route("create_dm", "POST", "/users/@me/channels", create_dm),
)
