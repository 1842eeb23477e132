"""What exists in the loopback Discord: guilds, people, channels, messages, and a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from tests.fakes.discord.errors import DiscordError, Json

EPOCH_MS = 1_420_070_400_000  # https://discord.com/developers/docs/reference#snowflakes
MAX_FILE_BYTES = 10 * 1024 * 1024  # https://discord.com/developers/docs/reference#uploading-files
OLD_EDIT_S = 3600.0
GLANCE_S = 0.02
# As long as real snowflakes: the library's patterns for mentions ask for 15 digits at least.
APPLICATION_ID, BOT_ID, OWNER_ID = 800_000_000_000_000_000, 800_000_000_000_000_001, 800_000_000_000_000_002

# https://discord.com/developers/docs/topics/permissions#permissions-bitwise-permission-flags
PERMISSIONS = {
    "ADMINISTRATOR": 1 << 3,
    "MANAGE_CHANNELS": 1 << 4,
    "MANAGE_GUILD": 1 << 5,
    "ADD_REACTIONS": 1 << 6,
    "VIEW_CHANNEL": 1 << 10,
    "SEND_MESSAGES": 1 << 11,
    "MANAGE_MESSAGES": 1 << 13,
    "EMBED_LINKS": 1 << 14,
    "ATTACH_FILES": 1 << 15,
    "READ_MESSAGE_HISTORY": 1 << 16,
    "MENTION_EVERYONE": 1 << 17,
    "USE_APPLICATION_COMMANDS": 1 << 31,
    "MANAGE_THREADS": 1 << 34,
    "CREATE_PUBLIC_THREADS": 1 << 35,
    "CREATE_PRIVATE_THREADS": 1 << 36,
    "SEND_MESSAGES_IN_THREADS": 1 << 38,
}
ALL_BOT_PERMISSIONS = (
    "VIEW_CHANNEL",
    "SEND_MESSAGES",
    "SEND_MESSAGES_IN_THREADS",
    "CREATE_PUBLIC_THREADS",
    "EMBED_LINKS",
    "ATTACH_FILES",
    "ADD_REACTIONS",
    "READ_MESSAGE_HISTORY",
)
PEOPLE_PERMISSIONS = (*ALL_BOT_PERMISSIONS, "USE_APPLICATION_COMMANDS")
EVERY_PERMISSION = sum(PERMISSIONS.values())

PingKind = Literal["user", "role", "everyone", "reply"]

TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = (
    0,
    1,
    11,
    12,
    15,
)  # https://discord.com/developers/docs/resources/channel
DEFAULT, JOINED, THREAD_CREATED, REPLY, COMMAND, THREAD_STARTER, CONTEXT_COMMAND = 0, 7, 18, 19, 20, 21, 23
REFERRING = {REPLY, THREAD_STARTER, CONTEXT_COMMAND}  # only these come with the message that they refer to
WRITTEN = {DEFAULT, REPLY, COMMAND, CONTEXT_COMMAND}  # the message types that somebody wrote

SUPPRESS_EMBEDS, HAS_THREAD, EPHEMERAL, LOADING = 1 << 2, 1 << 5, 1 << 6, 1 << 7
SUPPRESS_NOTIFICATIONS, VOICE_MESSAGE, HAS_SNAPSHOT, COMPONENTS_V2 = 1 << 12, 1 << 13, 1 << 14, 1 << 15


def permissions_of(*names: str) -> int:
    """Return the bit set of the named permissions, such as `SEND_MESSAGES`."""
    return sum(PERMISSIONS[name] for name in set(names))


@dataclass(eq=False, kw_only=True)
class User:
    id: int
    name: str
    global_name: str | None = None
    is_bot: bool = False
    has_closed_dms: bool = False

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass(eq=False, kw_only=True)
class Role:
    id: int
    name: str
    bot: int | None = None  # whose role it is, where Discord made it for a bot that was invited
    permissions: int = 0


@dataclass(kw_only=True)
class Member:
    nick: str | None = None
    roles: list[int] = field(default_factory=list[int])
    permissions: int = 0


@dataclass(eq=False, kw_only=True)
class Guild:
    id: int
    name: str
    members: dict[int, Member] = field(default_factory=dict[int, Member])
    roles: dict[int, Role] = field(default_factory=dict[int, Role])
    # https://discord.com/developers/docs/topics/threads#active-archived-threads: a guild has a cap of active threads
    max_active_threads: int = 1000
    has_bot: bool = True
    bot_permissions: int = field(default_factory=lambda: permissions_of(*ALL_BOT_PERMISSIONS))  # of the bot's roles
    is_available: bool = True


@dataclass(eq=False, kw_only=True)
class Attachment:
    id: int
    channel: int
    filename: str
    content: bytes
    content_type: str
    size: int
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that a person puts under a message; `size` is what Discord says it has, by default the truth."""

    filename: str
    content: bytes
    content_type: str = "text/plain; charset=utf-8"
    size: int | None = None


@dataclass(eq=False, kw_only=True)
class Message:
    """A message as it is stored; `edits` counts the changes that were made to it after it was posted."""

    id: int
    channel: int
    author: User
    created_at: float
    content: str = ""
    type: int = DEFAULT
    flags: int = 0
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    embeds: list[Json] = field(default_factory=list[Json])
    components: list[Json] = field(default_factory=list[Json])
    nonce: str | int | None = None
    reference: int | None = None  # the message that it replies to
    reference_channel: int | None = None
    reference_type: int = 0  # 1: it is forwarded
    omits_reference: bool = False  # Discord did not look for the message that it replies to
    snapshots: list[Json] = field(default_factory=list[Json])  # of forwarded messages
    poll: Json | None = None
    stickers: list[Json] = field(default_factory=list[Json])
    pings_author: bool = False  # a reply that mentions the author of what it replies to
    allowed_mentions: Json | None = None  # as last sent; None: left out, Discord's defaults hold
    edits: int = 0
    edited_at: float | None = None
    reactions: dict[str, list[int]] = field(default_factory=dict[str, list[int]])  # emoji -> user ids
    ephemeral_to: int | None = None
    webhook: int | None = None
    application: int | None = None  # of the webhook
    interaction: Interaction | None = None  # the interaction that it answers
    is_deleted: bool = False

    @property
    def is_ephemeral(self) -> bool:
        return self.ephemeral_to is not None

    @property
    def is_loading(self) -> bool:
        """Whether people see that the bot is thinking."""
        return bool(self.flags & LOADING)

    @property
    def suppresses_embeds(self) -> bool:
        return bool(self.flags & SUPPRESS_EMBEDS)

    @property
    def elements(self) -> list[Json]:
        """The components of all levels, in order."""
        return list(walk(self.components))

    @property
    def custom_ids(self) -> list[str]:
        return [str(each["custom_id"]) for each in self.elements if "custom_id" in each]

    @property
    def shown(self) -> str:
        """The text that a person reads: the content, or what the text displays say."""
        displays = [str(each["content"]) for each in self.elements if each.get("type") == 10]
        return "\n".join(part for part in (self.content, *displays) if part)


@dataclass(eq=False, kw_only=True)
class Channel:
    """A text channel, a thread or a direct message; `messages` has what is not deleted, oldest first."""

    id: int
    type: int
    name: str = ""
    guild: int | None = None
    parent: int | None = None  # of a thread
    owner: int = 0  # who started the thread
    recipient: int = 0  # of a direct message
    members: set[int] | None = None  # None: everybody in the guild
    bot_permissions: int | None = None  # None: the guild's
    is_archived: bool = False
    is_locked: bool = False
    auto_archive_minutes: int = 1440
    archived_at: float = 0.0
    messages: dict[int, Message] = field(default_factory=dict[int, Message])
    deleted: list[Message] = field(default_factory=list[Message])

    @property
    def is_thread(self) -> bool:
        return self.type in {PUBLIC_THREAD, PRIVATE_THREAD}

    @property
    def is_dm(self) -> bool:
        return self.type == DM


@dataclass(eq=False, kw_only=True)
class Interaction:
    """What a person did with the app, and how the app answered; `original` is the message of its first answer."""

    id: int
    token: str
    kind: Literal["command", "component", "autocomplete", "modal"]
    user: User
    channel: Channel
    guild: int | None
    data: Json
    created_at: float
    message: Message | None = None  # the message that was pressed or whose form it was
    response_type: int | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list[Message])
    modal: Json | None = None
    choices: list[Json] | None = None
    is_failed: bool = False  # people were told that the interaction failed
    acked: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def is_acked(self) -> bool:
        return self.response_type is not None

    @property
    def text(self) -> str:
        """What the first answer says now."""
        return self.original.shown if self.original is not None else ""


@dataclass(frozen=True, kw_only=True)
class Ping:
    """A notification that a message made or would have made: somebody was called by it."""

    message: Message
    target: int  # a user's or role's id; 0 for everyone
    kind: PingKind
    is_edit: bool


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that arrived; `at` is in seconds of time.monotonic(), `files` are the names of uploads.

    `status` 0 means that the connection was cut or that the answer is held back.
    """

    route: str
    method: str
    path: str
    parameters: dict[str, str]
    query: dict[str, str]
    body: Any
    files: list[str]
    at: float
    status: int
    answer: Any = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> int | None:
        """Discord's error code of a refusal."""
        refusal: Json = {} if self.ok or not self.answer else self.answer
        return refusal.get("code")


@dataclass(frozen=True, kw_only=True)
class AutoModRule:
    """A keyword rule that blocks messages; see `tests.fakes.discord.moderation`."""

    guild: int
    keywords: tuple[str, ...]
    exempt_channels: frozenset[int] = frozenset()


ChannelId = Channel | int | str
UserId = User | int | str
MessageId = Message | int | str
GuildId = Guild | int | str


class World:
    """The state of the loopback Discord, and the waiting for its changes."""

    def __init__(self) -> None:
        self.token = "bot-test"
        self.url = ""
        self.application_id = APPLICATION_ID
        self.bot = User(id=BOT_ID, name="toolbridge", is_bot=True)
        self.application_owner = User(id=OWNER_ID, name="operator")
        self.guilds: dict[int, Guild] = {}
        self.users: dict[int, User] = {user.id: user for user in (self.bot, self.application_owner)}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Message] = {}  # every message that ever was, by id
        self.attachments: dict[int, Attachment] = {}
        self.interactions: dict[int, Interaction] = {}
        self.global_commands: list[Json] = []
        self.guild_commands: dict[int, list[Json]] = {}
        self.pings: list[Ping] = []
        self.automod_rules: list[AutoModRule] = []
        self.harmful_links: set[str] = set()  # parts of addresses
        self.typings: list[tuple[int, float]] = []  # (channel id, time of the fake's clock)
        self.calls: list[Call] = []
        self.nonce_life_s = 180.0  # the documentation says "the past few minutes"
        self.old_edits = 3  # edits of messages older than an hour that are let through ...
        self.old_edits_window_s = 20.0  # ... in this time and channel; Discord does not publish its figures
        self.old_edit_times: defaultdict[int, list[float]] = defaultdict(list)
        # https://discord.com/developers/docs/interactions/application-commands#registering-a-command
        self.daily_command_creates = 200
        self.command_creates = 0
        self.ack_timeout_s = 3.0  # https://discord.com/developers/docs/interactions/receiving-and-responding
        self.token_life_s = 900.0
        self.has_message_content = True  # the privileged intent, switched on in the developer portal
        self.max_file_bytes = MAX_FILE_BYTES
        self.interactions_url: str | None = None
        self.is_public = False  # anyone may add the app to their server; so it is at first in the developer portal
        self._clock_offset_s = 0.0
        self._last_id = 0
        self._changed = asyncio.Event()

    # --- time and change

    def now(self) -> float:
        """Return the fake's wall clock, in seconds since the epoch."""
        return time.time() + self._clock_offset_s

    def advance(self, seconds: float) -> None:
        """Let that much time pass on the fake's clock: messages, nonces and interactions grow old.

        Less than nothing: what comes next happened before now, and so its ids say.
        """
        self._clock_offset_s += seconds
        if seconds < 0:
            self._last_id = 0
        self.touch()

    def next_id(self) -> int:
        """Return a snowflake of the fake's clock; each is greater than the one before."""
        self._last_id = max(self._last_id + 1, (int(self.now() * 1000) - EPOCH_MS) << 22)
        return self._last_id

    def touch(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """Return the condition's first true value; it is asked again after each change.

        What changes in the app alone, without a request, is seen within GLANCE_S.

        Raises:
            TimeoutError: It did not become true in time; the message tells the last calls.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not within {timeout_s} s; {self.describe()}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GLANCE_S):
                    await self._changed.wait()
        return value

    def describe(self) -> str:
        """Return the last calls and messages in one text, for the message of a failed wait."""
        calls = [f"{call.route}:{call.code or call.status}" for call in self.calls[-12:]]
        shown = [
            f"{channel.name or channel.id} {message.author.name}: {message.shown[:80]!r}"
            for channel in self.channels.values()
            for message in list(channel.messages.values())[-6:]
        ]
        hidden = [f"to {each.ephemeral_to}: {each.shown[:80]!r}" for each in self.all_ephemerals()[-4:]]
        return f"last calls: {calls}; last messages: {shown}; ephemeral: {hidden}"

    # --- what exists

    def add_user(
        self,
        name: str,
        *,
        global_name: str | None = None,
        guilds: Iterable[GuildId] | None = None,
        is_bot: bool = False,
    ) -> User:
        """Add a person to the named guilds, by default to all that exist."""
        user = User(id=self.next_id(), name=name, global_name=global_name, is_bot=is_bot)
        self.users[user.id] = user
        for guild in list(self.guilds.values()) if guilds is None else guilds:
            self.add_member(guild, user)
        return user

    def add_member(
        self,
        guild: GuildId,
        user: UserId,
        *,
        nick: str | None = None,
        roles: Iterable[Role] = (),
        permissions: Iterable[str] = (),
    ) -> None:
        """Let the person be in the guild, with that nickname and those roles; again: change them.

        `permissions` are the names of those that a moderator has besides what everybody may.
        """
        self.guild(guild).members[self.user(user).id] = Member(
            nick=nick,
            roles=[role.id for role in roles],
            permissions=permissions_of(*PEOPLE_PERMISSIONS, *permissions),
        )

    def add_role(self, guild: GuildId, name: str, *, permissions: Iterable[str] = ()) -> Role:
        role = Role(id=self.next_id(), name=name, permissions=permissions_of(*permissions))
        self.guild(guild).roles[role.id] = role
        return role

    def guild(self, guild: GuildId) -> Guild:
        return guild if isinstance(guild, Guild) else self.guilds[int(guild)]

    def user(self, user: UserId) -> User:
        return user if isinstance(user, User) else self.users[int(user)]

    def channel(self, channel: ChannelId) -> Channel:
        return channel if isinstance(channel, Channel) else self.channels[int(channel)]

    def message(self, message: MessageId) -> Message:
        """Return the message, deleted and ephemeral ones as well."""
        return message if isinstance(message, Message) else self.messages[int(message)]

    def visible(self, channel: ChannelId) -> list[Message]:
        """Return what everybody in the channel or thread reads, oldest first; no system messages."""
        return [message for message in self.channel(channel).messages.values() if message.type in WRITTEN]

    def own(self, channel: ChannelId) -> list[Message]:
        """Return the bot's messages among those that everybody reads."""
        return [message for message in self.visible(channel) if message.author is self.bot]

    def threads(self, channel: ChannelId) -> list[Channel]:
        """Return the threads of the channel, archived ones as well, oldest first."""
        parent = self.channel(channel).id
        return [each for each in self.channels.values() if each.is_thread and each.parent == parent]

    def thread_of(self, message: MessageId) -> Channel | None:
        """Return the thread that was started from the message."""
        thread = self.channels.get(self.message(message).id)
        return thread if thread is not None and thread.is_thread else None

    def all_ephemerals(self) -> list[Message]:
        return [each for each in self.messages.values() if each.is_ephemeral and not each.is_deleted]

    def ephemerals(self, user: UserId) -> list[Message]:
        """Return what only that person sees, oldest first."""
        person = self.user(user).id
        return [message for message in self.all_ephemerals() if message.ephemeral_to == person]

    def typing(self, channel: ChannelId) -> bool:
        """Whether people see the bot typing: for 10 s, or until its next message.

        https://discord.com/developers/docs/resources/channel#trigger-typing-indicator
        """
        room = self.channel(channel)
        posts = [message.created_at for message in room.messages.values() if message.author is self.bot]
        latest = max((at for where, at in self.typings if where == room.id), default=0.0)
        return latest > max(posts, default=0.0) and self.now() - latest < 10.0

    def commands(self, guild: GuildId | None = None) -> list[Json]:
        """Return the commands that people find: the global ones and, in a guild, its own."""
        own = [] if guild is None else self.guild_commands.get(self.guild(guild).id, [])
        return [*own, *self.global_commands]

    # --- permissions

    def parent_of(self, channel: Channel) -> Channel:
        """Return the channel that decides about permissions: the parent of a thread, otherwise itself."""
        return self.channels[channel.parent] if channel.is_thread and channel.parent is not None else channel

    def bot_may(self, channel: Channel, *names: str) -> bool:
        if channel.is_dm or channel.guild is None:
            return True
        have, wanted = self.bot_permissions_in(channel), permissions_of(*names)
        return bool(have & PERMISSIONS["ADMINISTRATOR"]) or have & wanted == wanted

    def bot_permissions_in(self, channel: Channel) -> int:
        """Return the bot's permissions: those of the channel or thread's parent, or else of the guild."""
        parent = self.parent_of(channel)
        if parent.bot_permissions is None and parent.guild is not None:
            return self.guilds[parent.guild].bot_permissions
        return permissions_of(*ALL_BOT_PERMISSIONS) if parent.bot_permissions is None else parent.bot_permissions

    def require(self, channel: Channel, *names: str) -> None:
        """Refuse with 50001 where the bot cannot see the channel, with 50013 where it lacks a permission."""
        if not self.bot_may(channel, "VIEW_CHANNEL"):
            raise DiscordError(50001)
        if not self.bot_may(channel, *names):
            raise DiscordError(50013)

    def accessible(self, channel: int) -> Channel:
        """Return a channel that the bot sees; otherwise 10003 or 50001."""
        room = self.channels.get(channel)
        if room is None or (room.guild is not None and not self.guilds[room.guild].has_bot):
            raise DiscordError(10003 if room is None else 50001)
        self.require(room)
        return room


def walk(components: Iterable[Json]) -> Iterable[Json]:
    """Yield the components and everything in them, in order."""
    for each in components:
        yield each
        yield from walk(each.get("components", ()))
        for inner in ("accessory", "component"):
            if inner in each:
                yield from walk([each[inner]])


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
