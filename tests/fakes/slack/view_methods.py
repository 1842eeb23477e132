"""The methods of modals and of the Home tab.

The rules of a method are those of its page, https://docs.slack.dev/reference/methods/METHOD.
"""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.slack.blocks import BlockError, check_view, with_ids
from tests.fakes.slack.web_api import Arguments, Methods, WebApi, refusal
from tests.fakes.slack.world import Json, SlackError, Token, View, World

METHODS = Methods()
MAX_VIEW_BYTES = 250_000  # https://docs.slack.dev/reference/methods/views.open#errors: view_too_large


# --- views


@METHODS.add("views.open")
def views_open(api: WebApi, arguments: Arguments, token: Token) -> Json:
    return {"view": _open(api, arguments, token)}


@METHODS.add("views.push")
def views_push(api: WebApi, arguments: Arguments, token: Token) -> Json:
    return {"view": _open(api, arguments, token)}


@METHODS.add("views.update")
def views_update(api: WebApi, arguments: Arguments, token: Token) -> Json:
    wanted, external = arguments.text("view_id"), arguments.text("external_id")
    content = _checked_view(api, arguments.get("view"))
    for view in api.world.all_views.values():
        if view.is_open and (view.id == wanted or (external and view.content.get("external_id") == external)):
            _replace(api, arguments, view, content)
            return {"view": view_json(api.world, view)}
    raise SlackError("not_found")


@METHODS.add("views.publish")
def views_publish(api: WebApi, arguments: Arguments, token: Token) -> Json:
    user = api.world.users.get(arguments.required("user_id"))
    if user is None or user.team != token.team:
        raise SlackError("user_not_found")
    content = _checked_view(api, arguments.get("view"))
    if content["type"] != "home":
        raise SlackError("invalid_arguments")
    view = api.world.home_view(user.id)
    if view is None:
        view = add_view(api.world, content, user=user.id, team=user.team)
    else:
        _replace(api, arguments, view, content)
    return {"view": view_json(api.world, view)}


def _open(api: WebApi, arguments: Arguments, token: Token) -> Json:
    trigger = api.world.triggers.get(arguments.required("trigger_id"))
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.is_used:
        raise SlackError("exchanged_trigger_id")
    if api.world.now() - trigger.made_at > 3.0:
        raise SlackError("expired_trigger_id")
    if trigger.team != token.team:
        raise SlackError("invalid_trigger_id")
    content = _checked_view(api, arguments.get("view"))
    if content["type"] != "modal":
        raise SlackError("invalid_arguments")
    trigger.is_used = True
    return view_json(api.world, add_view(api.world, content, user=trigger.user, team=trigger.team))


def _checked_view(api: WebApi, view: Any) -> Json:
    if len(json.dumps(view)) > MAX_VIEW_BYTES:
        raise SlackError("view_too_large")
    try:
        check_view(view)
    except BlockError as error:
        raise refusal(error) from None
    return view | {"blocks": with_ids(view["blocks"], api.world.next_id)}


def add_view(world: World, content: Json, *, user: str, team: str) -> View:
    """Store a checked view and show it."""
    view = View(
        id=world.next_id("V"), type=content["type"], user=user, team=team, content=content, hash=world.next_id("hash")
    )
    world.all_views[view.id] = view
    world.touch()
    return view


def _replace(api: WebApi, arguments: Arguments, view: View, content: Json) -> None:
    if (known := arguments.text("hash")) and known != view.hash:
        raise SlackError("hash_conflict")
    view.content, view.hash = content, api.world.next_id("hash")
    api.world.touch()


def view_json(world: World, view: View) -> Json:
    """Return a view as answers and payloads show it."""
    team = world.teams[view.team]
    return {
        "private_metadata": "",
        "callback_id": "",
        "external_id": "",
        "state": {"values": {}},
        **view.content,
        "id": view.id,
        "team_id": view.team,
        "app_installed_team_id": view.team,
        "app_id": world.app_id,
        "bot_id": team.bot_id,
        "hash": view.hash,
        "root_view_id": view.id,
        "previous_view_id": None,
    }
