"""What exists in the loopback Slack: teams, people, conversations, messages, tokens, and a clock that tests move."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from tests.fakes.slack.blocks import readable_text

Json = dict[str, Any]
ChannelKind = Literal["channel", "group", "im", "mpim"]

APP_ID = "A1"
STREAM_LIFE_S = 300.0  # https://github.com/slackapi/node-slack-sdk/issues/2702: closed by Slack after some 5 minutes
ALL_BOT_SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "reactions:write",
    "usergroups:read",
    "users:read",
)


TOKENS = re.compile(r"(<(?:[@#!][^<>]+|https?://[^<>\s]+|mailto:[^<>\s]+)>|https?://[^\s<>]+)")


def escaped(text: str) -> str:
    """Return what a person typed as Slack stores it: `&`, `<` and `>` as entities, links in angle brackets.

    Mentions and links that are in angle brackets already stay: https://docs.slack.dev/messaging/formatting-message-text
    """
    return "".join(_stored(part) for part in TOKENS.split(text))


def _stored(part: str) -> str:
    if TOKENS.fullmatch(part) and part.startswith("<"):
        return part
    safe = part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<{safe}>" if TOKENS.fullmatch(part) else safe


class SlackError(Exception):
    """Slack's refusal of a call: its error code and what else the answer carries."""

    def __init__(self, code: str, **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.extra = extra


@dataclass(kw_only=True)
class Team:
    id: str
    bot_user: str
    bot_id: str
    token: str
    enterprise: str | None = None
    is_org_wide: bool = False  # the app is installed for the whole enterprise
    is_installed: bool = True


@dataclass(kw_only=True)
class User:
    id: str
    name: str
    display_name: str
    real_name: str
    team: str
    is_bot: bool = False
    is_stranger: bool = False  # of another organisation, whom the app may not look up
    is_restricted: bool = False  # a guest
    is_ultra_restricted: bool = False  # a guest of one channel


@dataclass(kw_only=True)
class UserGroup:
    """https://docs.slack.dev/reference/objects/usergroup-object"""

    id: str
    team: str
    users: list[str]


@dataclass(kw_only=True)
class Token:
    """A token and what Slack knows of it; `expires_at` is in seconds of the fake's clock."""

    value: str
    team: str
    kind: Literal["bot", "app"]
    scopes: tuple[str, ...]
    is_revoked: bool = False
    expires_at: float | None = None


@dataclass(kw_only=True)
class StoredFile:
    id: str
    team: str
    name: str
    content: bytes
    mimetype: str
    user: str
    title: str = ""
    declared_length: int = 0
    is_uploaded: bool = True
    is_shared: bool = False
    elsewhere: str = ""  # the address of a file that is not kept by Slack
    is_hidden: bool = False  # messages name its id alone: https://docs.slack.dev/apis/slack-connect/
    clip: Json = field(default_factory=Json)  # what a voice clip has besides, its transcript: soxtoby/SlackNet#167


@dataclass(eq=False, kw_only=True)
class Message:
    """A message as it is stored; `edits` counts the changes that were made to it after it was posted."""

    channel: str
    ts: str
    user: str
    team: str
    text: str = ""
    blocks: list[Json] = field(default_factory=list[Json])
    attachments: list[Json] = field(default_factory=list[Json])
    metadata: Json | None = None
    files: list[StoredFile] = field(default_factory=list[StoredFile])
    thread_ts: str | None = None
    bot_id: str | None = None
    app: str = ""  # what another app that posted it is called
    is_integration: bool = False  # a webhook or a workflow: posted under a name, by no user
    is_broadcast: bool = False
    edits: int = 0
    edited: Json | None = None
    streamed: str | None = None  # the text that came through a stream; None: it was no stream, or was replaced
    chunks: list[Json] = field(default_factory=list[Json])  # the other chunks of the stream
    is_streaming: bool = False
    stream_started_at: float = 0.0
    stream_ended_by: str = ""  # "app", "user", "expiry"
    reactions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ephemeral_to: str | None = None

    @property
    def shown(self) -> str:
        """The text that a person reads: the streamed text, then that of the blocks; without them the plain text."""
        parts = [self.streamed or "", readable_text(self.blocks)]
        return "\n\n".join(part for part in parts if part) or self.text

    @property
    def root(self) -> str:
        return self.thread_ts or self.ts


@dataclass(kw_only=True)
class Channel:
    id: str
    name: str
    kind: ChannelKind
    team: str
    members: set[str]
    is_archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    deleted: list[Message] = field(default_factory=list[Message])
    replies: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])  # by their root

    def thread(self, root: str) -> list[Message]:
        """Return the replies of the thread, oldest first."""
        return list(self.replies.get(root, ()))


@dataclass(kw_only=True)
class View:
    id: str
    type: Literal["modal", "home"]
    user: str
    team: str
    content: Json
    hash: str
    is_open: bool = True
    root: str = ""
    errors: Json = field(default_factory=Json)  # of its last submission, by block_id


@dataclass(kw_only=True)
class Trigger:
    """https://docs.slack.dev/interactivity/handling-user-interaction: valid once and for 3 s."""

    user: str
    team: str
    made_at: float
    is_used: bool = False


@dataclass(kw_only=True)
class ResponseUrl:
    """https://docs.slack.dev/interactivity/handling-user-interaction: 5 uses in 30 minutes."""

    channel: str
    user: str
    made_at: float
    message_ts: str | None = None
    thread_ts: str | None = None
    uses: int = 0


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that arrived at the Web API; `at` is in seconds of time.monotonic()."""

    method: str
    arguments: Json
    at: float
    team: str
    answer: Json
    status: int = 200

    @property
    def ok(self) -> bool:
        return self.status == 200 and bool(self.answer.get("ok"))


class World:
    """The state of the loopback Slack, and the waiting for its changes."""

    def __init__(self) -> None:
        self.app_id = APP_ID
        self.signing_secret = "signing-test"
        self.app_token = "xapp-test"
        self.teams: dict[str, Team] = {}
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.tokens: dict[str, Token] = {}
        self.user_groups: dict[str, UserGroup] = {}
        self.files: dict[str, StoredFile] = {}
        self.all_views: dict[str, View] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.ephemeral_messages: list[Message] = []
        self.sessions: dict[tuple[str, str], str] = {}  # (channel, root ts) -> agent session status
        self.session_titles: dict[tuple[str, str], str] = {}
        self.statuses: dict[tuple[str, str], str] = {}  # (channel, root ts) -> assistant status text
        self.calls: list[Call] = []
        self.downloads: list[str] = []  # ids of the files that were asked for
        self.url = ""
        self.stream_life_s = STREAM_LIFE_S
        self._streams: list[Message] = []  # those that are open
        self._clock_offset_s = 0.0
        self._last_ts = 0
        self._ids = count(1)
        self._changed = asyncio.Event()
        self.add_team("T1", token="xoxb-test", bot_user="UBOT", bot_id="B1")
        self.tokens[self.app_token] = Token(value=self.app_token, team="T1", kind="app", scopes=("connections:write",))

    # --- time and change

    def now(self) -> float:
        """Return the fake's wall clock, in seconds since the epoch."""
        return time.time() + self._clock_offset_s

    def advance(self, seconds: float) -> None:
        """Let that much time pass on the fake's clock: streams, tokens, triggers and response_urls grow old."""
        self._clock_offset_s += seconds
        self.expire_streams()
        self.touch()

    def touch(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """Return the condition's first true value; it is asked again after each change.

        Raises:
            TimeoutError: It did not become true in time; the message tells the last calls.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            changed = self._changed
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                if value := condition():
                    return value
                raise TimeoutError(f"not within {timeout_s} s; {self.describe()}") from None
        return value

    def describe(self) -> str:
        """Return the last calls and messages in one text, for the message of a failed wait."""
        calls = [f"{call.method}:{'ok' if call.ok else call.answer.get('error')}" for call in self.calls[-12:]]
        shown = [
            f"{channel.id}/{message.root} {message.user}: {message.shown[:80]!r}"
            for channel in self.channels.values()
            for message in list(channel.messages.values())[-6:]
        ]
        return f"last calls: {calls}; last messages: {shown}"

    def next_ts(self) -> str:
        """Return a message timestamp; each is greater than the one before."""
        self._last_ts = max(self._last_ts + 1, int(self.now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def next_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._ids):04d}"

    # --- what exists

    def add_team(
        self,
        team: str,
        *,
        token: str,
        bot_user: str = "UBOT",
        bot_id: str = "B1",
        enterprise: str | None = None,
        scopes: tuple[str, ...] = ALL_BOT_SCOPES,
    ) -> Team:
        """Add a workspace in which the app is installed with that bot token."""
        self.teams[team] = Team(id=team, bot_user=bot_user, bot_id=bot_id, token=token, enterprise=enterprise)
        self.users[bot_user] = User(
            id=bot_user, name="toolbridge", display_name="", real_name="Toolbridge", team=team, is_bot=True
        )
        self.add_token(token, team=team, scopes=scopes)
        return self.teams[team]

    def add_token(
        self, value: str, *, team: str, scopes: tuple[str, ...] = ALL_BOT_SCOPES, expires_at: float | None = None
    ) -> Token:
        self.tokens[value] = Token(value=value, team=team, kind="bot", scopes=scopes, expires_at=expires_at)
        return self.tokens[value]

    def add_user(
        self,
        user: str,
        *,
        name: str = "",
        display_name: str = "",
        real_name: str = "",
        team: str = "T1",
        is_bot: bool = False,
        is_stranger: bool = False,
        is_restricted: bool = False,
        is_ultra_restricted: bool = False,
    ) -> User:
        """Add a person, or another app's bot; a stranger comes by Slack Connect and cannot be looked up."""
        name = name or user.lower()
        self.users[user] = User(
            id=user,
            name=name,
            display_name=display_name,
            real_name=real_name or name.title(),
            team=team,
            is_bot=is_bot,
            is_stranger=is_stranger,
            is_restricted=is_restricted,
            is_ultra_restricted=is_ultra_restricted,
        )
        return self.users[user]

    def add_user_group(self, group: str, *users: str, team: str = "T1") -> UserGroup:
        """Add a user group; its `users` may be changed."""
        self.user_groups[group] = UserGroup(id=group, team=team, users=list(users))
        return self.user_groups[group]

    def workspace_of(self, person: User, channel: str | None = None) -> Team:
        """Return the workspace of the app's that the person acts in: of a stranger, the one that shares the channel.

        https://docs.slack.dev/apis/slack-connect
        """
        if person.team in self.teams:
            return self.teams[person.team]
        return self.teams[self.channels[channel].team if channel else "T1"]

    def add_channel(
        self,
        channel: str,
        *,
        members: list[str] | tuple[str, ...] = (),
        bot_is_member: bool = True,
        name: str = "",
        is_private: bool = False,
        team: str = "T1",
        kind: ChannelKind | None = None,
    ) -> Channel:
        """Add a channel; `is_private` makes it one of message.groups."""
        everybody = {*members, *([self.teams[team].bot_user] if bot_is_member else [])}
        self.channels[channel] = Channel(
            id=channel,
            name=name or channel.lower(),
            kind=kind or ("group" if is_private else "channel"),
            team=team,
            members=everybody,
        )
        return self.channels[channel]

    def dm(self, user: User | str) -> str:
        """Return the channel id of the direct messages between that person and the bot; it is made if need be."""
        person = self.user(user)
        bot = self.teams[person.team].bot_user
        for channel in self.channels.values():
            if channel.kind == "im" and channel.members == {person.id, bot}:
                return channel.id
        return self.add_channel(self.next_id("D"), members=[person.id], team=person.team, kind="im", name="").id

    def add_file(
        self, name: str, content: bytes, *, mimetype: str = "text/plain", user: str = "", team: str = "T1"
    ) -> StoredFile:
        """Add a file that a person can attach to what is said."""
        stored = StoredFile(
            id=self.next_id("F"), team=team, name=name, content=content, mimetype=mimetype, user=user, title=name
        )
        self.files[stored.id] = stored
        return stored

    def user(self, user: User | str) -> User:
        return user if isinstance(user, User) else self.users[user]

    # --- what people see

    def visible(self, channel: str, thread_ts: str | None = None) -> list[Message]:
        """Return the messages of the channel's top level, or those of the thread with its root, oldest first."""
        self.expire_streams()
        room = self.channels[channel]
        if thread_ts is None:
            found = [
                message for message in room.messages.values() if message.root == message.ts or message.is_broadcast
            ]
        else:
            root = room.messages.get(thread_ts)
            found = [*([root] if root else []), *room.thread(thread_ts)]
        return sorted(found, key=lambda message: message.ts)

    def bot_messages(self, channel: str, thread_ts: str | None = None) -> list[Message]:
        """Return what the bot posted there, oldest first."""
        return [message for message in self.visible(channel, thread_ts) if self.is_own(message)]

    def is_own(self, message: Message) -> bool:
        """Tell whether the app's bot posted it."""
        return message.bot_id == self.teams[self.channels[message.channel].team].bot_id

    def message(self, channel: str, ts: str) -> Message:
        """Return a message, ephemeral ones included."""
        stored = self.channels[channel].messages.get(ts)
        found = stored or next(
            (each for each in self.ephemeral_messages if (each.channel, each.ts) == (channel, ts)), None
        )
        assert found is not None, f"there is no message {ts} in {channel}"
        return found

    def ephemerals(self, user: User | str) -> list[Message]:
        """Return the messages that only this person sees, oldest first."""
        person = self.user(user).id
        return [message for message in self.ephemeral_messages if message.ephemeral_to == person]

    def home(self, user: User | str) -> Json | None:
        """Return the view in the person's Home tab."""
        found = self.home_view(self.user(user).id)
        return found.content if found else None

    def home_view(self, user: str) -> View | None:
        return next((view for view in self.all_views.values() if view.type == "home" and view.user == user), None)

    def views(self, user: User | str) -> list[View]:
        """Return the person's open modals, the topmost last."""
        person = self.user(user).id
        return [
            view for view in self.all_views.values() if view.type == "modal" and view.user == person and view.is_open
        ]

    def reactions(self, channel: str, ts: str) -> list[str]:
        """Return the names of the reactions on a message."""
        return [name for name, users in self.message(channel, ts).reactions.items() if users]

    def status(self, channel: str, thread_ts: str) -> str:
        """Return what is shown as the app's state: the agent session's status, else the assistant status text."""
        return self.sessions.get((channel, thread_ts)) or self.statuses.get((channel, thread_ts), "")

    # --- the shapes that the Web API and the events share

    def expire_streams(self) -> None:
        """End the streams that have reached their age."""
        now = self.now()
        for message in [each for each in self._streams if now - each.stream_started_at >= self.stream_life_s]:
            self.end_stream(message, by="expiry")

    def end_stream(self, message: Message, *, by: str) -> None:
        message.is_streaming = False
        message.stream_ended_by = by
        self._streams.remove(message)

    def store(self, message: Message) -> Message:
        """Add a message; a status text of its thread is gone when the app posts.

        https://docs.slack.dev/reference/methods/assistant.threads.setStatus
        """
        if message.ephemeral_to:
            self.ephemeral_messages.append(message)
        else:
            room = self.channels[message.channel]
            room.messages[message.ts] = message
            if message.root != message.ts:
                room.replies.setdefault(message.root, []).append(message)
            if message.is_streaming:
                self._streams.append(message)
            if message.bot_id:
                self.statuses.pop((message.channel, message.root), None)
        self.touch()
        return message

    def remove(self, message: Message) -> None:
        """Take a message away; the replies to it stay."""
        if message.ephemeral_to:
            self.ephemeral_messages.remove(message)
        else:
            room = self.channels[message.channel]
            room.deleted.append(room.messages.pop(message.ts))
            if message.root != message.ts:
                room.replies[message.root].remove(message)
        self.touch()

    def new_trigger(self, user: User, *, team: str = "") -> str:
        trigger = self.next_id("trigger.")
        self.triggers[trigger] = Trigger(user=user.id, team=team or user.team, made_at=self.now())
        return trigger

    def new_response_url(
        self, channel: str, user: str, *, message_ts: str | None = None, thread_ts: str | None = None
    ) -> str:
        key = self.next_id("hook")
        self.response_urls[key] = ResponseUrl(
            channel=channel, user=user, made_at=self.now(), message_ts=message_ts, thread_ts=thread_ts
        )
        return f"{self.url}/hooks/response/{key}"

    def message_json(self, message: Message, *, with_metadata: bool = False) -> Json:
        """Return a message as conversations.history and events show it."""
        shape: Json = {"type": "message", "ts": message.ts, "team": message.team}
        shape["text"] = message.text if message.bot_id else escaped(message.text)
        if message.streamed is not None:
            shape["text"] = message.streamed
        shape |= self._author_json(message)
        if message.blocks:
            shape["blocks"] = message.blocks
        if message.attachments:
            shape["attachments"] = message.attachments
        if message.files:
            shape["files"] = [
                {"id": stored.id, "mode": "file_access", "file_access": "check_file_info"}
                if stored.is_hidden
                else self.file_json(stored)
                for stored in message.files
            ]
            if not message.bot_id:
                shape["subtype"] = "file_share"
        if message.is_broadcast:
            shape["subtype"] = "thread_broadcast"
        if message.edited:
            shape["edited"] = message.edited
        if message.reactions:
            shape["reactions"] = [
                {"name": name, "users": users, "count": len(users)}
                for name, users in message.reactions.items()
                if users
            ]
        if with_metadata and message.metadata:
            shape["metadata"] = message.metadata
        return shape | self._thread_json(message)

    def _author_json(self, message: Message) -> Json:
        """https://docs.slack.dev/reference/events/message/bot_message; people of Slack Connect bring their profile."""
        if message.bot_id:
            app, name = (self.app_id, "Toolbridge") if self.is_own(message) else ("AOTHER", message.app or "Other")
            profile = {"id": message.bot_id, "app_id": app, "name": name, "user_id": message.user}
            shape: Json = {"bot_id": message.bot_id, "app_id": app}
            if message.is_integration:
                return shape | {"subtype": "bot_message", "username": name}
            return shape | {"user": message.user, "bot_profile": profile}
        shape = {"user": message.user, "client_msg_id": f"client-{message.ts}"}
        person = self.users[message.user]
        if person.is_stranger:
            profile = {
                "display_name": person.display_name,
                "real_name": person.real_name,
                "name": person.name,
                "team": person.team,
                "is_restricted": person.is_restricted,
                "is_ultra_restricted": person.is_ultra_restricted,
            }
            shape |= {"user_team": person.team, "source_team": person.team, "user_profile": profile}
        return shape

    def _thread_json(self, message: Message) -> Json:
        room = self.channels[message.channel]
        if message.thread_ts and message.thread_ts != message.ts:
            parent = room.messages.get(message.thread_ts)
            return {"thread_ts": message.thread_ts} | ({"parent_user_id": parent.user} if parent else {})
        if replies := room.thread(message.ts):
            return {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
        return {}

    def file_json(self, stored: StoredFile) -> Json:
        url = stored.elsewhere or f"{self.url}/files-pri/{stored.team}-{stored.id}/{stored.name}"
        return {
            "id": stored.id,
            "name": stored.name,
            "title": stored.title,
            "mimetype": stored.mimetype,
            "filetype": stored.name.rpartition(".")[2],
            "size": len(stored.content),
            "user": stored.user,
            "mode": "hosted",
            "is_external": bool(stored.elsewhere),
            "url_private": url,
            "url_private_download": url,
            **stored.clip,
        }
