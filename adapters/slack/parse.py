"""What Slack delivers, as events of the core; pure. Names in texts are still Slack's own (`<@U1>`)."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters.shared.arrivals import Unanswered
from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack.payloads import first_text, text_at, time_of
from adapters.slack.people import with_names
from adapters.slack.words import words_of
from bot.domain.commands import spoken_command
from bot.domain.events import (
    AuthorKind,
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)

PLATFORM = "slack"
MESSAGES = ("app_mention", "message")  # the types of events that are messages, or changes to them
# Of all subtypes these are written by people and apps: https://docs.slack.dev/reference/events/message#subtypes
WRITTEN = (None, "", "file_share", "thread_broadcast", "me_message", "bot_message")
_COMINGS = ("channel_join", "channel_leave", "group_join", "group_leave", "bot_add", "bot_remove")
_SLACKBOT = "USLACKBOT"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeOpened:
    """A person opened the app's Home tab."""

    team: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashInvoked:
    """A person used a slash command; the answer goes to `response_url`, and a window may be opened."""

    command: CommandInvoked
    response_url: str
    trigger_id: str


Told = MessageReceived | MessageEdited | MessageDeleted | CommandInvoked | Unanswered
Arrived = Told | HomeOpened


def parse_event(body: Payload, *, bot_user: str, people: Set[str] = frozenset()) -> Arrived | None:
    """Return what an Events API delivery says; None where it does not concern the bot. See `parse_message`."""
    event = dict_of(body.get("event"))
    team = team_of(body)
    match event.get("type"):
        case kind if kind in MESSAGES:
            return parse_message(event, team=team, bot_user=bot_user, people=people)
        case "app_home_opened" if event.get("tab") == "home":
            return HomeOpened(team=team, user=text_at(event, "user"))
        case "agent_session_stopped":
            return _stop(event, team)
        case _:
            return None


def team_of(body: Payload) -> str:
    """Return the workspace that a delivery is for: in a shared channel, the one that has the app.

    Where the app is installed for a whole organization, the authorization names no workspace, or the organization in
    its place; that is returned where nothing else is named. https://docs.slack.dev/enterprise/organization-ready-apps
    """
    # A window that someone of another workspace has open, which shares the channel, names the app's:
    # https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
    candidates = [
        text_at(dict_of(body.get("view")), "app_installed_team_id"),
        # https://docs.slack.dev/apis/events-api/#authorizations
        *(text_at(authorization, "team_id") for authorization in dicts_of(body.get("authorizations"))),
        text_at(body, "context_team_id"),
        text_at(body, "team_id"),
        text_at(dict_of(body.get("team")), "id"),
        text_at(dict_of(body.get("user")), "team_id"),
    ]
    named = [team for team in candidates if team]
    return next((team for team in named if not team.startswith("E")), named[0] if named else "")


def event_key(team: str, channel: str, ts: str) -> str:
    """Return the key of a message, the same for each of its deliveries."""
    return f"{PLATFORM}:{team}:{channel}:{ts}"


def message_ts(key: str) -> str:
    """Return the message's timestamp in a key that `event_key` made."""
    return key.rpartition(":")[2]


def conversation_key(team: str, channel: str, thread: str) -> ConversationKey:
    """Return the conversation of a thread; without a thread, the channel as a whole."""
    return ConversationKey(platform=PLATFORM, space=team, channel=channel, thread=thread)


# --- messages --------------------------------------------------------------------------------------------------


def parse_message(
    event: Payload, *, team: str, bot_user: str, channel: str = "", people: Set[str] = frozenset()
) -> Told | None:
    """Return what a message event, or a message of a channel's history (then `channel` is given), says to the bot.

    A post through an app is the app's, unless its `user` is one of the `people`.
    """
    channel = channel or text_at(event, "channel")
    place = _Place(team=team, channel=channel, bot_user=bot_user, people=people)
    match event.get("subtype"):
        case "message_deleted":
            return _deleted(event, team=team, channel=channel)
        case "message_changed":
            return _changed(event, place)
        case subtype if subtype in WRITTEN:
            return _written(event, place)
        case _:
            return _not_written(event, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who wrote a message; an app may be listed under each of its ids."""

    id: str
    kind: AuthorKind
    name: str = ""  # "" where the message does not say it
    aliases: tuple[str, ...] = ()


def author_of(message: Payload, *, bot_user: str, people: Set[str] = frozenset()) -> Author | None:
    """Return who wrote the message; None where it does not say so.

    Both a bot's post and one that a person makes through an app carry `user`, `bot_id` and `app_id`, and nothing in
    the message tells them apart (NousResearch/hermes-agent#101283): `people` are the users who are known to be people.
    """
    user, bot = text_at(message, "user"), text_at(message, "bot_id")
    is_by_app = bool(bot) or message.get("subtype") == "bot_message"
    if user and user == bot_user:
        return Author(id=user, kind="self")
    if is_by_app and user not in people:
        ids = tuple(each for each in (text_at(message, "app_id"), bot, user) if each)
        name = text_at(message, "username") or text_at(dict_of(message.get("bot_profile")), "name")
        return Author(id=ids[0], kind="app", name=name, aliases=ids[1:]) if ids else None
    name = first_text(dict_of(message.get("user_profile")), "display_name", "real_name", "name")
    return Author(id=user, kind="person", name=name) if user else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a message was written, and who is who there."""

    team: str
    channel: str
    bot_user: str
    people: Set[str]

    def key(self, ts: str) -> str:
        return event_key(self.team, self.channel, ts)


def _written(event: Payload, place: _Place) -> Told | None:
    ts = text_at(event, "ts")
    author = author_of(event, bot_user=place.bot_user, people=place.people)
    if not ts or (author is not None and author.kind == "self"):
        return None
    message = _message(event, place, author) if author is not None and author.id != _SLACKBOT else None
    if message is None:
        return _not_written(event, place)
    if not message.is_addressed and not message.has_earlier:
        return None  # said in the channel, to nobody in particular
    edited_at = text_at(dict_of(event.get("edited")), "ts")
    if edited_at and event.get("type") == "app_mention":  # Slack sends a mention again when it is edited
        return _edited(message, edited_at, place)
    return _command(message, place) or message


def _edited(message: MessageReceived, edited_at: str, place: _Place) -> MessageEdited | Unanswered | None:
    """Return the change; a message that has become a command gets no answer, for its author would send it again."""
    if _command(message, place):
        # A key of its own: the message as it was may still have to be answered.
        key = f"{message.event_key} {edited_at}"
        return Unanswered(event_key=key, reason="an edit made it a command") if message.is_addressed else None
    return MessageEdited(message=replace(message, edited_at=time_of(edited_at) or datetime.now(UTC)))


def _not_written(event: Payload, place: _Place) -> Unanswered | None:
    ts = text_at(event, "ts")
    if not ts or event.get("subtype") in _COMINGS or not _mentions(words_of(event).text, place.bot_user):
        return None
    author = author_of(event, bot_user=place.bot_user)
    if author is not None and author.kind == "self":
        return None
    if author is not None and author.id == _SLACKBOT:
        reason = "Slackbot wrote it"
    elif event.get("subtype") not in WRITTEN:
        reason = f"a system message ({text_at(event, 'subtype')})"
    else:
        reason = "it names no author"
    return Unanswered(event_key=place.key(ts), reason=reason)


def _message(event: Payload, place: _Place, author: Author) -> MessageReceived:
    """Return the message of an author other than the bot, whether it is for the bot or not."""
    ts = text_at(event, "ts")
    root = text_at(event, "thread_ts") or ts
    is_direct = place.channel.startswith("D")
    words = words_of(event, bot_user=place.bot_user)
    is_mention = event.get("type") == "app_mention" or _mentions(words.text, place.bot_user)
    is_addressed = is_mention or (is_direct and author.kind == "person")
    others = None if is_addressed else _people_at_the_beginning(words.text)
    return MessageReceived(
        conversation=conversation_key(place.team, place.channel, root),
        event_key=place.key(ts),
        author_id=author.id,
        author_name=author.name or author.id,
        text=words.text,
        sent_at=time_of(ts) or datetime.now(UTC),
        is_shared=not is_direct,
        is_addressed=is_addressed,
        is_talk=not is_addressed and (author.kind == "app" or others is not None),
        talks_to=others or (),
        author_kind=author.kind,
        author_aliases=author.aliases,
        has_earlier=root != ts,
        begun_at=time_of(root) if root != ts else None,
        files=words.files,
        quoted=words.quoted,
        unread=words.unread,
    )


def _command(message: MessageReceived, place: _Place) -> CommandInvoked | None:
    """Return the command that a person's message is."""
    said = re.sub(rf"<@{re.escape(place.bot_user)}(?:\|[^>]*)?>", " ", message.text)
    text = with_names(said, {}, "")  # arguments as they were typed: Slack escapes `<` and `&`
    command = spoken_command(text.split(), is_addressed=message.is_addressed, text=text)
    if command is None or message.author_kind != "person":
        return None
    # A command that starts a thread covers the channel: its own thread is still empty.
    is_channel_wide = not message.has_earlier
    thread = "" if is_channel_wide else message.conversation.thread
    return CommandInvoked(
        conversation=conversation_key(place.team, place.channel, thread),
        event_key=message.event_key,
        author_id=message.author_id,
        name=command[0],
        argument=command[1],
        is_channel_wide=is_channel_wide,
        is_addressed=message.is_addressed,
    )


def _changed(event: Payload, place: _Place) -> MessageEdited | MessageDeleted | Unanswered | None:
    message, before = dict_of(event.get("message")), dict_of(event.get("previous_message"))
    ts = text_at(message, "ts")
    if message.get("subtype") == "tombstone":  # what remains of a deleted message with replies
        thread = text_at(message, "thread_ts") or ts
        return MessageDeleted(conversation=conversation_key(place.team, place.channel, thread), event_key=place.key(ts))
    author = author_of(message, bot_user=place.bot_user, people=place.people)
    if not ts or author is None or author.kind == "self" or message.get("subtype") not in WRITTEN:
        return None
    edited_at = text_at(dict_of(message.get("edited")), "ts")
    if not edited_at or words_of(message).written == words_of(before).written:
        return None  # a link was unfolded, a reply was counted
    changed = _message(message, place, author)
    if author.kind == "app" and not changed.is_addressed:
        return None  # other apps change their messages all the time
    return _edited(changed, edited_at, place)


def _deleted(event: Payload, *, team: str, channel: str) -> MessageDeleted | None:
    ts = text_at(event, "deleted_ts")
    if not ts:
        return None
    root = text_at(dict_of(event.get("previous_message")), "thread_ts") or ts
    return MessageDeleted(conversation=conversation_key(team, channel, root), event_key=event_key(team, channel, ts))


def _mentions(text: str, user: str) -> bool:
    return bool(user) and re.search(rf"<@{re.escape(user)}(?:\|[^>]*)?>", text) is not None


# What may stand in front of the people whom a message is for: signs, marks such as those of bold text, and emoji.
_PREFACE = r"(?::[\w+'-]+:|[^\w<]|_)*+"


def _people_at_the_beginning(text: str) -> tuple[str, ...] | None:
    """Return the ids of the people that the words begin with, none of groups; None where they do not begin so."""
    people = r"<(?:@\w+|!subteam\^\w+|!here|!channel|!everyone)(?:\|[^>]*)?>"
    found = re.match(rf"{_PREFACE}(?P<people>(?:{people}[\s,]*+)+)", text)
    return tuple(re.findall(r"<@(\w+)", found["people"])) if found else None


def _stop(event: Payload, team: str) -> CommandInvoked:
    # https://docs.slack.dev/reference/events/agent_session_stopped/
    channel, at = text_at(event, "channel"), text_at(event, "event_ts")
    return CommandInvoked(
        conversation=conversation_key(team, channel, text_at(event, "thread_ts")),
        event_key=f"{event_key(team, channel, at)}:stop",
        author_id=text_at(event, "user"),
        name="stop",
    )


# --- slash commands ----------------------------------------------------------------------------------------------


def parse_slash(body: Payload, *, prefix: str) -> SlashInvoked:
    """Return the slash command of a delivery; it covers the channel, for Slack runs none inside a thread."""
    team, channel, user = text_at(body, "team_id"), text_at(body, "channel_id"), text_at(body, "user_id")
    name = text_at(body, "command").removeprefix("/").removeprefix(prefix)
    command = CommandInvoked(
        conversation=conversation_key(team, channel, ""),
        event_key=f"{PLATFORM}:{team}:{channel}:{text_at(body, 'trigger_id')}",
        author_id=user,
        name=name,
        argument=text_at(body, "text").strip(),
        is_channel_wide=True,
    )
    return SlashInvoked(
        command=command, response_url=text_at(body, "response_url"), trigger_id=text_at(body, "trigger_id")
    )
