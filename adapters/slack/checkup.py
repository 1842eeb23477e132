"""What is wrong with the set-up in Slack, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from adapters.slack.adapter import SlackOptions
from adapters.slack.errors import error_code
from adapters.slack.installs import OneToken
from adapters.slack.manifest import BOT_SCOPES
from adapters.slack.web import Web, open_client
from bot.errors import AdapterError

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the set-up is; `cure` is empty where nothing is wrong."""

    detail: str
    cure: str = ""


async def check_up(options: SlackOptions) -> Found:
    """Ask Slack about the tokens and their scopes. Raises AdapterError where Slack does not answer or refuses."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        way = "Socket Mode" if options.app_token else f"HTTP on {options.http_host}:{options.http_port}"
        if options.app_token and (found := await _check_app_token(options, session)):
            return found
        if not options.bot_token:
            return Found(detail=f"several workspaces, {way}")
        web = Web(OneToken(options.bot_token), session, base_url=options.api_url)
        answer = await web.call("auth.test", team="", wait_s=TIMEOUT_S)
        who = f"@{answer.get('user')} in {answer.get('team')}, {way}"
        if missing := await _missing_scopes(options, session):
            return Found(
                detail=f"{who}; scopes missing: {', '.join(missing)}",
                cure="Add them in the app's settings under OAuth & Permissions, and reinstall the app.",
            )
        return Found(detail=who)


async def _check_app_token(options: SlackOptions, session: aiohttp.ClientSession) -> Found | None:
    client: Any = open_client(session, base_url=options.api_url)
    try:
        await client.apps_connections_open(app_token=options.app_token)
    except SlackApiError as error:
        return Found(
            detail=f"SLACK_APP_TOKEN is not accepted ({error_code(error)})",
            cure="Make an app-level token with the scope connections:write, and switch Socket Mode on.",
        )
    except (SlackClientError, aiohttp.ClientError, OSError) as error:
        raise AdapterError(f"Slack cannot be reached ({type(error).__name__}). Check the network.") from None
    return None


async def _missing_scopes(options: SlackOptions, session: aiohttp.ClientSession) -> list[str]:
    """Return the scopes that the token lacks, as far as Slack says: https://docs.slack.dev/reference/methods/auth.test"""
    client: Any = open_client(session, base_url=options.api_url)
    response = await client.auth_test(token=options.bot_token)
    granted = str(response.headers.get("x-oauth-scopes", ""))
    return [scope for scope in BOT_SCOPES if scope not in granted.split(",")] if granted else []
