"""What a tool returned, before it is kept: without the bot's own secrets, and its files without any."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import replace

from bot.domain.messages import Attachment, ToolResult
from bot.text.decoding import is_like_text
from bot.text.redaction import hide_known, redact_prose

FILE_NOTE = "A secret was hidden from a file of this answer."
_QUICK_BYTES = 20_000  # take 50 ms at most, however they are made; more in a thread: no other conversation waits
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


async def without_secrets(result: ToolResult) -> ToolResult:
    """Return the result as the model may read it and people may get its files.

    Of the text only known values are hidden: the model needs all else to work with. Text files and the names of all
    files have no secrets; images, archives and other documents stay as they are.
    """
    size = len(result.text) + sum(len(attachment.data) for attachment in result.attachments)
    return _hidden(result) if size <= _QUICK_BYTES else await asyncio.to_thread(_hidden, result)


def _hidden(result: ToolResult) -> ToolResult:
    files = tuple(map(_redacted_file, result.attachments))
    return replace(result, text=hide_known(result.text), attachments=files)


def _redacted_file(file: Attachment) -> Attachment:
    name, data = redact_prose(file.name), _redacted_bytes(file.data)
    return file if name == file.name and data == file.data else replace(file, name=name, data=data)


def _redacted_bytes(data: bytes) -> bytes:
    decoded = _decoded(data)
    if decoded is None:
        return data
    text, encoding = decoded
    shown = redact_prose(text)
    return data if shown == text else shown.encode(encoding)


def _decoded(data: bytes) -> tuple[str, str] | None:
    """Return the file's text and its encoding; None where it is no text. Any bytes can be read as Latin-1, and back."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if marked is None and not is_like_text(data):
        return None
    encoding = marked or "utf-8"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        return None if marked else (data.decode("latin-1"), "latin-1")
