"""How much work a message makes, found out before it is parsed: parsing cannot be interrupted, and all others wait.

Text and base64 cost next to nothing. What costs is the number of parts: 3 MB of content blocks take half a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from mcp.types import JSONRPCMessage

from bot.text.apart import PIECE
from bot.tools.servers.reading import Waiting, read_messages, unreadable

MAX_MESSAGE_BYTES = 12 * 1024 * 1024
TOO_LARGE = f"its answer is larger than {MAX_MESSAGE_BYTES // 1024 // 1024} MB"
MAX_PARTS = 60_000  # objects, lists and their entries; and as many texts
TOO_MANY_PARTS = f"its answer has more than {MAX_PARTS:,} parts"
LIGHT_BYTES = 60_000  # nothing of this size has more parts

_ENDS_BYTES = 300
_INSIDE = bytes(set(range(256)) - set(b"[{,:"))


async def read_weighed(raw: bytes, *, waiting: Waiting) -> list[JSONRPCMessage]:
    """Return the messages in one line or one body: see `read_messages`. Too many parts are an error to its request."""
    if await is_heavy(raw):
        return unreadable(raw[:_ENDS_BYTES], raw[-_ENDS_BYTES:], waiting=waiting, why=TOO_MANY_PARTS)
    if len(raw) <= LIGHT_BYTES:
        return read_messages(raw, waiting=waiting)
    return await asyncio.to_thread(read_messages, raw, waiting=dict(waiting))


async def is_heavy(raw: bytes) -> bool:
    """Return whether the JSON has more parts than can be read without keeping others waiting."""
    return len(raw) > LIGHT_BYTES and await asyncio.to_thread(_has_many_parts, raw)


async def with_turns(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, and give the loop its turns: what comes compressed may be a thousand times larger."""
    size = 0
    async for piece in pieces:
        yield piece
        size += len(piece)
        if size >= PIECE:
            size = 0
            await asyncio.sleep(0)


def _has_many_parts(raw: bytes) -> bool:
    parts = texts = 0
    for outside in outside_of_texts(raw):
        parts += sum(len(part.translate(None, delete=_INSIDE)) for part in outside)
        texts += len(outside)
        if max(parts, texts) > MAX_PARTS:
            return True
    return False


def outside_of_texts(raw: bytes) -> Iterator[list[bytes]]:
    """Yield, piece by piece, what is before, between and after the texts."""
    rest, is_inside = b"", False
    for start in range(0, len(raw), PIECE):
        piece = (rest + raw[start : start + PIECE]).replace(rb"\\", b"")
        rest = b"\\" if piece.endswith(b"\\") else b""
        parts = piece.removesuffix(b"\\").replace(rb"\"", b"").split(b'"')
        yield parts[1::2] if is_inside else parts[::2]
        is_inside ^= len(parts) % 2 == 0
