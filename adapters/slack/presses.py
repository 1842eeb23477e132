"""Pressed buttons, chosen options and used shortcuts, as Slack delivers them; pure."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack.parse import SlashInvoked, team_of
from adapters.slack.payloads import text_at

NOT_VALID = "That button is not valid."
_DECIDING = ("tb:ask", "tb:link", "tb:form", "tb:decline", "tb:run:stop")


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
    home: str = ""  # the workspace that the user belongs to; "" where Slack does not say it

    @property
    def decides(self) -> bool:
        """Whether it decides something that is asked, or stops an answer; see `Host.is_muted`."""
        picks_stop = self.action == "tb:pick" and json_value(self.value).get("c") == "stop"
        return picks_stop or self.action.startswith(_DECIDING)


def parse_press(body: Payload) -> Pressed | None:
    """Return the pressed button, chosen option or used shortcut of an interaction; None for any other interaction."""
    action: Payload = {}
    if body.get("type") == "block_actions":
        actions = dicts_of(body.get("actions"))
        action = actions[0] if actions else {}
    elif body.get("type") != "message_action":
        return None
    message, container, view = dict_of(body.get("message")), dict_of(body.get("container")), dict_of(body.get("view"))
    ts = text_at(message, "ts") or text_at(container, "message_ts")
    presser = dict_of(body.get("user"))
    user = text_at(presser, "id")
    name = text_at(action, "action_id") or text_at(body, "callback_id")
    at = text_at(action, "action_ts") or text_at(body, "action_ts") or text_at(body, "trigger_id")
    return Pressed(
        team=team_of(body),
        channel=text_at(dict_of(body.get("channel")), "id") or text_at(container, "channel_id"),
        thread=text_at(message, "thread_ts") or text_at(container, "thread_ts") or ts,
        message_ts=ts,
        user=user,
        action=name,
        value=text_at(action, "value") or text_at(dict_of(action.get("selected_option")), "value"),
        trigger_id=text_at(body, "trigger_id"),
        response_url=text_at(body, "response_url"),
        view_id=text_at(view, "id"),
        view_note=text_at(view, "private_metadata"),
        key=f"{user}:{name}:{at}",
        home=text_at(presser, "team_id"),
    )


def pressed_by(invoked: SlashInvoked) -> Pressed:
    """Return a slash command as a press: it may open a window as well."""
    command = invoked.command
    return Pressed(
        team=command.conversation.space,
        channel=command.conversation.channel,
        thread="",
        message_ts="",
        user=command.author_id,
        action=f"/{command.name}",
        value="",
        trigger_id=invoked.trigger_id,
        response_url=invoked.response_url,
        view_id="",
        view_note="",
        key=command.event_key,
    )


def json_value(text: str) -> dict[str, Any]:
    """Return the JSON object in a button's value or a view's note; {} where there is none."""
    with suppress(ValueError, RecursionError):
        return dict_of(json.loads(text))
    return {}
