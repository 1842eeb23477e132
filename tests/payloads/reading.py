"""Payloads as platforms send them, each with the event that it is to the bot, in JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bot.domain.events import ConversationKey

FOLDER = Path(__file__).parent


class Sample(NamedTuple):
    """One file: NAME.json with the `source` that documents the shape, the `payload`, and what to `expect` of it."""

    name: str
    payload: Any
    expect: Any


def samples(platform: str) -> Iterator[Sample]:
    for file in sorted((FOLDER / platform).glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        assert set(content) == {"source", "payload", "expect"}, file.name
        yield Sample(file.stem, content["payload"], content["expect"])


def as_json(value: Any) -> Any:
    """Return an event, or a part of one, as JSON: its type and the fields that differ from their default."""
    match value:
        case ConversationKey() | datetime():
            return str(value)
        case tuple() | list():
            return [as_json(each) for each in value]
        case _ if dataclasses.is_dataclass(value):
            fields = {
                each.name: getattr(value, each.name) for each in dataclasses.fields(value) if differs(value, each)
            }
            return {"kind": type(value).__name__} | {name: as_json(each) for name, each in fields.items()}
        case _:
            return value


def differs(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a field has another value than the one that it has when it is left out."""
    if field.default_factory is not dataclasses.MISSING:
        return getattr(value, field.name) != field.default_factory()
    return getattr(value, field.name) != field.default
