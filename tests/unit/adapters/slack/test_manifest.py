"""The app manifest asks Slack for what the adapter uses, in the shape and within the numbers of Slack's schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adapters.slack.manifest as slack
from adapters.slack.manifest import BOT_EVENTS, BOT_SCOPES, manifest
from bot.domain.answers import Example
from bot.domain.commands import COMMANDS
from bot.domain.errors import SettingsError

examples = st.lists(st.builds(Example, title=st.text(max_size=120), text=st.text(max_size=3_000)), max_size=8)


def test_every_command_has_its_slash_command_and_says_what_it_takes() -> None:
    commands = manifest(examples=[])["features"]["slash_commands"]
    assert [command["command"] for command in commands] == [f"/{command.name}" for command in COMMANDS]
    assert commands[0] == {
        "command": "/tools",
        "description": "Show the tools I can use, or those that match a word",
        "usage_hint": "[WORD]",
        "should_escape": False,
    }
    assert "usage_hint" not in commands[1]


def test_a_prefix_stands_before_every_command() -> None:
    commands = manifest(examples=[], prefix="tb-")["features"]["slash_commands"]
    assert all(command["command"].startswith("/tb-") for command in commands)


@pytest.mark.parametrize("prefix", ["x" * 40, "two words ", "/", "Tb", "ä"])
def test_a_prefix_that_slack_would_refuse_is_refused_with_the_setting_to_change(prefix: str) -> None:
    with pytest.raises(SettingsError, match="SLACK_COMMAND_PREFIX"):
        manifest(examples=[], prefix=prefix)


def test_socket_mode_needs_no_url() -> None:
    made = manifest(examples=[])
    assert "http" not in json.dumps(made)
    assert made["settings"] == {
        "event_subscriptions": {"bot_events": list(BOT_EVENTS)},
        "interactivity": {"is_enabled": True},
        "org_deploy_enabled": False,
        "socket_mode_enabled": True,
        "token_rotation_enabled": False,
    }


def test_over_http_the_manifest_says_where_slack_sends_everything() -> None:
    made = manifest(examples=[], uses_socket_mode=False, url="https://bot.example.com/")
    events = "https://bot.example.com/slack/events"
    assert made["settings"]["event_subscriptions"]["request_url"] == events
    assert made["settings"]["interactivity"] == {"is_enabled": True, "request_url": events}
    assert {command["url"] for command in made["features"]["slash_commands"]} == {events}
    assert made["oauth_config"]["redirect_urls"] == ["https://bot.example.com/slack/oauth_redirect"]
    assert made["settings"]["socket_mode_enabled"] is False


@pytest.mark.parametrize("url", ["", "https://bot.example.com"])
def test_for_an_organization_only_the_way_of_installing_differs(url: str) -> None:
    """https://docs.slack.dev/reference/app-manifest: `org_deploy_enabled`; the app needs a bot user with a scope."""
    plain, made = (manifest(examples=[], uses_socket_mode=not url, url=url, is_org_wide=org) for org in (False, True))
    assert made["settings"].pop("org_deploy_enabled") is True
    assert plain["settings"].pop("org_deploy_enabled") is False
    assert made == plain
    assert made["features"]["bot_user"] and made["oauth_config"]["scopes"]["bot"]


def test_http_without_a_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="URL"):
        manifest(examples=[], uses_socket_mode=False)


def test_the_app_is_an_agent_that_suggests_the_first_examples() -> None:
    made = manifest(examples=[Example(title=f"Title {number}", text=f"Do {number}") for number in range(6)])
    view = made["features"]["agent_view"]
    assert view["suggested_prompts"] == [
        {"title": "Title 0", "message": "Do 0"},
        {"title": "Title 1", "message": "Do 1"},
        {"title": "Title 2", "message": "Do 2"},
        {"title": "Title 3", "message": "Do 3"},
    ]
    assert "assistant_view" not in made["features"]


def test_every_event_that_is_asked_for_has_the_scope_it_needs() -> None:
    """The scopes are those that the page of each event names, https://docs.slack.dev/reference/events"""
    needed = {
        "app_mention": "app_mentions:read",
        "message.channels": "channels:history",
        "message.groups": "groups:history",
        "message.im": "im:history",
        "message.mpim": "mpim:history",
        "agent_session_stopped": "assistant:write",
    }
    without = {"app_home_opened", "app_uninstalled", "tokens_revoked"}
    assert set(BOT_EVENTS) == needed.keys() | without
    assert set(needed.values()) <= set(BOT_SCOPES)


# https://docs.slack.dev/reference/methods: the page of each method names its scopes. Of those for the kinds of channel
# (history), a method needs the one of the channel that it is called for.
HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")
SCOPES_OF = {
    "agents.sessions.setStatus": ("chat:write",),
    "assistant.threads.setStatus": ("assistant:write",),
    "chat.appendStream": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.getPermalink": (),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.startStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": HISTORY,
    "conversations.info": ("channels:read", "groups:read", "im:read", "mpim:read"),
    "conversations.open": ("im:write",),
    "conversations.replies": HISTORY,
    "files.completeUploadExternal": ("files:write",),
    "files.getUploadURLExternal": ("files:write",),
    "files.info": ("files:read",),
    "reactions.add": ("reactions:write",),
    "reactions.remove": ("reactions:write",),
    "team.info": ("team:read",),
    "usergroups.list": ("usergroups:read",),
    "usergroups.users.list": ("usergroups:read",),
    "users.info": ("users:read",),
    "views.open": (),
    "views.publish": (),
    "views.push": (),
    "views.update": (),
}
WITHOUT_METHOD = {"app_mentions:read", "commands"}  # of an event and of slash commands
LISTS = ("api.py", "limits.py")  # they name methods that are not called, too


def test_every_scope_that_is_asked_for_is_needed_by_a_method_that_is_called() -> None:
    code = [file.read_text() for file in Path(slack.__file__).parent.glob("*.py") if file.name not in LISTS]
    families = "|".join({method.partition(".")[0] for method in SCOPES_OF})
    called = {method for text in code for method in re.findall(rf'"((?:{families})\.[A-Za-z.]+)"', text)}
    assert called <= set(SCOPES_OF)
    needed = {scope for method in called for scope in SCOPES_OF[method]}
    assert set(BOT_SCOPES) - WITHOUT_METHOD <= needed
    assert all(set(SCOPES_OF[method]) & set(BOT_SCOPES) for method in called if SCOPES_OF[method])


@given(examples=examples, prefix=st.sampled_from(["", "tb-"]))
def test_whatever_the_examples_are_the_numbers_of_slacks_schema_hold(examples: list[Example], prefix: str) -> None:
    made = manifest(examples=examples, prefix=prefix)
    features = made["features"]
    assert 1 <= len(features["agent_view"]["agent_description"]) <= 300
    prompts = features["agent_view"]["suggested_prompts"]
    assert len(prompts) <= 4
    assert all(prompt["title"].strip() and prompt["message"].strip() for prompt in prompts)
    assert len(made["display_information"]["name"]) <= 35
    assert len(made["display_information"]["description"]) <= 140
    assert all(2 <= len(command["command"]) <= 32 for command in features["slash_commands"])
    assert all(
        len(shortcut["name"]) <= 24 and len(shortcut["description"]) <= 150 for shortcut in features["shortcuts"]
    )
    assert len(set(BOT_SCOPES)) == len(BOT_SCOPES) and len(set(BOT_EVENTS)) == len(BOT_EVENTS)
