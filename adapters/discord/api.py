"""The one way to call Discord's API: discord.py's own HTTP client, its rate limits, and failures as sentences."""

from __future__ import annotations

import asyncio
import json as json_format
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import discord
import structlog
from aiolimiter import AsyncLimiter
from discord.http import HTTPClient, Route

from adapters.discord.errors import DiscordRefusedError, DiscordUnreachableError
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment

log = structlog.stdlib.get_logger(__name__)

API_URL = "https://discord.com/api/v10"
REQUEST_TIMEOUT_S = 60.0  # with the pauses that Discord asks for within it
# In all channels together. The library sends more, and each refusal counts towards a ban by Cloudflare:
# https://discord.com/developers/docs/topics/rate-limits#global-rate-limit
REQUESTS_PER_S = 50.0
LONGEST_PAUSE_S = 30.0  # a longer one is told instead of slept through; discord.py takes no smaller number
# What Cloudflare answers says no time; a ban for too many bad requests lasts longer the more is sent meanwhile:
# https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
BREAKER_S = 300.0
LOGIN_REFUSED = (
    "Discord does not accept DISCORD_BOT_TOKEN. Make a new one in the Developer Portal under Bot, and restart."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the bot is."""

    user: str
    name: str
    application: str


class Rest:
    """Calls Discord as the bot. Entering it makes nothing; `log_in` opens the connection, leaving it closes it."""

    def __init__(
        self,
        token: str,
        *,
        api_url: str = API_URL,
        breaker_s: float = BREAKER_S,
        requests_per_s: float = REQUESTS_PER_S,
    ) -> None:
        self._token = token
        self._api_url = api_url.rstrip("/")
        self._breaker_s = breaker_s
        self._http: HTTPClient | None = None
        self._all = AsyncLimiter(requests_per_s, 1.0)
        self._closed_until = 0.0  # seconds of time.monotonic(): Cloudflare let nothing through

    async def __aenter__(self) -> Self:
        logging.getLogger("discord").setLevel(logging.WARNING)  # below that it tells what people wrote
        logging.getLogger("discord.http").addFilter(_hide_tokens)
        Route.BASE = self._api_url  # the library has no other place for it
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @property
    def blocked_for_s(self) -> float:
        """For how long nothing is sent, because Cloudflare let nothing through."""
        return max(0.0, self._closed_until - time.monotonic())

    async def log_in(self) -> Identity:
        """Open the connection and return who the bot is.

        Raises:
            AdapterError: The token is not accepted (permanent), or Discord cannot be reached.
            RateLimitError: Discord asks for a long pause, or Cloudflare lets nothing through.
        """
        self._check_not_blocked()
        if self._http is None:
            self._http = HTTPClient(asyncio.get_running_loop(), max_ratelimit_timeout=LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                user = await self._http.static_login(self._token.strip())
            application = cast("dict[str, Any]", await self.call("GET", "/oauth2/applications/@me"))
        except discord.LoginFailure:
            await self._close()
            raise AdapterError(LOGIN_REFUSED, is_permanent=True) from None
        except AdapterError:
            await self._close()
            raise
        except discord.RateLimited as error:
            await self._close()
            raise RateLimitError(retry_after_s=error.retry_after) from None
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            await self._close()
            if isinstance(error, discord.HTTPException) and error.status == 429:
                raise self._refusal("the login", error) from None
            raise _unreachable(error) from None
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
        """Return what Discord answers; `parameters` fill the path in. Pauses up to 30 s are waited out.

        Raises:
            RateLimitError: Discord asks for a longer pause, or Cloudflare lets nothing through; nothing was done.
            DiscordRefusedError: Discord refused.
            DiscordUnreachableError: Discord could not be reached or failed; it may be done.
        """
        self._check_not_blocked()
        if self._http is None:
            raise DiscordUnreachableError("The connection to Discord is not open. Try again in a minute.")
        request: dict[str, Any] = {"params": dict(params)} if params else {}
        if files:
            request["form"] = _form(json, files)
        elif json is not None:
            request["json"] = json
        http = self._http
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                if not path.startswith(_OF_INTERACTIONS):
                    await self._all.acquire()
                    self._check_not_blocked()
                return await http.request(Route(method, path, **parameters), **request)
        except TimeoutError as error:
            _end_global_pause(http)
            raise _unreachable(error) from None
        except asyncio.CancelledError:
            _end_global_pause(http)
            raise
        except discord.RateLimited as error:
            raise RateLimitError(retry_after_s=error.retry_after) from None
        except discord.DiscordServerError as error:
            raise _unreachable(error) from None
        except discord.HTTPException as error:
            raise self._refusal(f"{method} {path}", error) from None
        except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError, KeyError) as error:
            raise _unreachable(error) from None

    def _check_not_blocked(self) -> None:
        if (pause_s := self.blocked_for_s) > 0:
            raise RateLimitError(retry_after_s=pause_s)

    def _refusal(self, what: str, error: discord.HTTPException) -> AdapterError:
        if error.status == 429 and "Via" in error.response.headers and not error.code:
            # Discord's own, which the library has waited out again and again: the others' calls go on.
            return RateLimitError(retry_after_s=float(error.response.headers.get("Retry-After", 1.0)))
        if error.status == 429 and not error.code:  # Discord's own refusals with this status have a code
            self._closed_until = time.monotonic() + self._breaker_s
            log.error("discord_blocked", what=what, for_s=self._breaker_s)
            return RateLimitError(retry_after_s=self._breaker_s)
        log.warning("discord_refused", what=what, status=error.status, code=error.code)
        return DiscordRefusedError(what=what, status=error.status, code=error.code)


_OF_INTERACTIONS = ("/interactions/", "/webhooks/")  # which Discord does not count
_TOKEN = re.compile(r"(/(?:webhooks|interactions)/\d+/)[^/?\s]+")


def _hide_tokens(record: logging.LogRecord) -> bool:
    """Take out of a line of the library the tokens of interactions: whoever has one answers in the bot's name."""
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub(r"\1[hidden]", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _end_global_pause(http: HTTPClient) -> None:
    """Let calls go on: one that is given up within a pause for all would leave the others waiting for ever."""
    http._global_over.set()  # pyright: ignore[reportPrivateUsage]


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
