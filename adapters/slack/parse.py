"""What Slack delivers, as events of the core; pure. Names in texts are still Slack's own (`<@U1>`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from bot.domain.commands import spoken_command
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    SharedFile,
)

PLATFORM = "slack"
# Of all subtypes these are written by people: https://docs.slack.dev/reference/events/message#subtypes
_WRITTEN = (None, "", "file_share", "thread_broadcast", "me_message")
_SLACKBOT = "USLACKBOT"

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeOpened:
    """A person opened the app's Home tab."""

    team: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashInvoked:
    """A person used a slash command; the answer goes to `response_url`."""

    command: CommandInvoked
    response_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A person pressed a button, chose an option, or used a shortcut (`action` is its callback id)."""

    team: str
    channel: str  # empty in the Home tab
    thread: str  # root of the thread that the message with the button belongs to
    message_ts: str
    user: str
    action: str
    value: str
    trigger_id: str
    response_url: str  # empty in views
    view_id: str
    view_note: str  # private_metadata of the view
    key: str  # the same for each delivery of one press


Arrived = MessageReceived | MessageEdited | MessageDeleted | CommandInvoked | HomeOpened


def parse_event(body: Payload, *, bot_user: str) -> Arrived | None:
    """Return what an Events API delivery says; None where it does not concern the bot."""
    event = _dict(body.get("event"))
    team = team_of(body)
    match event.get("type"):
        case "app_mention" | "message":
            return parse_message(event, team=team, bot_user=bot_user)
        case "app_home_opened" if event.get("tab") == "home":
            return HomeOpened(team=team, user=_text(event, "user"))
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
        _text(_dict(body.get("view")), "app_installed_team_id"),
        # https://docs.slack.dev/apis/events-api/#authorizations
        *(_text(authorization, "team_id") for authorization in _dicts(body.get("authorizations"))),
        _text(body, "context_team_id"),
        _text(body, "team_id"),
        _text(_dict(body.get("team")), "id"),
        _text(_dict(body.get("user")), "team_id"),
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
    event: Payload, *, team: str, bot_user: str, channel: str = ""
) -> MessageReceived | MessageEdited | MessageDeleted | CommandInvoked | None:
    """Return what a message event, or a message of a channel's history (then `channel` is given), says to the bot."""
    channel = channel or _text(event, "channel")
    match event.get("subtype"):
        case "message_deleted":
            return _deleted(event, team=team, channel=channel)
        case "message_changed":
            return _changed(event, team=team, channel=channel, bot_user=bot_user)
        case subtype if subtype in _WRITTEN:
            return _written(event, team=team, channel=channel, bot_user=bot_user)
        case _:
            return None


def _written(event: Payload, *, team: str, channel: str, bot_user: str) -> MessageReceived | CommandInvoked | None:
    user, ts, text = _text(event, "user"), _text(event, "ts"), _text(event, "text")
    if not user or not ts or user in (bot_user, _SLACKBOT) or event.get("bot_id"):
        return None
    root = _text(event, "thread_ts") or ts
    is_direct = channel.startswith("D")
    is_addressed = is_direct or event.get("type") == "app_mention" or _mentions(text, bot_user)
    if not is_addressed and (root == ts or _is_to_someone_else(text)):
        return None
    key = event_key(team, channel, ts)
    if command := _command(text, bot_user=bot_user, is_addressed=is_addressed):
        name, argument = command
        # A command that starts a thread covers the channel: its own thread is still empty.
        is_channel_wide = root == ts
        return CommandInvoked(
            conversation=conversation_key(team, channel, "" if is_channel_wide else root),
            event_key=key,
            author_id=user,
            name=name,
            argument=argument,
            is_channel_wide=is_channel_wide,
            is_addressed=is_addressed,
        )
    return MessageReceived(
        conversation=conversation_key(team, channel, root),
        event_key=key,
        author_id=user,
        author_name=user,
        text=text,
        sent_at=_time(ts),
        is_shared=not is_direct,
        is_addressed=is_addressed,
        files=tuple(map(_file, _dicts(event.get("files")))),
    )


def _changed(event: Payload, *, team: str, channel: str, bot_user: str) -> MessageEdited | MessageDeleted | None:
    message, before = _dict(event.get("message")), _dict(event.get("previous_message"))
    ts = _text(message, "ts")
    if message.get("subtype") == "tombstone":  # what remains of a deleted message with replies
        return MessageDeleted(
            conversation=conversation_key(team, channel, _text(message, "thread_ts") or ts),
            event_key=event_key(team, channel, ts),
        )
    edited_at = _text(_dict(message.get("edited")), "ts")
    if not edited_at or message.get("text") == before.get("text"):
        return None  # a link was unfolded, a reply was counted
    written = _written({**message, "type": "app_mention"}, team=team, channel=channel, bot_user=bot_user)
    if not isinstance(written, MessageReceived):
        return None
    return MessageEdited(
        message=MessageReceived(
            conversation=written.conversation,
            event_key=written.event_key,
            author_id=written.author_id,
            author_name=written.author_name,
            text=written.text,
            sent_at=written.sent_at,
            is_shared=written.is_shared,
            edited_at=_time(edited_at),
            files=written.files,
        )
    )


def _deleted(event: Payload, *, team: str, channel: str) -> MessageDeleted | None:
    ts = _text(event, "deleted_ts")
    if not ts:
        return None
    root = _text(_dict(event.get("previous_message")), "thread_ts") or ts
    return MessageDeleted(conversation=conversation_key(team, channel, root), event_key=event_key(team, channel, ts))


def _mentions(text: str, user: str) -> bool:
    return bool(user) and re.search(rf"<@{re.escape(user)}(?:\|[^>]*)?>", text) is not None


def _is_to_someone_else(text: str) -> bool:
    return re.match(r"\s*<@\w+(?:\|[^>]*)?>", text) is not None


def _command(text: str, *, bot_user: str, is_addressed: bool) -> tuple[str, str] | None:
    words = re.sub(rf"<@{re.escape(bot_user)}(?:\|[^>]*)?>", " ", text).split()
    return spoken_command(words, is_addressed=is_addressed)


def _stop(event: Payload, team: str) -> CommandInvoked:
    # https://docs.slack.dev/reference/events/agent_session_stopped/
    channel, at = _text(event, "channel"), _text(event, "event_ts")
    return CommandInvoked(
        conversation=conversation_key(team, channel, _text(event, "thread_ts")),
        event_key=f"{event_key(team, channel, at)}:stop",
        author_id=_text(event, "user"),
        name="stop",
    )


def _file(file: Payload) -> SharedFile:
    size = file.get("size")
    url = _text(file, "url_private_download") or _text(file, "url_private")
    return SharedFile(
        name=_text(file, "name") or _text(file, "title") or "file",
        mime_type=_text(file, "mimetype"),
        size=size if isinstance(size, int) else 0,
        reference=f"{_text(file, 'id')} {url}",
    )


# --- slash commands, buttons, shortcuts ----------------------------------------------------------------------------


def parse_slash(body: Payload, *, prefix: str) -> SlashInvoked:
    """Return the slash command of a delivery; it covers the channel, for Slack runs none inside a thread."""
    team, channel, user = _text(body, "team_id"), _text(body, "channel_id"), _text(body, "user_id")
    name = _text(body, "command").removeprefix("/").removeprefix(prefix)
    command = CommandInvoked(
        conversation=conversation_key(team, channel, ""),
        event_key=f"{PLATFORM}:{team}:{channel}:{_text(body, 'trigger_id')}",
        author_id=user,
        name=name,
        argument=_text(body, "text").strip(),
        is_channel_wide=True,
    )
    return SlashInvoked(command=command, response_url=_text(body, "response_url"))


def parse_press(body: Payload) -> Pressed | None:
    """Return the pressed button, chosen option or used shortcut of an interaction; None for any other interaction."""
    action: Payload = {}
    if body.get("type") == "block_actions":
        actions = _dicts(body.get("actions"))
        action = actions[0] if actions else {}
    elif body.get("type") != "message_action":
        return None
    message, container, view = _dict(body.get("message")), _dict(body.get("container")), _dict(body.get("view"))
    ts = _text(message, "ts") or _text(container, "message_ts")
    user = _text(_dict(body.get("user")), "id")
    name = _text(action, "action_id") or _text(body, "callback_id")
    return Pressed(
        team=team_of(body),
        channel=_text(_dict(body.get("channel")), "id") or _text(container, "channel_id"),
        thread=_text(message, "thread_ts") or _text(container, "thread_ts") or ts,
        message_ts=ts,
        user=user,
        action=name,
        value=_text(action, "value") or _text(_dict(action.get("selected_option")), "value"),
        trigger_id=_text(body, "trigger_id"),
        response_url=_text(body, "response_url"),
        view_id=_text(view, "id"),
        view_note=_text(view, "private_metadata"),
        key=f"{user}:{name}:{_text(action, 'action_ts') or _text(body, 'action_ts') or _text(body, 'trigger_id')}",
    )


def json_value(text: str) -> dict[str, Any]:
    """Return the JSON object in a button's value or a view's note; {} where there is none."""
    with suppress(ValueError):
        return _dict(json.loads(text))
    return {}


# --- the payloads' shapes --------------------------------------------------------------------------------------


def _text(payload: Payload, name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _dicts(value: object) -> Sequence[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _time(ts: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
