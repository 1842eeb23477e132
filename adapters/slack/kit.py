"""The pieces of Block Kit of which messages, windows and forms are made. Pure.

Limits are those of https://docs.slack.dev/reference/block-kit.
Untrusted text is put into mrkdwn by `literal`; `plain`, `preformatted` and other rich text show any text literally.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.slack.mrkdwn import fitting, unformatted
from bot.text.lines import flat
from bot.text.split import cut

Blocks = list[dict[str, Any]]

TEXT_CHARS = 2_900  # of one text object, which takes 3,000
NAME_CHARS = 60  # of a server's or a tool's name, escaped
BUTTON_CHARS = 75
TITLE_CHARS = 24  # of a modal, and of its buttons: https://docs.slack.dev/reference/views/modal-views


# --- untrusted text --------------------------------------------------------------------------------------------


def literal(text: str, max_chars: int = TEXT_CHARS) -> str:
    """Return untrusted text as one line of mrkdwn in which nothing is a mention, a link or a format."""
    return fitting(unformatted(flat(text)), max_chars)


def short_name(text: str) -> str:
    """Return a server's or a tool's name in mrkdwn."""
    return fitting(unformatted(cut(flat(text), NAME_CHARS)), NAME_CHARS)


def packed(lines: Sequence[str]) -> list[str]:
    """Return lines of mrkdwn, joined into as few texts as possible."""
    texts: list[str] = []
    for line in lines:
        if texts and len(texts[-1]) + 1 + len(line) <= TEXT_CHARS:
            texts[-1] = f"{texts[-1]}\n{line}"
        else:
            texts.append(line)
    return texts


# --- texts -----------------------------------------------------------------------------------------------------


def plain(text: str) -> dict[str, Any]:
    """Return a text object that shows the text as it is."""
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> dict[str, Any]:
    """Return a text object of mrkdwn in which nothing becomes a link or a mention by itself."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def label(text: str) -> dict[str, Any]:
    """Return a bold line of rich text."""
    return {"type": "rich_text_section", "elements": [{"type": "text", "text": text, "style": {"bold": True}}]}


def preformatted(text: str) -> dict[str, Any]:
    """Return rich text that shows the text with its lines and spaces."""
    return {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}


# --- blocks ----------------------------------------------------------------------------------------------------


def section(text: str) -> dict[str, Any]:
    """Return a block of mrkdwn."""
    return {"type": "section", "text": mrkdwn(text)}


def context(text: str) -> dict[str, Any]:
    """Return a block of small mrkdwn."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def header(text: str) -> dict[str, Any]:
    """Return a heading."""
    return {"type": "header", "text": plain(text)}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    """Return a row of what can be pressed."""
    return {"type": "actions", "elements": list(elements)}


def button(text: str, *, action_id: str, value: str, style: str = "") -> dict[str, Any]:
    """Return a button; `style` is "primary", "danger" or empty."""
    shown = cut(flat(text), BUTTON_CHARS) or "(no title)"
    pressed = {"type": "button", "action_id": action_id, "text": plain(shown), "value": value}
    return {**pressed, "style": style} if style else pressed


def modal(title: str, blocks: Blocks, **details: Any) -> dict[str, Any]:
    """Return a window; its title is cut to 24 characters."""
    shown = cut(flat(title), TITLE_CHARS) or "Toolbridge"
    return {"type": "modal", "title": plain(shown), "close": plain("Close"), "blocks": blocks, **details}


def compact(value: dict[str, Any]) -> str:
    """Return the JSON that a button carries."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
