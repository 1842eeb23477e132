"""The parts of discord.py that it does not document and may change in any release; nothing else here uses such a part.

`tests/unit/adapters/discord/test_private_parts.py` names each of them and fails when one is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route

__all__ = [
    "CONNECTION_LOGGERS",
    "HTTP_LOGGER",
    "LOGGER",
    "Exchange",
    "HTTPClient",
    "Route",
    "end_global_pause",
    "event_parsers",
    "form_errors",
    "hide_voice_warnings",
    "make_http",
    "use_api",
    "use_gateway",
]

LOGGER, HTTP_LOGGER = "discord", "discord.http"
CONNECTION_LOGGERS = ("discord.client", "discord.shard")
REPEATED = frozenset({500, 502, 504, 524})  # statuses that the library asks again for, five times in 25 s
TOO_MANY_REQUESTS = 429


def use_api(url: str) -> None:
    """Send all requests of this process to that API."""
    Route.BASE = url


def use_gateway(url: str) -> None:
    """Begin all gateway sessions of this process at that address."""
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its answer; given to the client as `trace_request_ctx`."""

    is_repeatable: bool = True  # the library may ask again where Discord fails
    status: int = 0  # of the last answer; 0: there was none


def make_http(*, longest_pause_s: float, before_each: Callable[[], None] = lambda: None) -> HTTPClient:
    """Return a client that raises `discord.RateLimited` for a longer pause; `static_login` opens it.

    `before_each` is called when a request is about to be sent, after the library's own pauses, and may refuse it.
    """

    async def begin(*_: object) -> None:
        before_each()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begin)
    trace.on_request_end.append(_note_answer)
    return HTTPClient(asyncio.get_running_loop(), http_trace=trace, max_ratelimit_timeout=longest_pause_s)


async def _note_answer(
    _: aiohttp.ClientSession, context: SimpleNamespace, parameters: aiohttp.TraceRequestEndParams
) -> None:
    exchange: Exchange | None = context.trace_request_ctx
    if exchange is None:
        return
    response = parameters.response
    exchange.status = response.status
    if exchange.status in REPEATED and not exchange.is_repeatable:
        response.close()
        raise discord.DiscordServerError(response, None)
    if exchange.status == TOO_MANY_REQUESTS:
        # The library takes each of them for a rate limit, and fails where it does not find how long to wait.
        answer = await _json_of(response)
        if isinstance(answer, dict) and "retry_after" not in answer:
            raise discord.HTTPException(response, cast("dict[str, Any]", answer))


async def _json_of(response: aiohttp.ClientResponse) -> Any:
    """Return the answer, None where it is no JSON; the library can read it again."""
    try:
        return await response.json(content_type=None)
    except ValueError:
        return None


def form_errors(error: discord.HTTPException) -> Any:
    """Return what a refusal says of the fields of its request, as Discord nests it; None where it says nothing."""
    return getattr(error, "_errors", None)


def end_global_pause(http: HTTPClient) -> None:
    """Release the requests that wait for the end of a global rate limit.

    The request that met the limit releases them after its pause; when it is cancelled meanwhile, they wait forever.
    """
    http._global_over.set()  # pyright: ignore[reportPrivateUsage]


def event_parsers(client: discord.Client) -> dict[str, Callable[[Any], None]]:
    """Return the functions that the client calls with each dispatch's data, by its name; changes take effect."""
    return client._connection.parsers  # pyright: ignore[reportPrivateUsage]


def hide_voice_warnings() -> None:
    """Keep the library from warning that libraries for voice are missing: nothing here speaks."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
