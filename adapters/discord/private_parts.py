"""The parts of discord.py that it does not document and may change in any release; nothing else here uses such a part.

`tests/unit/adapters/discord/test_private_parts.py` names each of them and fails when one is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route

__all__ = [
    "HTTP_LOGGER",
    "LOGGER",
    "HTTPClient",
    "Route",
    "end_global_pause",
    "event_parsers",
    "hide_voice_warnings",
    "make_http",
    "use_api",
    "use_gateway",
]

LOGGER, HTTP_LOGGER = "discord", "discord.http"


def use_api(url: str) -> None:
    """Send all requests of this process to that API."""
    Route.BASE = url


def use_gateway(url: str) -> None:
    """Begin all gateway sessions of this process at that address."""
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)


def make_http(*, longest_pause_s: float) -> HTTPClient:
    """Return a client that raises `discord.RateLimited` for a longer pause; `static_login` opens it."""
    return HTTPClient(asyncio.get_running_loop(), max_ratelimit_timeout=longest_pause_s)


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
