"""The parts of discord.py that it does not document and may change in any release; nothing else here uses such a part.

`tests/unit/adapters/discord/test_private_parts.py` names each of them and fails when one is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient, Route

__all__ = [
    "HTTP_LOGGER",
    "LOGGER",
    "Exchange",
    "HTTPClient",
    "Position",
    "Route",
    "converse",
    "end_global_pause",
    "event_parsers",
    "form_errors",
    "hang_up",
    "hide_voice_warnings",
    "make_guild",
    "make_http",
    "position_of",
    "use_api",
    "use_gateway",
]

LOGGER, HTTP_LOGGER = "discord", "discord.http"
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

    is_under_way: bool = False  # it was sent, and may have been done; the library's own pauses come before and after
    is_repeatable: bool = True  # the library may ask again where Discord fails
    status: int = 0  # of the last answer; 0: there was none
    rate_limits: int = 0  # answers of status 429; the library waits most of them out
    # Called at once with the seconds of a pause that holds for all requests; the library waits it out.
    on_global_pause: Callable[[float], None] | None = None


def make_http(*, longest_pause_s: float, before_each: Callable[[], None] = lambda: None) -> HTTPClient:
    """Return a client that raises `discord.RateLimited` for a longer pause; `static_login` opens it.

    `before_each` is called when a request is about to be sent, after the library's own pauses, and may refuse it.
    """

    async def begin(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestStartParams) -> None:
        before_each()
        if isinstance(context.trace_request_ctx, Exchange):
            context.trace_request_ctx.is_under_way = True

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
        exchange.is_under_way = False
        exchange.rate_limits += 1
        # The library takes each of them for a rate limit, and fails where it does not find how long to wait.
        answer = await _json_of(response)
        if isinstance(answer, dict):
            _note_pause(exchange, response, cast("dict[str, Any]", answer))


def _note_pause(exchange: Exchange, response: aiohttp.ClientResponse, answer: dict[str, Any]) -> None:
    """Take note of a rate limit: https://discord.com/developers/docs/topics/rate-limits#exceeding-a-rate-limit"""
    if "retry_after" not in answer:
        raise discord.HTTPException(response, answer)
    pause_s = answer["retry_after"]
    if answer.get("global") is True and exchange.on_global_pause and isinstance(pause_s, int | float):
        exchange.on_global_pause(float(pause_s))


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


# --- a connection to the gateway ---

CONNECT_S = 60.0
CLOSE_S = 0.4  # the end of the process waits for it
# 1000 and 1001 would end the session: https://docs.discord.com/developers/events/gateway#initiating-a-disconnect
RESUMABLE = 4000
OVER = 1000
# Invalid sequence, session timed out: https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway
SESSION_IS_OVER = frozenset({4007, 4009})


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a gateway session has come; any connection can go on from there, also another process's."""

    session: str
    seq: int  # of the last dispatch
    gateway: str


async def converse(client: discord.Client, position: Position | None) -> bool:
    """Connect the client, which is logged in, and take what comes until the connection ends.

    Resumes the session of `position`, or begins one where that is None. Returns whether the session can be resumed.

    Raises:
        discord.ConnectionClosed: Discord ended the connection with a code after which it wants no other.
        OSError, aiohttp.ClientError, TimeoutError: The gateway was not reached.
    """
    resumed: dict[str, Any] = {}
    if position is not None:
        resumed = {
            "resume": True,
            "session": position.session,
            "sequence": position.seq,
            "gateway": yarl.URL(position.gateway),
        }
    try:
        opening = _socket_of(client).from_client(client, initial=True, shard_id=client.shard_id, **resumed)
        try:
            client.ws = await asyncio.wait_for(opening, timeout=CONNECT_S)
        except Exception:  # the library would leave the connection and the thread of its heartbeat behind
            await _close_socket(client, RESUMABLE)
            raise
        while True:
            await client.ws.poll_event()
    except ReconnectWebSocket as ending:
        return ending.resume and _close_code(client) not in SESSION_IS_OVER


def position_of(client: discord.Client) -> Position | None:
    """Return how far the client's session has come; None where none has begun."""
    ws = _websocket(client)
    if ws is None or ws.session_id is None or ws.sequence is None:
        return None
    return Position(session=ws.session_id, seq=ws.sequence, gateway=str(ws.gateway))


async def hang_up(client: discord.Client, *, is_resumable: bool) -> None:
    """Close the client and its connection within a moment; unless `is_resumable`, its session ends."""
    await _close_socket(client, RESUMABLE if is_resumable else OVER)
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await client.close()


def _socket_of(client: discord.Client) -> type[DiscordWebSocket]:
    """Return a class whose connection is the client's from its beginning, so that it is closed whatever happens."""

    class Socket(DiscordWebSocket):
        def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(socket, loop=loop)
            client.ws = self

    return Socket


async def _close_socket(client: discord.Client, code: int) -> None:
    """Close the connection; where it is lost already, this ends the thread of its heartbeat."""
    ws = _websocket(client)
    if ws is not None:
        with suppress(OSError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(CLOSE_S):
                await ws.close(code=code)


def _websocket(client: discord.Client) -> DiscordWebSocket | None:
    return cast("DiscordWebSocket | None", client.ws)


def _close_code(client: discord.Client) -> int | None:
    ws = _websocket(client)
    return None if ws is None else ws.socket.close_code


def make_guild(payload: Mapping[str, Any]) -> discord.Guild:
    """Return a server as the library would know it by a GUILD_CREATE of that content, with the bot as its one member.

    Nothing of it changes later.
    """
    state: Any = discord.Client(intents=discord.Intents(guilds=True))._connection  # pyright: ignore[reportPrivateUsage]
    (me,) = payload["members"]
    state.user = discord.ClientUser(state=state, data=me["user"])
    return discord.Guild(data=cast("Any", payload), state=state)


def event_parsers(client: discord.Client) -> dict[str, Callable[[Any], None]]:
    """Return the functions that the client calls with each dispatch's data, by its name; changes take effect."""
    return client._connection.parsers  # pyright: ignore[reportPrivateUsage]


def hide_voice_warnings() -> None:
    """Keep the library from warning that libraries for voice are missing: nothing here speaks."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
