"""The words of Block Kit's blocks, in Slack's markup (`<@U1>`, `&lt;`): https://docs.slack.dev/reference/block-kit"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.shared.payloads import Payload, dict_of, dicts_of, list_of
from adapters.slack.payloads import first_text, number_text, text_at, time_of

MAX_DEPTH = 12  # of blocks within blocks; Slack's own go down some five levels
# Blocks that carry no words, or only the labels of the platform's own buttons.
_SILENT = frozenset({"divider", "context_actions", "feedback_buttons", "icon_button", "overflow", "share_shortcut"})
# Where a block or an element that has no rule of its own keeps its words, in the order in which people see them.
_TEXTS = ("title", "subtitle", "header", "label", "text", "caption", "description", "body", "alt_text", "placeholder")
_PARTS = ("fields", "accessory", "elements", "blocks", "tasks", "details", "output", "sources", "actions", "options")
_UNREAD: Mapping[str, str] = {
    "video": "a video",
    "file": "a file of another service",
    "call": "a call",
    "data_visualization": "a chart",
}
_STYLES = (("strike", "~"), ("code", "`"))


@dataclass(frozen=True, slots=True)
class BlockWords:
    """The words of one block, and what it carries that cannot be read, each in a few words."""

    text: str
    unread: tuple[str, ...] = ()


def read_blocks(value: object) -> list[BlockWords]:
    """Return the words of each block of a list; blocks without words and without anything unread are left out."""
    found = [_block(block) for block in dicts_of(value)]
    return [words for words in found if words.text or words.unread]


def escaped(text: str) -> str:
    """Return plain text as Slack's markup has it: https://docs.slack.dev/messaging/formatting-message-text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def link(url: str, label: str = "") -> str:
    """Return a link in Slack's markup; only its label where there is no address."""
    safe = url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C")
    if not safe:
        return label
    return f"<{safe}|{label.replace('|', '/')}>" if label else f"<{safe}>"


def _block(block: Payload) -> BlockWords:
    kind = text_at(block, "type")
    text = _words(block, MAX_DEPTH)
    unread = [_UNREAD[kind]] if kind in _UNREAD else []
    if _has_picture(block, MAX_DEPTH):
        unread.append("a picture")
    if not text and not unread and kind not in _SILENT and kind != "rich_text":
        unread.append(_unknown(kind))
    return BlockWords(text, tuple(unread))


def _unknown(kind: str) -> str:
    name = re.sub(r"[^a-z ]", "", kind.replace("_", " "))[:30].strip()
    return f"a part that I do not know ({name})" if name else "a part that I do not know"


def _has_picture(block: Payload, depth: int) -> bool:
    """Whether a picture is shown large: as a block, on a card, or beside a text; not as an icon in a context."""
    if not depth or block.get("type") == "context":
        return False
    if block.get("type") == "image" or dict_of(block.get("hero_image")):
        return True
    inner = [dict_of(block.get("accessory")), *dicts_of(block.get("elements")), *dicts_of(block.get("blocks"))]
    return any(_has_picture(each, depth - 1) for each in inner if each)


# --- any block or element ------------------------------------------------------------------------------------------


def _words(item: object, depth: int) -> str:
    """Return the words of a block, an element, a text object, or a plain text."""
    if isinstance(item, str):
        return item
    found = dict_of(item)
    kind = text_at(found, "type")
    if not found or not depth or kind in _SILENT:
        return ""
    if reader := _READERS.get(kind):
        return reader(found, depth)
    parts = [_words(found[name], depth - 1) for name in _TEXTS if name in found]
    parts += [_list(found[name], depth - 1) for name in _PARTS if name in found]
    return "\n".join(part for part in parts if part.strip())


def _list(value: object, depth: int) -> str:
    items = list_of(value) or [value]
    return "\n".join(part for each in items if (part := _words(each, depth)).strip())


def _image(image: Payload, depth: int) -> str:
    title = _words(image.get("title"), depth - 1)
    alt = text_at(image, "alt_text")
    shown = ": ".join(dict.fromkeys(part for part in (title, alt) if part.strip()))
    return f"[Picture: {shown}]" if shown else ""


def _button(button: Payload, depth: int) -> str:
    label = _words(button.get("text") or button.get("placeholder"), depth - 1)
    return f"[{link(text_at(button, 'url'), label)}]" if label else ""


def _row_of_elements(block: Payload, depth: int) -> str:
    found = [_words(element, depth - 1) for element in dicts_of(block.get("elements"))]
    return " ".join(part for part in found if part.strip())


def _source(source: Payload, depth: int) -> str:
    return link(text_at(source, "url"), _words(source.get("text"), depth - 1))


# --- tables --------------------------------------------------------------------------------------------------------


def _table(block: Payload, depth: int) -> str:
    """Return all rows with all cells, the empty ones too, as a Markdown table whose first row is the header.

    https://docs.slack.dev/reference/block-kit/blocks/table-block; pasted tables have numbers and nulls as cells:
    vercel/chat#803.
    """
    rows = [[_cell(cell, depth - 1) for cell in list_of(row)] for row in list_of(block.get("rows"))]
    rows = [row for row in rows if row]
    caption = _words(block.get("caption"), depth - 1)
    if not any(cell for row in rows for cell in row):
        return caption
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{'---|' * len(rows[0])}")
    return "\n".join([*([caption] if caption else []), *lines])


def _cell(cell: object, depth: int) -> str:
    found = dict_of(cell)
    kind = text_at(found, "type")
    if kind == "raw_text":
        text = escaped(text_at(found, "text"))
    elif kind == "raw_number":
        text = number_text(found.get("value")) or first_text(found, "text", "value")
    else:
        text = number_text(cell) or _words(cell, depth)
    return " ".join(text.replace("|", "\\|").split())


# --- rich text: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block ----------------------------------


def _rich_text(block: Payload, depth: int) -> str:
    shown, before = "", ""
    for element in dicts_of(block.get("elements")):
        kind, text = text_at(element, "type"), _words(element, depth - 1)
        # Only sections say themselves where a line ends.
        is_one_flow = before == kind == "rich_text_section"
        shown = f"{shown}{text}" if is_one_flow or not shown else "\n".join((shown.rstrip("\n"), text))
        before = kind
    return shown.strip("\n")


def _inlines(element: Payload, depth: int) -> str:
    return "".join(_inline(each, depth - 1) for each in dicts_of(element.get("elements")))


def _items(element: Payload, depth: int) -> str:
    is_ordered = element.get("style") == "ordered"
    first = _small(element.get("offset")) + 1
    indent = "    " * _small(element.get("indent"))
    items = [_words(each, depth - 1) for each in dicts_of(element.get("elements"))]
    marks = (f"{first + number}." if is_ordered else "•" for number in range(len(items)))
    return "\n".join(f"{indent}{mark} {item}" for mark, item in zip(marks, items, strict=True))


def _small(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= 1_000 else 0


def _preformatted(element: Payload, depth: int) -> str:
    return f"```\n{_inlines(element, depth)}\n```"


def _quote(element: Payload, depth: int) -> str:
    return "\n".join(f"&gt; {line}" for line in _inlines(element, depth).split("\n"))


def _inline(element: Payload, depth: int) -> str:
    kind = text_at(element, "type")
    if kind in _IDS:
        name, template = _IDS[kind]
        value = text_at(element, name)
        return template.format(value) if re.fullmatch(r"\w+", value) else escaped(value)
    match kind:
        case "text":
            return _styled(escaped(text_at(element, "text")), dict_of(element.get("style")))
        case "link":
            return link(text_at(element, "url"), escaped(text_at(element, "text")))
        case "date":
            return _date(element)
        case "color":
            return escaped(text_at(element, "value"))
        case _:
            return _words(element, depth)


_IDS: Mapping[str, tuple[str, str]] = {
    "user": ("user_id", "<@{}>"),
    "channel": ("channel_id", "<#{}>"),
    "usergroup": ("usergroup_id", "<!subteam^{}>"),
    "broadcast": ("range", "<!{}>"),
    "emoji": ("name", ":{}:"),
    "team": ("team_id", "{}"),
}


def _styled(text: str, style: Payload) -> str:
    if not text.strip():
        return text
    for name, mark in _STYLES:
        if style.get(name) is True:
            text = f"{mark}{text}{mark}"
    return text


def _date(element: Payload) -> str:
    """https://docs.slack.dev/reference/block-kit/block-elements/date-element"""
    if fallback := text_at(element, "fallback"):
        return escaped(fallback)
    at = time_of(element.get("timestamp"))
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else ""


_READERS: Mapping[str, Callable[[dict[str, Any], int], str]] = {
    "rich_text": _rich_text,
    "rich_text_section": _inlines,
    "rich_text_list": _items,
    "rich_text_preformatted": _preformatted,
    "rich_text_quote": _quote,
    "table": _table,
    "data_table": _table,
    "image": _image,
    "context": _row_of_elements,
    "actions": _row_of_elements,
    "button": _button,
    "workflow_button": _button,
    "static_select": _button,
    "multi_static_select": _button,
    "url": _source,
}
