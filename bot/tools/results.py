"""MCP results in the form that the model and the user get: text, and bytes to show."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from pathlib import PurePosixPath
from urllib.parse import unquote

from mcp import types

from bot.domain.messages import Attachment, ToolResult
from bot.text.apart import LONG, PIECE, apart
from bot.text.cleaning import strip_surrogates
from bot.text.counting import count

# Python knows these since 3.13 or 3.14 only, or where the machine has a table of its own.
_SUFFIXES = {
    "audio/flac": ".flac",
    "audio/mp3": ".mp3",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "image/webp": ".webp",
}
MAX_TEXT_CHARS = 1_000_000  # of one result: fifty times what the model is given of it
NOTHING = "The tool returned nothing."
NO_REASON = "The tool failed, and the server gives no reason."


async def read_result(call_id: str, result: types.CallToolResult) -> ToolResult:
    """Return what `parse_result` returns; a long result is read in a thread."""
    size = sum(map(_length, result.content)) + (LONG if result.structured_content is not None else 0)
    return await apart(lambda: parse_result(call_id, result), size=size)


def parse_result(call_id: str, result: types.CallToolResult) -> ToolResult:
    """Return the result as domain types: the texts joined and bounded, bytes as attachments with a line for each."""
    lines: list[str] = []
    attachments: list[Attachment] = []
    for number, block in enumerate(result.content, start=1):
        part = _parse_block(block, number=number)
        if isinstance(part, Attachment):
            attachments.append(part)
            lines.append(f"[{part.mime_type}, {_size(len(part.data))}, shown to the user]")
        else:
            lines.append(part)
    if result.structured_content is not None and not any(_is_text(block) for block in result.content):
        lines.insert(0, json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":")))
    return ToolResult(
        call_id=call_id,
        text=_bounded("\n".join(line for line in lines if line)) or (NO_REASON if result.is_error else NOTHING),
        outcome="error" if result.is_error else "ok",
        attachments=tuple(attachments),
    )


def _length(block: types.ContentBlock) -> int:
    match block:
        case types.TextContent():
            return len(block.text)
        case types.ImageContent() | types.AudioContent():
            return len(block.data)
        case _:
            return LONG


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARS:
        return text
    return f"{text[:MAX_TEXT_CHARS]}\n[cut: the first {MAX_TEXT_CHARS:,} of {len(text):,} characters of this answer]"


def _is_text(block: types.ContentBlock) -> bool:
    return isinstance(block, types.EmbeddedResource) or (isinstance(block, types.TextContent) and bool(block.text))


def _parse_block(block: types.ContentBlock, *, number: int) -> str | Attachment:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            suffix = _suffix(block.mime_type)
            return _decode(block.data, mime_type=block.mime_type, name=f"{block.type}-{number}{suffix}")
        case types.EmbeddedResource():
            return _parse_resource(block.resource, number=number)
        case types.ResourceLink():
            return _link(block)


def _link(link: types.ResourceLink) -> str:
    about = f": {link.description}" if link.description else ""
    kind = ", ".join(filter(None, [link.mime_type, _size(link.size) if link.size is not None else ""]))
    return f"[resource {link.title or link.name} at {link.uri}{about}{f' ({kind})' if kind else ''}]"


def _parse_resource(
    resource: types.TextResourceContents | types.BlobResourceContents, *, number: int
) -> str | Attachment:
    if isinstance(resource, types.TextResourceContents):
        return f"[resource {resource.uri}]\n{resource.text}"
    mime_type = resource.mime_type or "application/octet-stream"
    name = PurePosixPath(unquote(resource.uri.partition("?")[0])).name
    return _decode(resource.blob, mime_type=mime_type, name=name or f"file-{number}")


def _decode(data: str, *, mime_type: str, name: str) -> str | Attachment:
    try:
        decoded = _decode_base64(data)
    except (binascii.Error, ValueError):
        return f"[{mime_type}: the server sent it in invalid base64, so it cannot be shown]"
    return Attachment(name=strip_surrogates(name), mime_type=mime_type, data=decoded)


def _decode_base64(data: str) -> bytes:
    """Return the bytes, decoded piece by piece. Raises ValueError where the data is no base64."""
    decoded, rest = bytearray(), ""
    for start in range(0, len(data), PIECE):
        text = rest + "".join(data[start : start + PIECE].split())
        whole = len(text) // 4 * 4 - 4  # the last four characters, which may be the end, wait for the next piece
        part, rest = text[: max(0, whole)], text[max(0, whole) :]
        if "=" in part:
            raise ValueError("it goes on after its end")
        decoded += base64.b64decode(part, validate=True)
    return bytes(decoded + base64.b64decode(rest, validate=True))


def _suffix(mime_type: str) -> str:
    """Return the file extension by which chat platforms choose how to show or play it; "" where none is known."""
    return _SUFFIXES.get(mime_type) or mimetypes.guess_extension(mime_type, strict=False) or ""


def _size(length: int) -> str:
    if length < 1024:
        return count(length, "byte")
    return f"{length / 1024:.0f} KB" if length < 1024**2 else f"{length / 1024**2:.1f} MB"
