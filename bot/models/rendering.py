"""Parts of a request that are written alike on every API."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

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


def render_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with `properties` in every object and `items` in every array.

    OpenAI and Azure refuse the whole request for one schema without them. Empty ones do not change its meaning.
    """
    return {name: _complete(name, value) for name, value in _with_defaults(schema).items()}


# Keywords whose value is a schema or a list of schemas, and keywords whose value holds a schema under each name.
_OF_SCHEMAS = frozenset({"items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf", "not"})
_OF_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def _complete(keyword: str, value: object) -> object:
    if keyword in _OF_NAMED_SCHEMAS and isinstance(value, Mapping):
        return {name: _complete("items", one) for name, one in cast("Mapping[str, object]", value).items()}
    if keyword in _OF_SCHEMAS and isinstance(value, list):
        return [_complete("items", one) for one in cast("list[object]", value)]
    if keyword in _OF_SCHEMAS and isinstance(value, Mapping):
        return render_schema(cast("Mapping[str, Any]", value))
    return value


def _with_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    named: object = schema.get("type")
    types: Sequence[object] = cast("list[object]", named) if isinstance(named, list) else (named,)
    defaults: dict[str, Any] = {}
    if "object" in types:
        defaults["properties"] = {}
    if "array" in types:
        defaults["items"] = {}
    return {**schema, **{name: value for name, value in defaults.items() if name not in schema}}
