"""The methods that read conversations and people, and that set reactions and states.

The rules of a method are those of its page, https://docs.slack.dev/reference/methods/METHOD.
"""

from __future__ import annotations

import base64
import re

from tests.fakes.slack.web_api import SESSION_STATUSES, Arguments, Methods, WebApi
from tests.fakes.slack.world import Channel, Json, Message, SlackError, Token

HISTORY_SCOPES = {"channel": "channels:history", "group": "groups:history", "im": "im:history", "mpim": "mpim:history"}
METHODS = Methods()


# --- conversations


@METHODS.add("conversations.history")
def conversations_history(api: WebApi, arguments: Arguments, token: Token) -> Json:
    """Top-level messages, newest first; replies are not among them unless they were broadcast."""
    channel = _readable(api, arguments, token)
    found = _between(arguments, api.world.visible(channel.id))
    newest_first = sorted(found, key=lambda message: message.ts, reverse=True)
    page, rest = _page(arguments, newest_first, default=100, most=api.max_history_items, newest_first=True)
    return _messages(api, arguments, page, rest)


@METHODS.add("conversations.replies")
def conversations_replies(api: WebApi, arguments: Arguments, token: Token) -> Json:
    """A thread, oldest first, whatever the bounds: its end comes along only with all of it (Tracer-Cloud/opensre#4026).

    The parent leads every page; `limit` counts the replies beside it.
    """
    channel = _readable(api, arguments, token)
    parent = channel.messages.get(arguments.required("ts"))
    if parent is None:
        raise SlackError("thread_not_found")
    replies = _between(arguments, channel.thread(parent.ts))
    replies.sort(key=lambda message: message.ts)
    page, rest = _page(arguments, replies, default=1_000, most=api.max_history_items, newest_first=False)
    return _messages(api, arguments, [parent, *page], rest)


@METHODS.add("conversations.open", "im:write")
def conversations_open(api: WebApi, arguments: Arguments, token: Token) -> Json:
    if channel := arguments.text("channel"):
        return {"channel": {"id": api.find_channel(channel, token).id}}
    users = arguments.required("users").split(",")
    if any(user not in api.world.users for user in users):
        raise SlackError("user_not_found")
    if len(users) > 1:
        raise SlackError("method_not_supported_for_channel_type")
    return {"channel": {"id": api.world.dm(users[0]), "is_im": True, "user": users[0]}}


@METHODS.add("chat.getPermalink")
def chat_get_permalink(api: WebApi, arguments: Arguments, token: Token) -> Json:
    """Needs no scope; a channel that the bot is not in does not exist for it, unless it is public."""
    channel = api.find_channel(arguments.required("channel"), token, must_be_member=False)
    ts = arguments.required("message_ts")
    if ts not in channel.messages:
        raise SlackError("message_not_found")
    return {"channel": channel.id, "permalink": f"https://team.slack.com/archives/{channel.id}/p{ts.replace('.', '')}"}


@METHODS.add("conversations.info")
def conversations_info(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_channel(arguments.required("channel"), token, must_be_member=False)
    api.need(token, HISTORY_SCOPES[channel.kind].replace("history", "read"))
    return {
        "channel": {
            "id": channel.id,
            "name": channel.name,
            "is_channel": channel.kind == "channel",
            "is_group": channel.kind == "group",
            "is_im": channel.kind == "im",
            "is_mpim": channel.kind == "mpim",
            "is_private": channel.kind != "channel",
            "is_archived": channel.is_archived,
            "is_member": api.world.teams[token.team].bot_user in channel.members,
        }
    }


def _readable(api: WebApi, arguments: Arguments, token: Token) -> Channel:
    channel = api.find_channel(arguments.required("channel"), token)
    api.need(token, HISTORY_SCOPES[channel.kind])
    return channel


def _between(arguments: Arguments, messages: list[Message]) -> list[Message]:
    oldest, latest, inclusive = arguments.text("oldest"), arguments.text("latest"), arguments.flag("inclusive")
    for name, bound in (("oldest", oldest), ("latest", latest)):
        if bound and not re.fullmatch(r"\d+(\.\d+)?|now", bound):
            raise SlackError(f"invalid_ts_{name}")

    def holds(message: Message) -> bool:
        at = _micros(message.ts)
        after = not oldest or at > _micros(oldest) or (inclusive and at == _micros(oldest))
        before = latest in {"", "now"} or at < _micros(latest) or (inclusive and at == _micros(latest))
        return after and before

    return [message for message in messages if holds(message)]


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def _page(
    arguments: Arguments, messages: list[Message], *, default: int, most: int, newest_first: bool
) -> tuple[list[Message], list[Message]]:
    """https://docs.slack.dev/apis/web-api/pagination: the cursor says where the next page begins."""
    limit = arguments.number("limit", default)
    if not 1 <= limit <= 1_000:
        raise SlackError("invalid_limit")
    if cursor := arguments.text("cursor"):
        try:
            kind, _, ts = base64.b64decode(cursor, validate=True).decode().partition(":")
        except ValueError:
            kind, ts = "", ""
        if kind != "next_ts":
            raise SlackError("invalid_cursor")
        at = _micros(ts)
        messages = [each for each in messages if (_micros(each.ts) <= at if newest_first else _micros(each.ts) >= at)]
    limit = min(limit, most)
    return messages[:limit], messages[limit:]


def _messages(api: WebApi, arguments: Arguments, page: list[Message], rest: list[Message]) -> Json:
    with_metadata = arguments.flag("include_all_metadata")
    answer: Json = {
        "messages": [api.world.message_json(message, with_metadata=with_metadata) for message in page],
        "has_more": bool(rest),
    }
    if rest:
        cursor = base64.b64encode(f"next_ts:{rest[0].ts}".encode()).decode()
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


# --- people, reactions, status


@METHODS.add("users.info", "users:read")
def users_info(api: WebApi, arguments: Arguments, token: Token) -> Json:
    """https://docs.slack.dev/reference/objects/user-object; workspaces of one organization see each other's people."""
    user = api.world.users.get(arguments.required("user"))
    enterprise = api.world.teams[token.team].enterprise
    home = api.world.teams.get(user.team) if user else None
    is_colleague = bool(enterprise and home and home.enterprise == enterprise)
    if user is None or (user.team != token.team and not user.is_stranger and not is_colleague):
        raise SlackError("user_not_found")
    if user.is_stranger:
        raise SlackError("user_not_visible")
    profile = {"display_name": user.display_name, "real_name": user.real_name, "team": user.team}
    return {
        "user": {
            "id": user.id,
            "team_id": user.team,
            "name": user.name,
            "real_name": user.real_name,
            "is_bot": user.is_bot,
            "is_restricted": user.is_restricted,
            "is_ultra_restricted": user.is_ultra_restricted,
            "profile": profile,
            **({"enterprise_user": {"id": user.id, "enterprise_id": enterprise}} if is_colleague else {}),
        }
    }


@METHODS.add("usergroups.users.list", "usergroups:read")
def usergroups_users_list(api: WebApi, arguments: Arguments, token: Token) -> Json:
    group = api.world.user_groups.get(arguments.required("usergroup"))
    if group is None or group.team != token.team:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


@METHODS.add("reactions.add", "reactions:write")
def reactions_add(api: WebApi, arguments: Arguments, token: Token) -> Json:
    users, bot = _reaction(api, arguments, token)
    if bot in users:
        raise SlackError("already_reacted")
    users.append(bot)
    api.world.touch()
    return {}


@METHODS.add("reactions.remove", "reactions:write")
def reactions_remove(api: WebApi, arguments: Arguments, token: Token) -> Json:
    users, bot = _reaction(api, arguments, token)
    if bot not in users:
        raise SlackError("no_reaction")
    users.remove(bot)
    api.world.touch()
    return {}


def _reaction(api: WebApi, arguments: Arguments, token: Token) -> tuple[list[str], str]:
    name = arguments.required("name")
    if not re.fullmatch(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?", name):
        raise SlackError("invalid_name")
    channel = api.find_channel(arguments.required("channel"), token)
    message = channel.messages.get(arguments.required("timestamp"))
    if message is None:
        raise SlackError("message_not_found")
    return message.reactions.setdefault(name, []), api.world.teams[token.team].bot_user


@METHODS.add("assistant.threads.setStatus", "assistant:write")
def assistant_threads_set_status(api: WebApi, arguments: Arguments, token: Token) -> Json:
    channel = api.find_channel(arguments.required("channel_id"), token)
    root = api.check_thread(channel, arguments.required("thread_ts"))
    if "status" not in arguments:
        raise SlackError("invalid_arguments")
    api.world.statuses[channel.id, root or ""] = arguments.text("status")
    api.world.touch()
    return {}


@METHODS.add("agents.sessions.setStatus", "chat:write")
def agents_sessions_set_status(api: WebApi, arguments: Arguments, token: Token) -> Json:
    if not api.is_agent:
        raise SlackError("not_authorized")
    status = arguments.required("status")
    if status not in SESSION_STATUSES or len(arguments.text("title")) > 200:
        raise SlackError("invalid_arguments")
    channel = api.find_channel(arguments.required("channel_id"), token)
    root = api.check_thread(channel, arguments.required("thread_ts"))
    initiator = arguments.text("initiator_user_id")
    if initiator and initiator not in channel.members:
        raise SlackError("user_not_in_channel")
    place = channel.id, root or ""
    if place not in api.world.sessions:  # later titles are ignored, says the method's page
        api.world.session_titles[place] = arguments.text("title")
    api.world.sessions[place] = status
    api.world.touch()
    return {"status": status, "agent_status": status, "title": api.world.session_titles.get(place, "")}
