"""What people do in the loopback Discord: write, edit, press, run commands. Each verb delivers what Discord would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tests.fakes.discord.bodies import check_fields
from tests.fakes.discord.channel_routes import announce_thread, dm_with, drop_channel, open_thread, set_archived
from tests.fakes.discord.errors import Json
from tests.fakes.discord.gateway import GUILDS, Gateway
from tests.fakes.discord.modals import Filling, filled, labels
from tests.fakes.discord.replies import announce_change, remove, store
from tests.fakes.discord.world import (
    COMPONENTS_V2,
    DEFAULT,
    FORUM,
    HAS_SNAPSHOT,
    JOINED,
    PUBLIC_THREAD,
    REPLY,
    TEXT,
    Attachment,
    AutoModRule,
    Channel,
    ChannelId,
    Guild,
    GuildId,
    Interaction,
    Message,
    MessageId,
    Upload,
    User,
    UserId,
    permissions_of,
)

FIRST_GUILD_MS = 2520 * 10_000_000  # the first guild is on shard 0, the next on shard 1, and so on
CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
ATTACHMENT_OPTION = 11
BUTTON, SELECT = 2, 3


class People(Gateway):
    """The people's side. Channels, people and messages may be named by the object or its id."""

    # --- places

    def add_guild(self, name: str = "Team", *, has_bot: bool = True) -> Guild:
        """Add a guild; one that has the bot is announced to the connected app."""
        guild = Guild(id=(FIRST_GUILD_MS + len(self.guilds)) << 22, name=name, has_bot=has_bot)
        self.guilds[guild.id] = guild
        if has_bot:
            # https://discord.com/developers/docs/topics/permissions#role-object-role-tags-structure
            role = self.add_role(guild, self.bot.name)
            role.bot = self.bot.id
            self._announce_guild(guild)
        return guild

    def remove_bot(self, guild: GuildId) -> None:
        """Throw the bot out of the guild."""
        home = self.guild(guild)
        self.dispatch("GUILD_DELETE", {"id": str(home.id)}, guild=home)
        home.has_bot = False

    def lose_guild(self, guild: GuildId) -> None:
        """Let the guild be unavailable, as in an outage."""
        home = self.guild(guild)
        home.is_available = False
        self.dispatch("GUILD_DELETE", {"id": str(home.id), "unavailable": True}, guild=home)

    def find_guild(self, guild: GuildId) -> None:
        """End the outage of the guild."""
        home = self.guild(guild)
        home.is_available = True
        self.dispatch("GUILD_CREATE", self.guild_json(home), guild=home)

    def _announce_guild(self, guild: Guild) -> None:
        shape = self.guild_json(guild)
        del shape["unavailable"]
        self.dispatch("GUILD_CREATE", shape, guild=guild)

    def add_channel(
        self,
        guild: GuildId,
        name: str = "general",
        *,
        members: Iterable[UserId] | None = None,
        bot_permissions: Iterable[str] | None = None,
    ) -> Channel:
        """Add a text channel.

        `members` are those who see it, by default all of the guild; `bot_permissions` are the names of what the bot
        may do in it, by default ALL_BOT_PERMISSIONS.
        """
        home = self.guild(guild)
        room = Channel(
            id=self.next_id(),
            type=TEXT,
            name=name,
            guild=home.id,
            members=None if members is None else {self.user(user).id for user in members},
            bot_permissions=None if bot_permissions is None else permissions_of(*bot_permissions),
        )
        self.channels[room.id] = room
        self.dispatch("CHANNEL_CREATE", self.channel_json(room), guild=home, intents=GUILDS)
        return room

    def add_forum(self, guild: GuildId, name: str = "questions") -> Channel:
        """Add a forum, in which every thread is a post."""
        home = self.guild(guild)
        room = Channel(id=self.next_id(), type=FORUM, name=name, guild=home.id)
        self.channels[room.id] = room
        self.dispatch("CHANNEL_CREATE", self.channel_json(room), guild=home, intents=GUILDS)
        return room

    async def post(self, forum: ChannelId, user: UserId, title: str, text: str, *, mention: bool = False) -> Channel:
        """Begin a post in a forum; its first message has the id of the thread.

        https://discord.com/developers/docs/topics/threads#forums
        """
        room, person = self.channel(forum), self.user(user)
        self._check_member(room, person)
        post = Channel(
            id=self.next_id(), type=PUBLIC_THREAD, name=title, guild=room.guild, parent=room.id, owner=person.id
        )
        self.channels[post.id] = post
        announce_thread(self, post, "THREAD_CREATE")
        message = self._written(post, person, f"{self.bot.mention} {text}" if mention else text)
        message.id = post.id
        await self._store(message)
        return post

    def allow_bot(self, channel: ChannelId, *names: str) -> None:
        """Let the bot have exactly those permissions in the channel from now on."""
        room = self.channel(channel)
        room.bot_permissions = permissions_of(*names)
        self.dispatch("CHANNEL_UPDATE", self.channel_json(room), guild=room.guild, intents=GUILDS)

    def add_automod_rule(self, guild: GuildId, *keywords: str, exempt: Sequence[ChannelId] = ()) -> None:
        """Have AutoMod block what is written with one of the keywords; `*` at an end of one means more letters."""
        channels = frozenset(self.channel(each).id for each in exempt)
        rule = AutoModRule(guild=self.guild(guild).id, keywords=keywords, exempt_channels=channels)
        self.automod_rules.append(rule)

    def delete_channel(self, channel: ChannelId) -> None:
        """Delete a channel or a thread."""
        drop_channel(self, self.channel(channel))

    def dm_channel(self, user: UserId) -> Channel:
        """Return the direct messages between that person and the bot."""
        return dm_with(self, self.user(user).id)

    # --- messages

    async def say(
        self,
        channel: ChannelId,
        user: UserId,
        text: str,
        *,
        reply_to: MessageId | None = None,
        ping: bool = True,
        mention: bool = False,
        files: Sequence[Upload] = (),
        stickers: Sequence[str] = (),
        poll: Json | None = None,
        with_reference: bool = True,
        deliver: bool = True,
    ) -> Message:
        """Write a message in a channel, thread or direct message.

        `with_reference=False` leaves out the message that it replies to, as Discord may. `mention` puts the bot's
        mention in front; `ping=False` is a reply with its mention switched off. `deliver=False` stores it only, as when
        the app was not connected. An archived thread comes back by it.
        """
        room, person = self.channel(channel), self.user(user)
        self._check_member(room, person)
        assert not room.is_locked, "the thread is locked"
        content = f"{self.bot.mention} {text}" if mention else text
        assert len(content) <= 2000, "people cannot write more than 2,000 characters"
        assert content.strip() or files or stickers or poll, "people cannot write nothing"
        if room.is_archived:
            set_archived(self, room, archived=False, locked=None)
        message = self._written(room, person, content)
        if reply_to is not None:
            target = self.message(reply_to)
            message.type, message.reference, message.reference_channel = REPLY, target.id, target.channel
            message.pings_author, message.omits_reference = ping, not with_reference
        message.stickers = [{"id": str(self.next_id()), "name": name, "format_type": 1} for name in stickers]
        message.poll = poll
        message.attachments = [self._upload(room, each) for each in files]
        await self._store(message, deliver=deliver)
        return message

    def _check_member(self, room: Channel, person: User) -> None:
        if room.is_dm:
            assert person.id == room.recipient, f"{person.name} is not in the direct messages of somebody else"
            return
        assert person.id in self.guilds[room.guild or 0].members, f"{person.name} is not in the guild"
        members = self.parent_of(room).members
        assert members is None or person.id in members, f"{person.name} does not see {room.name}"

    def _written(self, room: Channel, person: User, content: str, *, kind: int = DEFAULT) -> Message:
        return Message(
            id=self.next_id(),
            channel=room.id,
            author=person,
            created_at=self.now(),
            content=content.strip(),
            type=kind,
        )

    def add_file(self, channel: ChannelId, upload: Upload) -> Attachment:
        """Store a file that a test puts under a message."""
        return self._upload(self.channel(channel), upload)

    def _upload(self, room: Channel, upload: Upload) -> Attachment:
        stored = Attachment(
            id=self.next_id(),
            channel=room.id,
            filename=upload.filename,
            content=upload.content,
            content_type=upload.content_type,
            size=len(upload.content) if upload.size is None else upload.size,
        )
        self.attachments[stored.id] = stored
        return stored

    async def _store(self, message: Message, *, deliver: bool = True) -> None:
        if deliver:
            store(self, message)
        else:
            self.messages[message.id] = message
            self.channels[message.channel].messages[message.id] = message
            self.touch()
        await asyncio.sleep(0)  # what was said goes out in the order in which it was said

    async def forward(self, channel: ChannelId, user: UserId, message: MessageId, *, deliver: bool = True) -> Message:
        """Forward a message into a channel; Discord takes no words with it.

        https://discord.com/developers/docs/resources/message#message-reference-types
        """
        room, person, original = self.channel(channel), self.user(user), self.message(message)
        self._check_member(room, person)
        forwarded = self._written(room, person, "")
        forwarded.flags |= HAS_SNAPSHOT
        forwarded.reference, forwarded.reference_channel = original.id, original.channel
        forwarded.reference_type = 1
        forwarded.snapshots = [self.snapshot_json(original)]
        await self._store(forwarded, deliver=deliver)
        return forwarded

    async def dm(self, user: UserId, text: str, *, files: Sequence[Upload] = (), deliver: bool = True) -> Message:
        """Write to the bot in direct messages."""
        return await self.say(self.dm_channel(user), user, text, files=files, deliver=deliver)

    async def edit(self, channel: ChannelId, message: MessageId, text: str, *, deliver: bool = True) -> None:
        """Edit a person's message."""
        written = self.message(message)
        assert written.channel == self.channel(channel).id
        assert written.author is not self.bot
        written.content = text.strip()
        written.edits += 1
        written.edited_at = self.now()
        if deliver:
            announce_change(self, written)
        await asyncio.sleep(0)

    async def delete(self, channel: ChannelId, message: MessageId, *, deliver: bool = True) -> None:
        """Delete a message, a person's own or, as a moderator, the bot's."""
        assert self.message(message).channel == self.channel(channel).id
        remove(self, self.message(message), deliver=deliver)
        await asyncio.sleep(0)

    async def unfurl(self, channel: ChannelId, message: MessageId) -> None:
        """Let Discord add a link's preview to the message: an update that is no edit; none where it is suppressed."""
        written = self.message(message)
        assert written.channel == self.channel(channel).id
        if not written.suppresses_embeds:
            written.embeds = [*written.embeds, {"type": "link", "url": "https://example.com/", "title": "Example"}]
            announce_change(self, written)
        await asyncio.sleep(0)

    @property
    def other_bot(self) -> User:
        """Another app's bot, which is there from when it is first looked at."""
        other = next((user for user in self.users.values() if user.name == "other-bot"), None)
        return other or self.add_user("other-bot", is_bot=True)

    async def say_as_other_bot(self, channel: ChannelId, text: str) -> Message:
        """Let another app's bot write."""
        message = self._written(self.channel(channel), self.other_bot, text)
        await self._store(message)
        return message

    async def say_as_webhook(
        self,
        channel: ChannelId,
        text: str = "",
        *,
        name: str = "hook",
        embeds: Sequence[Json] = (),
        components: Sequence[Json] = (),
        application: int | None = None,
    ) -> Message:
        """Have a webhook write; `components` are those of Components V2, `application` is the app that has it."""
        room = self.channel(channel)
        flags = COMPONENTS_V2 if components else 0
        check_fields({"content": text, "embeds": list(embeds), "components": list(components)}, flags=flags)
        hook = User(id=self.next_id(), name=name, is_bot=True)
        self.users[hook.id] = hook
        message = self._written(room, hook, text)
        message.webhook, message.application, message.flags = hook.id, application, flags
        message.embeds = [{"type": "rich", **embed} for embed in embeds]
        message.components = list(components)
        await self._store(message)
        return message

    async def join(self, channel: ChannelId, user: UserId) -> Message:
        """Let Discord write in that channel that a person has joined."""
        message = self._written(self.channel(channel), self.user(user), "", kind=JOINED)
        await self._store(message)
        return message

    def reactions(self, message: MessageId) -> dict[str, list[int]]:
        """Return the reactions under the message: emoji -> ids of who reacted."""
        return {emoji: list(who) for emoji, who in self.message(message).reactions.items()}

    # --- threads

    async def start_thread(
        self, channel: ChannelId, user: UserId, name: str, *, message: MessageId | None = None
    ) -> Channel:
        """Start a public thread, from the message where one is named."""
        room, person = self.channel(channel), self.user(user)
        starter = None if message is None else self.message(message)
        thread = Channel(
            id=self.next_id() if starter is None else starter.id,
            type=PUBLIC_THREAD,
            name=name,
            guild=room.guild,
            parent=room.id,
            owner=person.id,
        )
        open_thread(self, thread, starter=starter)
        await asyncio.sleep(0)
        return thread

    async def archive_thread(self, thread: ChannelId, *, locked: bool = False) -> None:
        """Archive a thread; a locked one only a moderator brings back."""
        set_archived(self, self.channel(thread), archived=True, locked=locked)
        await asyncio.sleep(0)

    # --- commands and clicks

    async def slash(
        self,
        channel: ChannelId,
        user: UserId,
        command: str,
        options: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
    ) -> Interaction:
        """Run a slash command, such as `tools` or `tools list`; options by name, an Upload for an attachment.

        Returns once the app has answered or has not in time; `wait=False` returns at once.
        """
        registered, path = self._find_command(channel, command, kind=CHAT_INPUT)
        data, resolved = self._options(self.channel(channel), path[-1], options or {})
        interaction = self._new("command", channel, user, data=_command_data(registered, path, data, resolved))
        return await self._deliver(interaction, wait=wait)

    async def autocomplete(
        self,
        channel: ChannelId,
        user: UserId,
        command: str,
        options: Mapping[str, Any],
        *,
        focused: str | None = None,
    ) -> list[Json]:
        """Type in an option (the last one named) and return the choices that are offered; none in time is []."""
        registered, path = self._find_command(channel, command, kind=CHAT_INPUT)
        name = focused or list(options)[-1]
        described = {each["name"]: each for each in path[-1].get("options") or ()}
        assert described[name].get("autocomplete"), f"the option {name} of {command} has no autocomplete"
        data: list[Json] = [
            {"name": key, "type": described[key]["type"], "value": value} | ({"focused": True} if key == name else {})
            for key, value in options.items()
        ]
        interaction = self._new("autocomplete", channel, user, data=_command_data(registered, path, data, {}))
        await self._deliver(interaction)
        return interaction.choices or []

    async def context_menu(
        self, channel: ChannelId, target: MessageId, user: UserId, command: str, *, wait: bool = True
    ) -> Interaction:
        """Choose an entry of a message's menu, such as "Ask about this"."""
        registered, _ = self._find_command(channel, command, kind=MESSAGE_MENU)
        message = self.message(target)
        assert message.channel == self.channel(channel).id
        data: Json = {
            "id": registered["id"],
            "name": registered["name"],
            "type": MESSAGE_MENU,
            "target_id": str(message.id),
            "resolved": {"messages": {str(message.id): self.message_json(message)}},
        }
        return await self._deliver(self._new("command", channel, user, data=data), wait=wait)

    async def press(
        self, channel: ChannelId, message: MessageId, user: UserId, custom_id: str, *, wait: bool = True
    ) -> Interaction:
        """Press a button; `custom_id` may be the beginning of the button's where that is unambiguous."""
        shown = self._shown_to(channel, message, user)
        button = _find_component(shown, custom_id, kind=BUTTON)
        data: Json = {"custom_id": button["custom_id"], "component_type": BUTTON, "id": button.get("id", 0)}
        return await self._deliver(self._new("component", channel, user, data=data, message=shown), wait=wait)

    async def choose(
        self,
        channel: ChannelId,
        message: MessageId,
        user: UserId,
        custom_id: str,
        values: Sequence[str],
        *,
        wait: bool = True,
    ) -> Interaction:
        """Choose options of a select by their values."""
        shown = self._shown_to(channel, message, user)
        select = _find_component(shown, custom_id, kind=SELECT)
        offered = [option["value"] for option in select["options"]]
        assert set(values) <= set(offered), f"{list(values)} are not among the options {offered}"
        least, most = select.get("min_values", 1), select.get("max_values", 1)
        assert least <= len(values) <= most, f"people choose {least} to {most} options here"
        data: Json = {"custom_id": select["custom_id"], "component_type": SELECT, "values": list(values)}
        return await self._deliver(self._new("component", channel, user, data=data, message=shown), wait=wait)

    async def press_gone(
        self, channel: ChannelId, message: MessageId, user: UserId, custom_id: str, *, wait: bool = True
    ) -> Interaction:
        """Press a button that the person still has on the screen although the message has lost or disabled it."""
        data: Json = {"custom_id": custom_id, "component_type": BUTTON}
        shown = self._shown_to(channel, message, user)
        return await self._deliver(self._new("component", channel, user, data=data, message=shown), wait=wait)

    async def submit(self, form: Interaction, values: Mapping[str, Filling], *, wait: bool = True) -> Interaction:
        """Send the form that an interaction was answered with; values by custom id, fields left out keep theirs.

        What people choose is named by its label.
        """
        assert form.modal is not None, "there is no form"
        data: Json = {"custom_id": form.modal["custom_id"], "components": filled(form.modal, values)}
        interaction = self._new("modal", form.channel, form.user, data=data, message=form.message)
        return await self._deliver(interaction, wait=wait)

    async def fill_in(self, form: Interaction, values: Mapping[str, Filling], *, wait: bool = True) -> Interaction:
        """Send the form, with values by the labels above its fields."""
        assert form.modal is not None, "there is no form"
        known = labels(form.modal)
        return await self.submit(form, {known[label]: value for label, value in values.items()}, wait=wait)

    # --- how an interaction comes to the app

    def _new(
        self,
        kind: Literal["command", "component", "autocomplete", "modal"],
        channel: ChannelId,
        user: UserId,
        *,
        data: Json,
        message: Message | None = None,
    ) -> Interaction:
        room, person = self.channel(channel), self.user(user)
        self._check_member(room, person)
        number = self.next_id()
        return Interaction(
            id=number,
            token=f"interaction-{number}",
            kind=kind,
            user=person,
            channel=room,
            guild=room.guild,
            data=data,
            created_at=self.now(),
            message=message,
        )

    async def _deliver(self, interaction: Interaction, *, wait: bool = True) -> Interaction:
        self.interactions[interaction.id] = interaction
        self.touch()
        self.dispatch("INTERACTION_CREATE", self.interaction_json(interaction), guild=interaction.guild)
        await asyncio.sleep(0)
        if not wait:
            return interaction
        try:
            async with asyncio.timeout(self.ack_timeout_s):
                await interaction.acked.wait()
        except TimeoutError:
            interaction.is_failed = True
            self.touch()
        return interaction

    def _find_command(self, channel: ChannelId, name: str, *, kind: int) -> tuple[Json, list[Json]]:
        """Return the registered command and the path to the subcommand that is run."""
        room = self.channel(channel)
        first, *rest = [name] if kind != CHAT_INPUT else name.split()
        offered = [each for each in self.commands(room.guild) if each["type"] == kind]
        found = next((each for each in offered if each["name"] == first), None)
        assert found is not None, f"people find no {first!r} among {[each['name'] for each in offered]}"
        contexts = found.get("contexts")
        assert contexts is None or (1 if room.is_dm else 0) in contexts, f"{first} is not offered here"
        path = [found]
        for part in rest:
            path.append(next(each for each in path[-1]["options"] if each["name"] == part))
        return found, path

    def _options(self, room: Channel, command: Json, given: Mapping[str, Any]) -> tuple[list[Json], Json]:
        described = {each["name"]: each for each in command.get("options") or ()}
        assert set(given) <= set(described), f"{command['name']} takes {sorted(described)}"
        missing = [name for name, each in described.items() if each.get("required") and name not in given]
        assert not missing, f"{command['name']} needs {missing}"
        data: list[Json] = []
        resolved: Json = {}
        for name, value in given.items():
            kind, sent = described[name]["type"], value
            if kind == ATTACHMENT_OPTION:
                stored = self._upload(room, value)
                resolved.setdefault("attachments", {})[str(stored.id)] = self.attachment_json(stored)
                sent = str(stored.id)
            choices = [choice["value"] for choice in described[name].get("choices") or ()]
            assert not choices or sent in choices, f"{name} takes one of {choices}"
            data.append({"name": name, "type": kind, "value": sent})
        return data, resolved

    def _shown_to(self, channel: ChannelId, message: MessageId, user: UserId) -> Message:
        shown = self.message(message)
        assert shown.channel == self.channel(channel).id
        assert not shown.is_deleted, "the message is deleted"
        assert shown.ephemeral_to in {None, self.user(user).id}, "only another person sees the message"
        return shown


def _command_data(registered: Json, path: list[Json], options: list[Json], resolved: Json) -> Json:
    inner = options
    for part in reversed(path[1:]):
        inner = [{"name": part["name"], "type": part["type"], "options": inner}]
    data: Json = {"id": registered["id"], "name": registered["name"], "type": CHAT_INPUT, "options": inner}
    if "guild_id" in registered:
        data["guild_id"] = registered["guild_id"]
    return data | ({"resolved": resolved} if resolved else {})


def _find_component(message: Message, custom_id: str, *, kind: int) -> Json:
    """Return the component of that id, or the only one whose id begins so."""
    offered = [each for each in message.elements if each.get("type") == kind and "custom_id" in each]
    found = [each for each in offered if each["custom_id"] == custom_id]
    found = found or [each for each in offered if each["custom_id"].startswith(custom_id)]
    assert len(found) == 1, f"{custom_id!r} names {len(found)} of {[each['custom_id'] for each in offered]}"
    assert not found[0].get("disabled"), f"{custom_id!r} is disabled"
    return found[0]
