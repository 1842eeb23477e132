"""The one way to call Slack's Web API: within its rates, repeated only where harmless, failing with sentences."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping
from typing import Any, Protocol, cast

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.shared.buckets import Priority
from adapters.shared.fence import check_held
from adapters.shared.reaching import unreached
from adapters.slack.errors import (
    HTTP,
    RATE_LIMIT_CODES,
    TOKEN_CODES,
    SlackRefusedError,
    SlackUnreachableError,
    error_body,
    error_code,
    error_reasons,
)
from adapters.slack.limits import Limits, RateKey
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

API_URL = "https://slack.com/api/"
REQUEST_TIMEOUT_S = 30.0
MAX_REPEATS = 3
BACKOFF = Backoff(first_s=0.5)
DEFAULT_RETRY_AFTER_S = 5.0  # where Slack asks for a pause and does not say how long
MIN_RETRY_AFTER_S = 1.0  # Slack says whole seconds; repeating at once, for a 0, would be a tight loop

# How the SDK's own methods send them; everything else goes as a form by POST.
_BY_GET = frozenset(
    {
        "bots.info",
        "chat.getPermalink",
        "conversations.history",
        "conversations.info",
        "conversations.list",
        "conversations.members",
        "conversations.replies",
        "files.info",
        "team.info",
        "usergroups.users.list",
        "users.conversations",
        "users.info",
    }
)
_AS_JSON = frozenset(
    {
        "agents.sessions.setStatus",
        "assistant.threads.setStatus",
        "assistant.threads.setSuggestedPrompts",
        "chat.appendStream",
        "chat.postEphemeral",
        "chat.postMessage",
        "chat.startStream",
        "chat.stopStream",
        "chat.update",
        "views.open",
        "views.publish",
        "views.push",
        "views.update",
    }
)


class Tokens(Protocol):
    """Where the bot tokens are."""

    async def bot_token(self, team: str) -> str:
        """Return the workspace's token. Raises AdapterError where the bot is not installed there."""
        ...

    async def forget(self, team: str) -> None:
        """Take note that Slack does not accept the token that was returned last."""
        ...


def open_client(session: aiohttp.ClientSession, *, base_url: str = API_URL) -> AsyncWebClient:
    """Return the SDK's client without a token: it repeats nothing by itself and logs no payloads."""
    # The SDK logs what it sends, message texts among it, to any logger without a level of its own.
    quiet = logging.getLogger(f"{__name__}.sdk")
    quiet.setLevel(logging.WARNING)
    return AsyncWebClient(
        base_url=base_url, session=session, timeout=int(REQUEST_TIMEOUT_S), logger=quiet, retry_handlers=[]
    )


class SlackApi:
    """Calls Web API methods for all workspaces through one session, which its opener closes."""

    def __init__(
        self,
        tokens: Tokens,
        session: aiohttp.ClientSession,
        *,
        base_url: str = API_URL,
        limits: Limits | None = None,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self.tokens = tokens
        self.session = session
        self.client = open_client(session, base_url=base_url)
        self._limits = limits or Limits()
        self._request_timeout_s = request_timeout_s
        self._backoff = backoff
        self.rate_limits = 0  # calls that Slack refused with a pause

    async def call(
        self,
        method: str,
        *,
        team: str,
        limit_key: str = "",
        may_repeat: bool = False,
        priority: Priority = Priority.ANSWER,
        wait_s: float = 60.0,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Return Slack's answer; arguments that are None are left out.

        `limit_key` is the channel, for methods with a rate per channel (without it, the argument `channel` counts).
        A call that Slack refuses with a pause is made again after it, within `wait_s`: nothing was done. One that it
        refuses for its token is made again where there is another token by now, as the bot was reinstalled. With
        `may_repeat`, for idempotent methods, failed calls are repeated as well. `priority` decides what goes first
        where a rate holds up several calls.

        Raises:
            RateLimitError: The call would have to wait longer than that; nothing was done.
            SlackRefusedError: Slack refused; see there.
            SlackUnreachableError: Slack could not be reached or failed; the call may have taken effect.
            AdapterError: There is no token for this workspace.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        deadline = since + wait_s
        key = self._limits.key(team, method, limit_key or str(arguments.get("channel", "")))
        failures = 0
        while True:
            token = await self.tokens.bot_token(team)
            await self._limits.admit(key, deadline=deadline, since=since, priority=priority)
            check_held()
            sent_at, timeout_s = loop.time(), self._request_timeout_s
            if may_repeat:  # a post is not cut short: it might take effect all the same
                timeout_s = min(timeout_s, max(1.0, deadline - sent_at))
            try:
                return await self._ask(key, token, arguments, timeout_s)
            except RateLimitError as error:
                await self._limits.refuse(key, sent_at=sent_at, retry_after_s=error.retry_after_s)
            except AdapterError as error:
                if await self._has_other_token(team, than=token, error=error):
                    continue
                failures += 1
                pause_s = self._backoff.wait_s(failures)
                is_over = failures > MAX_REPEATS or loop.time() + pause_s >= deadline
                if not may_repeat or error.is_permanent or is_over:
                    raise
                await asyncio.sleep(pause_s)

    async def _has_other_token(self, team: str, *, than: str, error: AdapterError) -> bool:
        is_refused = isinstance(error, SlackRefusedError) and error.code in TOKEN_CODES
        return is_refused and await self.tokens.bot_token(team) != than

    async def call_as_app(self, method: str, *, app_token: str) -> dict[str, Any]:
        """Return Slack's answer to one call with an app-level token, which belongs to no workspace.

        Raises as `call` does; the caller has to observe a pause that Slack asks for.
        """
        return await self._ask(self._limits.key("", method, ""), app_token, {}, self._request_timeout_s)

    async def _ask(self, key: RateKey, token: str, arguments: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            # A session that is passed in keeps its own timeout: the SDK's is not applied to it.
            async with asyncio.timeout(timeout_s):
                return await self._send(key.method, token, arguments)
        except SlackApiError as error:
            refusal = _refusal(key.method, error)
        except TimeoutError:
            refusal = SlackUnreachableError(f"Slack did not answer within {timeout_s:.0f} s. Try again in a minute.")
        except (aiohttp.ClientError, SlackClientError, OSError) as error:
            why = unreached(error, self.client.base_url)
            refusal = SlackUnreachableError(f"Slack cannot be reached ({why}). Try again in a minute.")
        except (AttributeError, ValueError):  # the SDK trips over a body that is no JSON object
            refusal = _not_slack(key.method)
        # Raised out here, without a cause: libraries write addresses and whole answers into their errors.
        await self._note(key, refusal)
        raise refusal

    async def _send(self, method: str, token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        client: Any = self.client
        given = {name: value for name, value in arguments.items() if value is not None}
        if method in _AS_JSON:
            response = await client.api_call(method, json={**given, "token": token})
        else:
            form = {name: _in_form(value) for name, value in given.items()}
            verb = "GET" if method in _BY_GET else "POST"
            response = await client.api_call(method, http_verb=verb, params={**form, "token": token})
        return cast("dict[str, Any]", response.data)

    async def _note(self, key: RateKey, refusal: AdapterError) -> None:
        match refusal:
            case RateLimitError(retry_after_s=pause_s):
                self.rate_limits += 1
                log.info("slack_rate_limited", method=key.method, team=key.team, retry_after_s=pause_s)
            case SlackRefusedError(code=code, needed=needed, reasons=reasons):
                log.warning(
                    "slack_refused", method=key.method, team=key.team, code=code, needed=needed, reasons=reasons
                )
                if code in TOKEN_CODES:
                    await self.tokens.forget(key.team)
            case _:
                log.warning("slack_failed", method=key.method, team=key.team, error=str(refusal))


def _in_form(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


def _refusal(method: str, error: SlackApiError) -> AdapterError:
    response: Any = error.response  # the SDK's response, or aiohttp's own where the body is no JSON
    status: int = response.status if isinstance(response, aiohttp.ClientResponse) else response.status_code
    code = error_code(error)
    if status == 429 or code in RATE_LIMIT_CODES:
        return RateLimitError(retry_after_s=retry_after_s(response.headers))
    if status >= 500 or (not code and not is_refusal(status)):
        return _not_slack(method, status)
    return SlackRefusedError(
        method=method,
        code=code or f"{HTTP}{status}",
        needed=str(error_body(error).get("needed", "")),
        reasons=error_reasons(error),
    )


def is_refusal(status: int) -> bool:
    """Return whether a relay or a proxy refuses with this HTTP status, instead of failing: it will again."""
    return 400 <= status < 500 and status not in (408, 425, 429)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the pause that an answer asks for, in seconds."""
    try:
        asked_s = float(headers.get("Retry-After", ""))
    except ValueError:
        return DEFAULT_RETRY_AFTER_S
    return max(MIN_RETRY_AFTER_S, asked_s) if math.isfinite(asked_s) else DEFAULT_RETRY_AFTER_S


def _not_slack(method: str, status: int = 200) -> SlackUnreachableError:
    return SlackUnreachableError(f"Slack failed to answer {method} (HTTP {status}). Try again in a minute.")
