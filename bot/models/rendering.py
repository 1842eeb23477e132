"""Parts of a request that are written alike on every API."""

from __future__ import annotations

import base64
import re

from bot.domain.messages import Attachment, UserMessage
from bot.text.cleaning import strip_surrogates

_MAX_SPEAKER_CHARS = 80
_MAX_NAME_CHARS = 64
_INVALID_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def render_question(message: UserMessage) -> str:
    """Return the question, preceded by its speaker's name where several people share the conversation.

    What it points at comes first.
    """
    text = message.text
    if message.speaker is not None:
        name = " ".join(message.speaker.translate({ord(char): " " for char in "[]"}).split())
        text = f"[{name[:_MAX_SPEAKER_CHARS] or 'someone'}] {text}"
    return strip_surrogates(f"{message.context}\n\n{text}" if message.context else text)


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
