"""Downloads of the files that people attach: from Discord's own hosts only, up to a size."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import structlog
from yarl import URL

from adapters.discord.errors import DiscordUnreachableError
from adapters.shared.reaching import unreached
from bot.domain.errors import AdapterError

log = structlog.stdlib.get_logger(__name__)

# https://discord.com/developers/docs/reference#image-formatting-cdn-endpoints
HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
TRANSFER_TIMEOUT_S = 120.0
CHUNK_BYTES = 64 * 1024


async def download(session: aiohttp.ClientSession, url: str, *, max_bytes: int, api_url: str) -> bytes:
    """Return the bytes of an attachment on one of Discord's hosts or on the host of `api_url`.

    Raises:
        AdapterError: The address is not Discord's, the file is too large, or the download failed; the sentence is for
            the person who sent it.
    """
    address = _address(url, api_url)
    if address is None:
        raise AdapterError("The file is not on Discord's own servers, so I did not open it.", is_permanent=True)
    try:
        async with asyncio.timeout(TRANSFER_TIMEOUT_S), session.get(address, allow_redirects=False) as response:
            if response.status != 200:
                raise AdapterError(f"Discord did not return the file (HTTP {response.status}). Send it again.")
            return await _read(response, max_bytes)
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
        log.warning("discord_download_failed", error=unreached(error, url))
        raise DiscordUnreachableError("The file could not be fetched from Discord. Send it again.") from None


def _address(url: str, api_url: str) -> URL | None:
    """Return the parsed address of a file on Discord's hosts or on that of its API; None for any other."""
    with suppress(ValueError):  # not an address
        address = URL(url)
        if (address.scheme == "https" and address.host in HOSTS) or address.origin() == URL(api_url).origin():
            return address
    return None


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            response.close()  # without reading the rest
            raise AdapterError(f"The file is bigger than the {max_bytes / 1_000_000:g} MB that I read.")
    return bytes(data)
