"""Tables as text with aligned columns, for a code block: Discord's Markdown has no tables. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from markdown_it.tree import SyntaxTreeNode

from adapters.discord.code_blocks import unfenced


class _Cell(NamedTuple):
    text: str
    is_right: bool  # aligned to the right


def table_lines(table: SyntaxTreeNode, *, cap: int) -> list[str]:
    """Return a code block with the table's cells; a column is padded up to `cap` characters."""
    rows = [
        [_cell(cell) for cell in row.children] for part in table.children for row in part.children if row.type == "tr"
    ]
    widths = [min(cap, max(_width(cell.text) for cell in column)) for column in zip(*rows, strict=True)]
    head, *body = [_table_row(row, widths) for row in rows]
    rule = "-+-".join("-" * max(1, width) for width in widths)
    return ["```", head, rule, *body, "```"]


def _cell(cell: SyntaxTreeNode) -> _Cell:
    text = " ".join("".join(map(_plain_inline, cell.children)).split())
    return _Cell(text=unfenced(text), is_right="right" in str(cell.attrs.get("style", "")))


def _plain_inline(node: SyntaxTreeNode) -> str:
    """Return the visible text of inline Markdown: a code block would show the markup too."""
    match node.type:
        case "text" | "code_inline" | "image" | "html_inline":
            return node.content
        case "softbreak" | "hardbreak":
            return " "
        case "link":
            text, url = "".join(map(_plain_inline, node.children)), str(node.attrs.get("href", ""))
            return f"{text} ({url})" if url and text != url else text
        case _:
            return "".join(map(_plain_inline, node.children))


def _table_row(cells: Sequence[_Cell], widths: Sequence[int]) -> str:
    padded = [
        f"{' ' * (width - _width(cell.text))}{cell.text}"
        if cell.is_right
        else f"{cell.text}{' ' * (width - _width(cell.text))}"
        for cell, width in zip(cells, widths, strict=True)
    ]
    return " | ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns the text takes up in a monospaced font."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
