"""The app manifest, for a workspace's administrator to paste into Slack: https://docs.slack.dev/reference/app-manifest

The limits are those of Slack's own manifest schema: https://github.com/slackapi/manifest-schema
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bot.domain.answers import Example
from bot.domain.commands import COMMANDS
from bot.domain.errors import SettingsError
from bot.text.split import cut

MAX_COMMAND_CHARS = 32  # with its `/`
MAX_PROMPTS = 4
MAX_DESCRIPTION_CHARS = 300  # of the agent
# Slack states no maximum for these two: the title is the text of a button, the message one that the user sends.
MAX_PROMPT_TITLE_CHARS = 75
MAX_PROMPT_CHARS = 2_000

SHORTCUT = "tools_and_history"  # callback id

BOT_SCOPES: tuple[str, ...] = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "im:history",
    "im:write",
    "mpim:history",
    "reactions:write",
    "usergroups:read",
    "users:read",
)
# What the bot does without where no rule names a user group.
FOR_GROUPS: frozenset[str] = frozenset({"usergroups:read"})

BOT_EVENTS: tuple[str, ...] = (
    "agent_session_stopped",
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
)

_SUMMARY = "Answers questions with your team's own tools."
_DESCRIPTION = (
    "Mention me in a channel or write to me directly. I answer with the tools of your team's MCP servers, say in the "
    "thread which of them I used, and go on in the thread without a new mention."
)


def manifest(
    *,
    examples: Sequence[Example],
    prefix: str = "",
    uses_socket_mode: bool = True,
    url: str = "",
    is_org_wide: bool = False,
) -> dict[str, Any]:
    """Return the manifest, ready to be written as JSON.

    The first few `examples` become suggested prompts; `prefix` precedes the name of every slash command; `url` is where
    Slack reaches the bot over HTTP, for events and for installing; `is_org_wide` lets an organization's administrator
    install the app once for all of its workspaces: https://docs.slack.dev/enterprise/organization-ready-apps.

    Raises:
        SettingsError: Slack accepts no commands with that prefix, or HTTP mode has no URL.
    """
    url = url.rstrip("/")
    if not uses_socket_mode and not url:
        raise SettingsError("Without Socket Mode, Slack needs the URL where it reaches the bot. Pass that URL.")
    return {
        "display_information": {
            "name": "Toolbridge",
            "description": _SUMMARY,
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "agent_view": {
                "agent_description": cut(_DESCRIPTION, MAX_DESCRIPTION_CHARS),
                "suggested_prompts": _prompts(examples),
            },
            "bot_user": {"display_name": "Toolbridge", "always_online": True},
            "slash_commands": [_command(name, argument, text, prefix, url) for name, argument, text in COMMANDS],
            "shortcuts": [
                {
                    "name": "Tools and history",
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": "Show the tools and the history of this conversation",
                }
            ],
        },
        "oauth_config": {
            "scopes": {"bot": list(BOT_SCOPES)},
            **({"redirect_urls": [f"{url}/slack/oauth_redirect"]} if url else {}),
        },
        "settings": {
            "event_subscriptions": {**_request_url(url), "bot_events": list(BOT_EVENTS)},
            "interactivity": {"is_enabled": True, **_request_url(url)},
            "org_deploy_enabled": is_org_wide,
            "socket_mode_enabled": uses_socket_mode,
            "token_rotation_enabled": False,
        },
    }


def _prompts(examples: Sequence[Example]) -> list[dict[str, str]]:
    """Return the first examples, without those that are too long to be sent unchanged."""
    usable = [example for example in examples if example.text.strip() and len(example.text) <= MAX_PROMPT_CHARS]
    return [
        {"title": cut(example.title.strip() or example.text, MAX_PROMPT_TITLE_CHARS), "message": example.text}
        for example in usable[:MAX_PROMPTS]
    ]


def _command(name: str, argument: str, description: str, prefix: str, url: str) -> dict[str, Any]:
    command = f"/{prefix}{name}"
    if not re.fullmatch(r"/[a-z0-9_-]+", command) or len(command) > MAX_COMMAND_CHARS:
        raise SettingsError(
            f"Slack accepts no command {command}. Choose a SLACK_COMMAND_PREFIX of a few lower-case letters, digits, "
            f"- or _, so that a command has at most {MAX_COMMAND_CHARS - 1} of them."
        )
    return {
        "command": command,
        "description": f"{description[:1].upper()}{description[1:]}",
        "should_escape": False,
        **({"usage_hint": argument} if argument else {}),
        **({"url": f"{url}/slack/events"} if url else {}),
    }


def _request_url(url: str) -> dict[str, str]:
    return {"request_url": f"{url}/slack/events"} if url else {}
