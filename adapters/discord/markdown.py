"""Answers as Discord's Markdown, which has no tables, and untrusted text that contains no Markdown.

Pure. Nothing here keeps a text from pinging: everything is sent with `allowed_mentions` that allow none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

PART_CHARS = 1_900  # of a part of an answer as it is shown

_JOINER = "\u200d"  # invisible, but interrupts what would otherwise end a code block
_COLUMN_CAPS = (40, 20, 10, 0)  # a column is padded up to this many characters; the first cap that fits is taken
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_NESTING = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*")


def answer_text(text: str) -> str:
    """Return Markdown as Discord shows it best: tables as code blocks, deep headings in bold.

    A text of at most PART_CHARS characters stays within that length. A second call changes nothing more.
    """
    if "|" not in text and "####" not in text:
        return text
    text = re.sub(r"\r\n?", "\n", text)  # the line ends that the parser counts
    tokens = _MARKDOWN.parse(text)
    for cap in _COLUMN_CAPS:
        shown = _converted(text, tokens, cap=cap)
        if len(shown) <= PART_CHARS or len(text) > PART_CHARS:
            return shown
    return text


# --- untrusted text --------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Return untrusted text escaped, so that it contains no Markdown, mention or link."""
    return re.sub(r"([\\`*_~|<>@#:\[\]()])", r"\\\1", text)


def visible(text: str) -> str:
    """Return untrusted text on one line, without invisible characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def fenced(text: str) -> str:
    """Return the text as a code block that it cannot end early."""
    return f"```\n{unfenced(text) if text.strip() else '(empty)'}\n```"


def unfenced(text: str) -> str:
    """Return the text without anything that ends a code block."""
    return re.sub(r"`(?=``)", f"`{_JOINER}", text)


# --- tables and headings ---------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    text: str
    is_right: bool  # aligned to the right


def _converted(text: str, tokens: Sequence[Token], *, cap: int) -> str:
    lines = text.split("\n")
    nodes = list(SyntaxTreeNode(tokens).walk(include_self=False))
    for node in reversed(nodes):  # from the end, so that earlier line numbers stay right
        if node.map is None:
            continue
        first, last = node.map
        if node.type == "table":
            drawn = _table_lines(node, cap=cap)
            if not _has_all_words(drawn, lines[first:last]):
                drawn = ["```", *(unfenced(_inner(line)) for line in lines[first:last]), "```"]
            lines[first:last] = _nested(drawn, beginning=lines[first], is_nested=node.level > 0)
        elif node.type == "heading" and node.tag in ("h4", "h5", "h6") and node.markup.startswith("#"):
            lines[first:last] = [_bold_heading(lines[first])]
    return "\n".join(lines)


def _has_all_words(drawn: Sequence[str], written: Sequence[str]) -> bool:
    """Return whether a drawn table has all the words: the parser drops cells beyond the head's last column."""
    rest = iter("".join(drawn))
    return all(char in rest for line in written for char in line if char.isalnum())


def _inner(line: str) -> str:
    """Return the line without the markers of the list or quotation around it."""
    found = _NESTING.match(line)
    return line[found.end() :] if found else line


def _nested(lines: Sequence[str], *, beginning: str, is_nested: bool) -> list[str]:
    """Return the lines nested in the same list or quotation as the line `beginning`."""
    found = _NESTING.match(beginning) if is_nested else re.match(r"[ \t]*", beginning)
    prefix = found[0] if found else ""
    following = re.sub(r"[^>\t]", " ", prefix)
    return [f"{following if number else prefix}{line}" for number, line in enumerate(lines)]


def _bold_heading(line: str) -> str:
    found = re.fullmatch(r"(.*?)#{4,6}[ \t]+(.*?)[ \t]*(?:[ \t]#+[ \t]*)?", line)
    inner = found[2].replace("**", "") if found else ""
    return f"{found[1]}**{inner}**" if found and inner else line


def _table_lines(table: SyntaxTreeNode, *, cap: int) -> list[str]:
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
