"""The only way to call Discord's API: discord.py's HTTP client with its rate limits, and failures as sentences."""

from __future__ import annotations

import asyncio
import json as json_format
import logging
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import aiohttp
import discord
import structlog
import yarl

from adapters.discord.errors import (
    RATES,
    DiscordRefusedError,
    DiscordUnreachableError,
    read_form_errors,
)
from adapters.discord.private_parts import (
    HTTP_LOGGER,
    LOGGER,
    Exchange,
    HTTPClient,
    Route,
    end_global_pause,
    form_errors,
    make_http,
    use_api,
)
from adapters.shared.buckets import Caller, Rate
from adapters.shared.common import CommonRates
from adapters.shared.fence import check_held
from adapters.shared.gates import Gate, Turnstile
from adapters.shared.reaching import unreached
from adapters.shared.shares import current_priority, current_share
from adapters.shared.tasks import Background
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from bot.ports.giving_up import unless_given_up

log = structlog.stdlib.get_logger(__name__)

API_URL = "https://discord.com/api/v10"
REQUEST_TIMEOUT_S = 60.0  # including the pauses that Discord asks for within it
# Over all channels. The library sends more, and each refusal counts towards a ban by Cloudflare:
# https://discord.com/developers/docs/topics/rate-limits#global-rate-limit
REQUESTS_PER_S = 50.0
ALL = "all"  # the name of that rate among all processes; the rates of routes the library learns from each answer
TURN_S = 60.0  # for a request's turn among those of others
# Of the requests that change something in one channel, one of a kind goes at a time: the library keeps the rates of
# channels, first come, first served. One that takes longer than this holds up no other.
HOLD_S = 6.0
LONGEST_PAUSE_S = 30.0  # a longer one is raised instead of slept through; discord.py takes no smaller number
# Cloudflare's refusals name no time; a ban for too many bad requests lasts longer the more is sent meanwhile:
# https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
BREAKER_S = 300.0
MAX_RETRY_AFTER_S = 3_600.0  # of what a header asks for
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
        common: CommonRates | None = None,
    ) -> None:
        self._token = token.strip()
        self._api_url = api_url.rstrip("/")
        self._breaker_s = breaker_s
        self._login: _Login | None = None
        self._rate = Rate(calls=max(1, round(requests_per_s)), period_s=1.0)
        self._gate = Gate(self._rate)
        self._common = common or CommonRates()
        self._background = Background("discord api")
        self._channels = Turnstile(hold_s=HOLD_S)
        self.rate_limits = 0  # requests that Discord refused with a pause
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
        await self._background.drain(timeout_s=0.0)
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
        http = make_http(longest_pause_s=LONGEST_PAUSE_S, before_each=check_held)
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
            failure = self._translated(error, what="the login", exchange=Exchange())
            # Only a refused token is final: a login that is refused for another reason is tried again.
            raise (self._unreachable(error) if isinstance(failure, DiscordRefusedError) else failure) from None
        route = Route("GET", "/oauth2/applications/@me")
        application = await self._send(http, route, {}, Exchange())
        try:
            return Identity(user=str(user["id"]), name=str(user["username"]), application=str(application["id"]))
        except (KeyError, TypeError):
            raise self._foreign_answer() from None

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        files: Sequence[Attachment] = (),
        is_repeatable: bool = True,
        **parameters: str,
    ) -> Any:
        """Return what Discord answers; `parameters` fill in the path. Pauses of up to 30 s are waited out.

        Where Discord fails, the library asks again for up to 25 s, unless the caller has a patience of its own: then
        `is_repeatable` is false.

        Raises:
            RateLimitError: Discord asks for a longer pause, or Cloudflare refuses all requests; nothing was done.
            DiscordRefusedError: Discord refused, or a relay did by an HTTP status.
            DiscordUnreachableError: Discord could not be reached or failed; it may have been done.
        """
        self._check_not_blocked()
        http = self._logged_in.http
        request: dict[str, Any] = {"params": dict(params)} if params else {}
        if files:
            request["form"] = _form(json, files)
        elif json is not None:
            request["json"] = json
        route = Route(method, path, **parameters)
        try:
            async with self._turn(method, path, parameters.get("channel_id", "")):
                exchange = Exchange(is_repeatable=is_repeatable, on_global_pause=self._tell_pause)
                return await self._send(http, route, request, exchange)
        except DiscordUnreachableError as error:
            log.info("discord_failed", what=f"{method} {path}", error=str(error))
            raise

    @asynccontextmanager
    async def _turn(self, method: str, path: str, channel: str) -> AsyncGenerator[None]:
        """Run the block when it is the request's turn: people take turns, and answers go before progress.

        Raises:
            RateLimitError: The turn did not come in time.
        """
        if path.startswith(_OF_INTERACTIONS):
            yield
            return
        loop = asyncio.get_running_loop()
        caller = Caller(current_priority(), loop.time(), current_share())
        async with AsyncExitStack() as stack:
            if channel and method != "GET":
                key = f"{method} {path} {channel}"
                await stack.enter_async_context(self._channels.passed(key, caller, wait_s=TURN_S))
            deadline = loop.time() + TURN_S
            await self._gate.passed(caller, deadline)
            await self._common.passed(ALL, self._rate, caller, deadline=deadline)
            self._check_not_blocked()
            check_held()
            yield

    @property
    def _logged_in(self) -> _Login:
        if self._login is None:
            raise DiscordUnreachableError(NOT_OPEN)
        return self._login

    async def _send(self, http: HTTPClient, route: Route, request: Mapping[str, Any], exchange: Exchange) -> Any:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer = await unless_given_up(
                    http.request(route, **request, trace_request_ctx=exchange),
                    may_be_left=lambda: not exchange.is_under_way,
                )
        except (asyncio.CancelledError, RateLimitError):
            end_global_pause(http)
            raise
        except _FAILURES as error:
            if isinstance(error, TimeoutError):
                end_global_pause(http)
            raise self._translated(error, what=f"{route.method} {route.path}", exchange=exchange) from None
        finally:
            self.rate_limits += exchange.rate_limits
        if isinstance(answer, str) and answer:  # no JSON: a relay's own page
            raise self._foreign_answer()
        return answer

    def _tell_pause(self, pause_s: float) -> None:
        """Tell the other processes of a pause that holds for all that the bot sends; returns at once."""
        telling = self._common.refuse(ALL, self._rate, retry_after_s=pause_s)
        self._background.spawn(telling, name="pause")

    def _check_not_blocked(self) -> None:
        if (pause_s := self.blocked_for_s) > 0:
            raise RateLimitError(retry_after_s=pause_s)

    # --- failures ---

    def _translated(self, error: Exception, *, what: str, exchange: Exchange) -> AdapterError:
        """Return what a failure of the library means."""
        match error:
            case discord.RateLimited():
                return RateLimitError(retry_after_s=error.retry_after)
            case discord.HTTPException() if error.status < 500:
                return self._refusal(what, error)
            case _ if isinstance(error, _FOREIGN) and 400 <= exchange.status < 500 and exchange.status != 429:
                log.warning("discord_refused", what=what, status=exchange.status, code=0)
                return DiscordRefusedError(what=what, status=exchange.status, code=0)
            case _:
                return self._unreachable(error)

    def _refusal(self, what: str, error: discord.HTTPException) -> AdapterError:
        code = error.code if isinstance(cast("Any", error.code), int) else 0  # a relay may mean something else by it
        # Discord's other refusals of this status have a code.
        is_rate_limit = error.status == 429 and (not code or code in RATES)
        if is_rate_limit and (code or "Via" in error.response.headers):
            # Discord's own, after the library has waited it out several times; other calls may go on.
            return RateLimitError(retry_after_s=_retry_after_s(error))
        if is_rate_limit:
            self._blocked_until = time.monotonic() + self._breaker_s
            self._tell_pause(self._breaker_s)
            log.error("discord_blocked", what=what, for_s=self._breaker_s)
            return RateLimitError(retry_after_s=self._breaker_s)
        wrong = read_form_errors(form_errors(error))
        log.warning("discord_refused", what=what, status=error.status, code=code, fields=[str(each) for each in wrong])
        return DiscordRefusedError(what=what, status=error.status, code=code, form_errors=wrong)

    def _unreachable(self, error: Exception) -> DiscordUnreachableError:
        if isinstance(error, discord.HTTPException):
            return DiscordUnreachableError(_UNREACHABLE.format(reason=f"{self._host} answers {error.status}"))
        return DiscordUnreachableError(_UNREACHABLE.format(reason=unreached(error, self._api_url)))

    def _foreign_answer(self) -> DiscordUnreachableError:
        return DiscordUnreachableError(_UNREACHABLE.format(reason=f"{self._host} does not answer as Discord does"))

    @property
    def _host(self) -> str:
        return yarl.URL(self._api_url).host or self._api_url


_UNREACHABLE = "Discord cannot be reached ({reason}). Try again in a minute."
# KeyError: a response lacks its headers. All of them: the library reads an answer that has not Discord's form.
_FOREIGN = (AttributeError, KeyError, TypeError, ValueError)
# RuntimeError: the session was closed.
_FAILURES = (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError, *_FOREIGN)
_OF_INTERACTIONS = ("/interactions/", "/webhooks/")  # Discord does not count them
_TOKEN = re.compile(r"(/(?:webhooks|interactions)/\d+/)[^/?\s]+")


def _hide_tokens(record: logging.LogRecord) -> bool:
    """Hide interaction tokens in the library's log lines: anyone who has one can answer in the bot's name."""
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub(r"\1[hidden]", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _retry_after_s(error: discord.HTTPException) -> float:
    """Return the pause that a rate limit asks for; a relay may send a date, which is not worth reading."""
    try:
        return min(max(0.0, float(error.response.headers.get("Retry-After", 1.0))), MAX_RETRY_AFTER_S)
    except ValueError:
        return 1.0


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
