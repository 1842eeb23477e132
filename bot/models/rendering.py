"""Parts of a request that are written alike on every API."""

from __future__ import annotations

import base64
import re

from bot.domain.messages import Attachment, UserMessage
from bot.text.cleaning import strip_surrogates
from bot.text.marks import speaker_line, unmarked

_MAX_NAME_CHARS = 64
_INVALID_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def render_question(message: UserMessage) -> str:
    """Return the question; where several people share the conversation, its first line says whose it is.

    Chat Completions has a field for names, but gateways drop it or refuse it, and Responses has none:
    https://github.com/stdapi-ai/stdapi.ai/issues/258, https://github.com/unslothai/unsloth/pull/10937
    Then follow what it points at, its own words, and its files.
    """
    parts = [strip_surrogates(message.context), unmarked(message.text), strip_surrogates(message.attached)]
    text = "\n\n".join(filter(None, parts))
    if message.speaker is None:
        return text
    return f"{speaker_line(message.speaker, message.speaker_id)}\n{text}"


def data_url(image: Attachment) -> str:
    """Return the image as a URL that contains it."""
    return f"data:{image.mime_type};base64,{base64.b64encode(image.data).decode()}"


def valid_name(name: str) -> str:
    """Return a tool name that endpoints accept, whatever name the model invented."""
    return _INVALID_IN_NAMES.sub("_", name)[:_MAX_NAME_CHARS] or "unnamed"


def clip_words(text: str, *, max_chars: int, mark: str) -> str:
    """Return the text, cut to `max_chars` characters between two words where it is longer; then the mark ends it."""
    if len(text) <= max_chars:
        return text
    kept = text[: max_chars - len(mark)]
    return (kept.rpartition(" ")[0] or kept).rstrip() + mark
