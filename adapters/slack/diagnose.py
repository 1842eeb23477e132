"""What is wrong with the set-up in Slack, and how to fix it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from adapters.shared.reaching import unreached
from adapters.slack.api import open_client
from adapters.slack.errors import SlackRefusedError, error_code
from adapters.slack.manifest import BOT_SCOPES, FOR_GROUPS
from adapters.slack.options import SlackOptions
from bot.domain.errors import AdapterError
from bot.ports.platform import SetUp

TIMEOUT_S = 15.0


async def diagnose(options: SlackOptions, *, uses_groups: bool = False) -> SetUp:
    """Ask Slack about the tokens and their scopes.

    `uses_groups` is whether rules name Slack's user groups, for which the app needs a scope of its own.

    Raises:
        AdapterError: Slack does not answer or refuses.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        client: Any = open_client(session, base_url=options.api_url)
        way = "Socket Mode" if options.app_token else f"HTTP on {options.http_address}"
        if options.app_token and (found := await _check_app_token(client, options.app_token)):
            return found
        if not options.bot_token:
            return SetUp(detail=f"several workspaces, {way}")
        return await _check_bot_token(client, options.bot_token, way=way, uses_groups=uses_groups)


async def _check_app_token(client: Any, token: str) -> SetUp | None:
    try:
        await _asked(
            lambda: client.apps_connections_open(app_token=token),
            method="apps.connections.open",
            address=client.base_url,
        )
    except SlackRefusedError as error:
        return SetUp(
            detail=f"SLACK_APP_TOKEN is not accepted ({error.code})",
            cure="Make an app-level token with the scope connections:write, and switch Socket Mode on.",
            is_refused=True,
        )
    return None


async def _check_bot_token(client: Any, token: str, *, way: str, uses_groups: bool) -> SetUp:
    # https://docs.slack.dev/reference/methods/auth.test
    answer = await _asked(lambda: client.auth_test(token=token), method="auth.test", address=client.base_url)
    who = f"@{answer.get('user')} in {answer.get('team') or 'the organization'}, {way}"
    if not answer.get("bot_id"):
        return SetUp(
            detail=f"{who}; SLACK_BOT_TOKEN is a person's token",
            cure="Set it to the Bot User OAuth Token (xoxb-...) under OAuth & Permissions.",
            is_refused=True,
        )
    if missing := _missing_scopes(str(answer.headers.get("x-oauth-scopes", "")), uses_groups=uses_groups):
        return SetUp(
            detail=f"{who}; scopes missing: {', '.join(missing)}",
            cure="Add them in the app's settings under OAuth & Permissions, and reinstall the app.",
        )
    return SetUp(detail=who)


async def _asked(ask: Callable[[], Awaitable[Any]], *, method: str, address: str) -> Any:
    """Return Slack's response. Raises SlackRefusedError, or AdapterError where Slack cannot be reached."""
    try:
        return await ask()
    except SlackApiError as error:
        code = error_code(error)
        failure = SlackRefusedError(method=method, code=code) if code else _unreachable(error, address)
    except (SlackClientError, aiohttp.ClientError, OSError, AttributeError, ValueError) as error:
        failure = _unreachable(error, address)  # the last two: the SDK trips over a body that is no JSON object
    raise failure  # out here, without a cause: the SDK writes whole answers into its errors


def _unreachable(error: Exception, address: str) -> AdapterError:
    return AdapterError(f"Slack cannot be reached ({unreached(error, address)}). Check the network and SLACK_API_URL.")


def _missing_scopes(granted: str, *, uses_groups: bool) -> Sequence[str]:
    """Return the scopes that the token lacks, as far as Slack says which it has."""
    needed = [scope for scope in BOT_SCOPES if uses_groups or scope not in FOR_GROUPS]
    return [scope for scope in needed if scope not in granted.split(",")] if granted else []
