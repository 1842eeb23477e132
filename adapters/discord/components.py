"""Rows, buttons and selects of a message, as JSON. Pure. https://docs.discord.com/developers/components/reference"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_IN_ROW = 5
# https://docs.discord.com/developers/components/reference#button-button-styles
PRIMARY, SECONDARY, DANGER, LINK = 1, 2, 4, 5


def row(*components: dict[str, Any]) -> dict[str, Any]:
    """Return a row of up to five buttons, or of one select."""
    return {"type": 1, "components": list(components)}


def button(label: str, *, custom_id: str, style: int = SECONDARY, emoji: str = "") -> dict[str, Any]:
    """Return a button with a label, an emoji or both."""
    shape: dict[str, Any] = {"type": 2, "style": style, "custom_id": custom_id}
    return {**shape, **({"label": label} if label else {}), **({"emoji": {"name": emoji}} if emoji else {})}


def select(custom_id: str, *, placeholder: str, options: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return a select of up to 25 options."""
    return {"type": 3, "custom_id": custom_id, "placeholder": placeholder, "options": list(options)}
