"""The only way to call Discord's API: discord.py's HTTP client with its rate limits, and failures as sentences."""

from __future__ import annotations

import asyncio
import json as json_format
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import aiohttp
import discord
import structlog
from aiolimiter import AsyncLimiter

from adapters.discord.errors import DiscordRefusedError, DiscordUnreachableError
from adapters.discord.private_parts import (
    HTTP_LOGGER,
    LOGGER,
    HTTPClient,
    Route,
    end_global_pause,
    make_http,
    use_api,
)
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment

log = structlog.stdlib.get_logger(__name__)

API_URL = "https://discord.com/api/v10"
REQUEST_TIMEOUT_S = 60.0  # including the pauses that Discord asks for within it
# Over all channels. The library sends more, and each refusal counts towards a ban by Cloudflare:
# https://discord.com/developers/docs/topics/rate-limits#global-rate-limit
REQUESTS_PER_S = 50.0
LONGEST_PAUSE_S = 30.0  # a longer one is raised instead of slept through; discord.py takes no smaller number
# Cloudflare's refusals name no time; a ban for too many bad requests lasts longer the more is sent meanwhile:
# https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
BREAKER_S = 300.0
LOGIN_REFUSED = (
    "Discord does not accept DISCORD_BOT_TOKEN. Make a new one in the Developer Portal under Bot, and restart."
)
NOT_OPEN = "The connection to Discord is not open. Try again in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the bot is."""

    user: str
    name: str
    application: str


class _Login(NamedTuple):
    http: HTTPClient
    identity: Identity


class DiscordApi:
    """Calls Discord as the bot. Entering it connects nothing; `log_in` opens the connection, leaving it closes it."""

    def __init__(
        self,
        token: str,
        *,
        api_url: str = API_URL,
        breaker_s: float = BREAKER_S,
        requests_per_s: float = REQUESTS_PER_S,
    ) -> None:
        self._token = token.strip()
        self._api_url = api_url.rstrip("/")
        self._breaker_s = breaker_s
        self._login: _Login | None = None
        self._limiter = AsyncLimiter(requests_per_s, 1.0)
        self._blocked_until = 0.0  # seconds of time.monotonic(): Cloudflare refused the last request

    async def __aenter__(self) -> Self:
        logging.getLogger(LOGGER).setLevel(logging.WARNING)  # below that it logs what people wrote
        logging.getLogger(HTTP_LOGGER).addFilter(_hide_tokens)
        use_api(self._api_url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._log_out()

    async def _log_out(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            await login.http.close()

    @property
    def identity(self) -> Identity:
        """Who the bot is. Raises DiscordUnreachableError before the login."""
        return self._logged_in.identity

    @property
    def blocked_for_s(self) -> float:
        """For how long nothing is sent, because Cloudflare refused the last request."""
        return max(0.0, self._blocked_until - time.monotonic())

    async def log_in(self) -> Identity:
        """Open the connection and return who the bot is.

        Raises:
            AdapterError: The token is not accepted (permanent), or Discord cannot be reached.
            RateLimitError: Discord asks for a long pause, or Cloudflare refuses all requests.
        """
        self._check_not_blocked()
        await self._log_out()
        http = make_http(longest_pause_s=LONGEST_PAUSE_S)
        try:
            identity = await self._ask_identity(http)
        except BaseException:
            await http.close()
            raise
        self._login = _Login(http, identity)
        return identity

    async def _ask_identity(self, http: HTTPClient) -> Identity:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                user = await http.static_login(self._token)
        except discord.LoginFailure:
            raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
        except _FAILURES as error:
            failure = self._translated(error, what="the login")
            # Only a refused token is final: a login that is refused for another reason is tried again.
            raise (_unreachable(error) if isinstance(failure, DiscordRefusedError) else failure) from None
        application = cast("dict[str, Any]", await self._send(http, Route("GET", "/oauth2/applications/@me"), {}))
        return Identity(user=str(user["id"]), name=str(user["username"]), application=str(application["id"]))

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        files: Sequence[Attachment] = (),
        **parameters: str,
    ) -> Any:
        """Return what Discord answers; `parameters` fill in the path. Pauses of up to 30 s are waited out.

        Raises:
            RateLimitError: Discord asks for a longer pause, or Cloudflare refuses all requests; nothing was done.
            DiscordRefusedError: Discord refused.
            DiscordUnreachableError: Discord could not be reached or failed; it may have been done.
        """
        self._check_not_blocked()
        http = self._logged_in.http
        request: dict[str, Any] = {"params": dict(params)} if params else {}
        if files:
            request["form"] = _form(json, files)
        elif json is not None:
            request["json"] = json
        return await self._send(http, Route(method, path, **parameters), request)

    @property
    def _logged_in(self) -> _Login:
        if self._login is None:
            raise DiscordUnreachableError(NOT_OPEN)
        return self._login

    async def _send(self, http: HTTPClient, route: Route, request: Mapping[str, Any]) -> Any:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                if not route.path.startswith(_OF_INTERACTIONS):
                    await self._limiter.acquire()
                    self._check_not_blocked()
                return await http.request(route, **request)
        except asyncio.CancelledError:
            end_global_pause(http)
            raise
        except _FAILURES as error:
            if isinstance(error, TimeoutError):
                end_global_pause(http)
            raise self._translated(error, what=f"{route.method} {route.path}") from None

    def _check_not_blocked(self) -> None:
        if (pause_s := self.blocked_for_s) > 0:
            raise RateLimitError(retry_after_s=pause_s)

    # --- failures ---

    def _translated(self, error: Exception, *, what: str) -> AdapterError:
        """Return what a failure of the library means."""
        match error:
            case discord.RateLimited():
                return RateLimitError(retry_after_s=error.retry_after)
            case discord.HTTPException() if error.status < 500:
                return self._refusal(what, error)
            case _:
                return _unreachable(error)

    def _refusal(self, what: str, error: discord.HTTPException) -> AdapterError:
        is_rate_limit = error.status == 429 and not error.code  # Discord's other refusals of this status have a code
        if is_rate_limit and "Via" in error.response.headers:
            # Discord's own, after the library has waited it out several times; other calls may go on.
            return RateLimitError(retry_after_s=float(error.response.headers.get("Retry-After", 1.0)))
        if is_rate_limit:
            self._blocked_until = time.monotonic() + self._breaker_s
            log.error("discord_blocked", what=what, for_s=self._breaker_s)
            return RateLimitError(retry_after_s=self._breaker_s)
        log.warning("discord_refused", what=what, status=error.status, code=error.code)
        return DiscordRefusedError(what=what, status=error.status, code=error.code)


# RuntimeError: the session was closed. KeyError: a response lacks its headers.
_FAILURES = (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError, KeyError)
_OF_INTERACTIONS = ("/interactions/", "/webhooks/")  # Discord does not count them
_TOKEN = re.compile(r"(/(?:webhooks|interactions)/\d+/)[^/?\s]+")


def _hide_tokens(record: logging.LogRecord) -> bool:
    """Hide interaction tokens in the library's log lines: anyone who has one can answer in the bot's name."""
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub(r"\1[hidden]", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _form(payload: Any, files: Sequence[Attachment]) -> list[dict[str, Any]]:
    """Return the parts of a message with files: https://discord.com/developers/docs/reference#uploading-files"""
    names = [{"id": number, "filename": file.name} for number, file in enumerate(files)]
    body: dict[str, Any] = {**(payload or {}), "attachments": names}
    return [
        {"name": "payload_json", "value": json_format.dumps(body)},
        *(
            {
                "name": f"files[{number}]",
                "value": file.data,
                "filename": file.name,
                "content_type": file.mime_type or "application/octet-stream",
            }
            for number, file in enumerate(files)
        ),
    ]


def _unreachable(error: Exception) -> DiscordUnreachableError:
    log.warning("discord_failed", error=type(error).__name__)
    return DiscordUnreachableError(f"Discord cannot be reached ({type(error).__name__}). Try again in a minute.")
