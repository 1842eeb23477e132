"""The objects of the loopback Discord as they go over the wire: https://discord.com/developers/docs/resources/."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.discord.errors import Json
from tests.fakes.discord.world import (
    DM,
    EVERY_PERMISSION,
    LOADING,
    PEOPLE_PERMISSIONS,
    REFERRING,
    THREAD_STARTER,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Message,
    Ping,
    PingKind,
    Role,
    User,
    World,
    iso,
    permissions_of,
)

USER_MENTION = re.compile(r"<@!?(\d+)>")
ROLE_MENTION = re.compile(r"<@&(\d+)>")
EVERYONE = re.compile(r"@(?:everyone|here)\b")
JOINED_AT = "2024-01-01T00:00:00+00:00"


class Shapes(World):
    """Turns what is stored into what Discord would send."""

    def user_json(self, user: User) -> Json:
        shape: Json = {
            "id": str(user.id),
            "username": user.name,
            "global_name": user.global_name,
            "discriminator": "0",
            "avatar": None,
            "public_flags": 0,
        }
        return shape | {"bot": True} if user.is_bot else shape

    def member_json(self, guild: Guild, user: User, *, with_user: bool = True) -> Json:
        member = guild.members.get(user.id)
        shape: Json = {
            "roles": [str(role) for role in member.roles] if member else self._managed_roles(guild, user),
            "nick": member.nick if member else None,
            "avatar": None,
            "joined_at": JOINED_AT,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
        }
        return shape | {"user": self.user_json(user)} if with_user else shape

    def _managed_roles(self, guild: Guild, user: User) -> list[str]:
        return [str(role.id) for role in guild.roles.values() if role.bot == user.id]

    def guild_json(self, guild: Guild, *, with_channels: bool = True) -> Json:
        """Return the guild; `with_channels` as in GUILD_CREATE, without as GET /guilds answers."""
        shape: Json = {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "owner_id": str(self.application_owner.id),
            "features": [],
            "roles": self._roles_json(guild),
            "emojis": [],
            "stickers": [],
            "preferred_locale": "en-US",
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "afk_timeout": 300,
            "afk_channel_id": None,
        }
        if not with_channels:
            return shape
        rooms = [room for room in self.channels.values() if room.guild == guild.id]
        return shape | {
            "unavailable": False,
            "joined_at": JOINED_AT,
            "large": False,
            "member_count": len(guild.members) + 1,
            "members": [self.member_json(guild, self.bot)],
            "channels": [self.channel_json(room) for room in rooms if not room.is_thread],
            "threads": [
                self.channel_json(room)
                for room in rooms
                if room.is_thread and not room.is_archived and self.bot_may(room, "VIEW_CHANNEL")
            ],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def _roles_json(self, guild: Guild) -> list[Json]:
        """The role of everybody has the bot's usual permissions; overwrites of channels say the rest."""
        everyone = self.role_json(guild.id, "@everyone", permissions=guild.bot_permissions)
        return [everyone, *map(self._role_json, guild.roles.values())]

    def _role_json(self, role: Role) -> Json:
        return self.role_json(role.id, role.name, permissions=role.permissions, bot=role.bot)

    def role_json(self, role: int, name: str, *, permissions: int = 0, bot: int | None = None) -> Json:
        """https://discord.com/developers/docs/topics/permissions#role-object"""
        shape: Json = {
            "id": str(role),
            "name": name,
            "permissions": str(permissions),
            "position": 0 if name == "@everyone" else 1,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": bot is not None,
            "mentionable": False,
            "flags": 0,
        }
        return shape if bot is None else shape | {"tags": {"bot_id": str(bot)}}

    def channel_json(self, room: Channel) -> Json:
        shape: Json = {"id": str(room.id), "type": room.type, "flags": 0}
        latest = next(reversed(room.messages), None)
        shape["last_message_id"] = None if latest is None else str(latest)
        if room.is_dm:
            return shape | {"recipients": [self.user_json(self.users[room.recipient])]}
        shape |= {
            "guild_id": str(room.guild),
            "name": room.name,
            "parent_id": None if room.parent is None else str(room.parent),
            "rate_limit_per_user": 0,
        }
        return shape | (self._thread_json(room) if room.is_thread else self._text_channel_json(room))

    def _text_channel_json(self, room: Channel) -> Json:
        overwrites: list[Json] = []
        if room.bot_permissions is not None:
            overwrites.append(
                {
                    "id": str(self.bot.id),
                    "type": 1,
                    "allow": str(room.bot_permissions),
                    "deny": str(EVERY_PERMISSION & ~room.bot_permissions),
                }
            )
        return {"position": 0, "topic": None, "nsfw": False, "permission_overwrites": overwrites}

    def _thread_json(self, room: Channel) -> Json:
        count = len(room.messages)
        return {
            "owner_id": str(room.owner),
            "message_count": count,
            "total_message_sent": count,
            "member_count": 2,
            "thread_metadata": {
                "archived": room.is_archived,
                "locked": room.is_locked,
                "auto_archive_duration": room.auto_archive_minutes,
                "archive_timestamp": iso(room.archived_at or self.now()),
                "create_timestamp": iso(room.archived_at or self.now()),
            },
        }

    def attachment_json(self, stored: Attachment) -> Json:
        url = f"{self.url}/attachments/{stored.channel}/{stored.id}/{stored.filename}?ex=1&is=1&hm=1"
        shape: Json = {
            "id": str(stored.id),
            "filename": stored.filename,
            "size": stored.size,
            "url": url,
            "proxy_url": url,
            "content_type": stored.content_type,
        }
        return shape | {"description": stored.description} if stored.description else shape

    def reads_without_intent(self, message: Message, room: Channel) -> bool:
        """Whether the app gets the content without the message_content intent.

        https://discord.com/developers/docs/events/gateway#message-content-intent: its own messages, direct messages
        and those that mention it, by itself and not by its role.
        """
        people, _, _ = self.mentions_of(message)
        return room.type == DM or message.author is self.bot or self.bot in people

    def message_json(self, message: Message, *, has_intent: bool = True, with_reference: bool = True) -> Json:
        """Return the message; the content may be left out for an app that lacks the message_content intent."""
        room = self.channels.get(message.channel) or Channel(id=message.channel, type=DM)
        with_content = has_intent or self.reads_without_intent(message, room)
        people, roles, calls_everyone = self.mentions_of(message)
        guild = self.guilds.get(room.guild or 0)
        shape: Json = {
            "id": str(message.id),
            "channel_id": str(message.channel),
            "type": message.type,
            "author": self.user_json(message.author),
            "content": message.content if with_content else "",
            "attachments": [self.attachment_json(each) for each in message.attachments] if with_content else [],
            "embeds": message.embeds if with_content else [],
            "components": message.components if with_content else [],
            "timestamp": iso(message.created_at),
            "edited_timestamp": None if message.edited_at is None else iso(message.edited_at),
            "mentions": [self._mentioned_json(each, guild) for each in people],
            "mention_roles": [str(role) for role in roles],
            "mention_everyone": calls_everyone,
            "pinned": False,
            "tts": False,
            "flags": message.flags,
        }
        if room.is_thread:  # https://discord.com/developers/docs/resources/message#message-object
            # The initial message does not count: https://github.com/discord/discord-api-docs/issues/7788
            before = [each for each in room.messages if room.id < each < message.id]
            shape["position"] = sum(self.messages[each].type != THREAD_STARTER for each in before)
        shape |= self._carriers_json(message, with_content=with_content)
        if message.reactions:
            shape["reactions"] = [self._reaction_json(emoji, who) for emoji, who in message.reactions.items()]
        if message.webhook is not None:
            shape["webhook_id"] = str(message.webhook)
            if message.application is not None:
                shape["application_id"] = str(message.application)
        if message.interaction is not None:
            shape |= {"application_id": str(self.application_id), **self._metadata_json(message.interaction)}
        if message.reference is not None:
            shape |= self._reference_json(message, room, has_intent=has_intent, with_reference=with_reference)
        thread = self.channels.get(message.id)
        if thread is not None and thread.is_thread:
            shape["thread"] = self.channel_json(thread)
        return shape

    def _carriers_json(self, message: Message, *, with_content: bool) -> Json:
        """https://discord.com/developers/docs/resources/message#message-object: what needs the intent is left out."""
        shape: Json = {}
        if message.stickers:
            shape["sticker_items"] = message.stickers
        if message.poll is not None and with_content:
            shape["poll"] = message.poll
        if message.snapshots:
            hidden: Json = {"content": "", "attachments": [], "embeds": [], "components": []}
            kept = message.snapshots if with_content else [snapshot | hidden for snapshot in message.snapshots]
            shape["message_snapshots"] = [{"message": snapshot} for snapshot in kept]
        return shape

    def snapshot_json(self, message: Message) -> Json:
        """Return a forwarded message: https://discord.com/developers/docs/resources/message#message-snapshot-object."""
        names = ("type", "content", "embeds", "attachments", "timestamp", "edited_timestamp", "flags", "mentions")
        shape = self.message_json(message, with_reference=False)
        return {name: shape[name] for name in (*names, "mention_roles", "components")} | {
            name: shape[name] for name in ("sticker_items",) if name in shape
        }

    def _mentioned_json(self, user: User, guild: Guild | None) -> Json:
        shape = self.user_json(user)
        return shape if guild is None else shape | {"member": self.member_json(guild, user, with_user=False)}

    def _reaction_json(self, emoji: str, who: list[int]) -> Json:
        return {
            "emoji": emoji_json(emoji),
            "count": len(who),
            "count_details": {"burst": 0, "normal": len(who)},
            "me": self.bot.id in who,
            "me_burst": False,
            "burst_colors": [],
        }

    def _metadata_json(self, interaction: Interaction) -> Json:
        kinds = {"command": 2, "component": 3, "autocomplete": 4, "modal": 5}
        return {
            "interaction_metadata": {
                "id": str(interaction.id),
                "type": kinds[interaction.kind],
                "user": self.user_json(interaction.user),
                "authorizing_integration_owners": {},
            }
        }

    def _reference_json(self, message: Message, room: Channel, *, has_intent: bool, with_reference: bool) -> Json:
        reference: Json = {
            "type": message.reference_type,
            "message_id": str(message.reference),
            "channel_id": str(message.reference_channel or message.channel),
        }
        if room.guild is not None:
            reference["guild_id"] = str(room.guild)
        shape: Json = {"message_reference": reference}
        if not with_reference or message.omits_reference or message.type not in REFERRING:
            return shape
        target = self.messages.get(message.reference or 0)
        if target is None or target.is_deleted:
            return shape | {"referenced_message": None}
        return shape | {"referenced_message": self.message_json(target, has_intent=has_intent, with_reference=False)}

    def mentions_of(self, message: Message) -> tuple[list[User], list[int], bool]:
        """Return the people, the roles and whether everybody is mentioned, allowed_mentions applied.

        https://discord.com/developers/docs/resources/message#allowed-mentions-object
        """
        calls = [ping for ping in self.pings_of(message, is_edit=False) if ping.kind != "everyone"]
        people = [self.users[call.target] for call in calls if call.kind in {"user", "reply"}]
        roles = [call.target for call in calls if call.kind == "role"]
        unique = list(dict.fromkeys(people))
        return unique, list(dict.fromkeys(roles)), self._calls_everyone(message)

    def _calls_everyone(self, message: Message) -> bool:
        return self._is_allowed(message, "everyone", 0) and EVERYONE.search(message.shown) is not None

    def pings_of(self, message: Message, *, is_edit: bool) -> list[Ping]:
        """Return whom the message calls, after what its allowed_mentions leave over."""
        users = dict.fromkeys(int(each) for each in USER_MENTION.findall(message.shown))
        roles = dict.fromkeys(int(each) for each in ROLE_MENTION.findall(message.shown))
        called: list[tuple[int, PingKind]] = [
            *((each, "user") for each in users if each in self.users and self._is_allowed(message, "users", each)),
            *((each, "role") for each in roles if self._is_allowed(message, "roles", each)),
        ]
        if self._calls_everyone(message):
            called.append((0, "everyone"))
        replied = self.messages.get(message.reference or 0)
        if message.pings_author and replied is not None:
            called.append((replied.author.id, "reply"))
        return [Ping(message=message, target=target, kind=kind, is_edit=is_edit) for target, kind in called]

    def _is_allowed(self, message: Message, what: str, target: int) -> bool:
        """Left out, everything is parsed: https://discord.com/developers/docs/resources/message#allowed-mentions-object."""
        allowed = message.allowed_mentions
        if allowed is None:
            return True
        named: list[Any] = allowed.get(what) or [] if what != "everyone" else []
        return what in allowed.get("parse", ()) or str(target) in {str(each) for each in named}

    def interaction_json(self, interaction: Interaction) -> Json:
        """https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object"""
        kinds = {"command": 2, "component": 3, "autocomplete": 4, "modal": 5}
        room, user = interaction.channel, interaction.user
        shape: Json = {
            "id": str(interaction.id),
            "application_id": str(self.application_id),
            "type": kinds[interaction.kind],
            "data": interaction.data,
            "token": interaction.token,
            "version": 1,
            "channel_id": str(room.id),
            "channel": self.channel_json(room) | {"permissions": str(permissions_of(*PEOPLE_PERMISSIONS))},
            "app_permissions": str(self.bot_permissions_in(room)),
            "locale": "en-US",
            "entitlements": [],
            "attachment_size_limit": self.max_file_bytes,
            "authorizing_integration_owners": {"0": str(interaction.guild or 0)},
            "context": 0 if interaction.guild is not None else 1,
        }
        if interaction.message is not None:
            shape["message"] = self.message_json(interaction.message)
        if interaction.guild is None:
            return shape | {"user": self.user_json(user)}
        guild = self.guilds[interaction.guild]
        member = guild.members.get(user.id)
        permissions = member.permissions if member else permissions_of(*PEOPLE_PERMISSIONS)
        return shape | {
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "member": self.member_json(guild, user) | {"permissions": str(permissions)},
        }

    def application_json(self) -> Json:
        return {
            "id": str(self.application_id),
            "name": "toolbridge",
            "description": "",
            "icon": None,
            "bot_public": self.is_public,
            "bot_require_code_grant": False,
            "owner": self.user_json(self.application_owner),
            "verify_key": "0" * 64,
            "team": None,
            "interactions_endpoint_url": self.interactions_url,
            # https://discord.com/developers/docs/resources/application: GATEWAY_MESSAGE_CONTENT_LIMITED
            "flags": 1 << 19 if self.has_message_content else 0,
            "bot": self.user_json(self.bot),
        }

    def callback_json(self, interaction: Interaction) -> Json:
        """https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-callback-response-object"""
        inner: Json = {
            "id": str(interaction.id),
            "type": {"command": 2, "component": 3, "autocomplete": 4, "modal": 5}[interaction.kind],
        }
        message = interaction.original
        if message is None or interaction.response_type not in {4, 5, 7}:
            return {"interaction": inner}
        inner |= {
            "response_message_id": str(message.id),
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": message.is_ephemeral,
        }
        return {
            "interaction": inner,
            "resource": {"type": interaction.response_type, "message": self.message_json(message)},
        }


def emoji_json(emoji: str) -> Json:
    """Return the emoji object of a unicode emoji, or of a custom one written `name:id`."""
    name, _, number = emoji.partition(":")
    return {"id": number or None, "name": name}
