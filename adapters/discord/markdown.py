"""Answers as Discord's Markdown shows them best, and untrusted text that contains no Markdown.

Pure. Nothing here keeps a text from pinging: everything is sent with `allowed_mentions` that allow none.

What Discord shows differently and is left as it is, because all words stay readable: reference links, footnotes, boxes
of task lists, `+` and `1)` as marks of lists, quotations within quotations, `-#` (whose author means Discord).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from adapters.discord.code_blocks import Line, unfenced, with_plain_fences
from adapters.discord.prose import shown_inline, shown_line
from adapters.discord.tables import table_lines
from bot.text.lines import flat

PART_CHARS = 1_900  # of a part of an answer as it is shown
MAX_ROUNDS = 5  # of conversion; two are the rule

_COLUMN_CAPS = (40, 20, 10, 0)  # a column is padded up to this many characters; the first cap that fits is taken
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_MARKDOWN.parse("a")  # makes its tables of rules now, once: threads share them
_NESTING = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*")
_PLAIN = re.compile(r"(?:(?!#{4}|[-*_][ \t]*[-*_])[^`~|&>!=])*")  # nothing in it is shown otherwise than written
_RULE = re.compile(r"([ \t>]*)([-*_])(?:[ \t]*\2){2,}[ \t]*")
_DRAWN_RULE = "\u2500" * 10


def answer_text(text: str) -> str:
    """Return Markdown as Discord shows it best.

    Code blocks have fences of three backticks, also one that is still growing; tables become code blocks; headings
    that Discord does not know, rules, images and entities become what comes near. Code by indentation stays as it is:
    see `with_fenced_indents`. A text of at most PART_CHARS characters stays within that length. A second call changes
    nothing more.
    """
    if _PLAIN.fullmatch(text):
        return text
    lines = re.sub(r"\r\n?", "\n", text).split("\n")  # the line ends that the parser counts
    for cap in _COLUMN_CAPS:
        shown = _converted(lines, cap=cap)
        if len(shown) <= PART_CHARS or len(text) > PART_CHARS:
            return shown
    tight = with_plain_fences(lines, is_tight=True)
    tight = [line if line.is_code else Line(shown_line(line.text, is_tight=True)) for line in tight]
    return _joined(tight, is_tight=True)


# --- untrusted text --------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Return untrusted text escaped, so that it contains no Markdown, mention or link."""
    return re.sub(r"([\\`*_~|<>@#:\[\]()])", r"\\\1", text)


def visible(text: str) -> str:
    """Return untrusted text on one line, without invisible characters."""
    return flat(text)


# --- answers ---------------------------------------------------------------------------------------------------


def _converted(lines: Sequence[str], *, cap: int) -> str:
    """Return the lines converted until nothing changes any more: a line that was drawn may complete a heading."""
    shown = _converted_once(lines, cap=cap)
    for _ in range(MAX_ROUNDS):
        if (again := _converted_once(shown.split("\n"), cap=cap)) == shown:
            break
        shown = again
    return shown


def _converted_once(written: Sequence[str], *, cap: int) -> str:
    lines = [line if line.is_code else Line(shown_line(line.text)) for line in with_plain_fences(written)]
    tokens = _MARKDOWN.parse("\n".join(line.text for line in lines))
    for node in reversed(list(SyntaxTreeNode(tokens).walk(include_self=False))):
        if node.type in ("table", "heading", "hr") and node.map is not None:
            first, last = node.map  # the last nodes come first, so that these numbers stay right
            if not any(line.is_code for line in lines[first:last]):
                lines[first:last] = _shown_block(node, [line.text for line in lines[first:last]], cap=cap)
    return _joined(lines)


def _joined(lines: Sequence[Line], *, is_tight: bool = False) -> str:
    """Return the lines as a text, with the paragraphs of its prose as Discord reads them."""
    shown: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, Line("", is_code=True)]:
        is_end = line.is_code or not line.text.strip(" \t>")
        if is_end and paragraph:
            shown.append(shown_inline("\n".join(paragraph), is_tight=is_tight))
            paragraph = []
        (shown if is_end else paragraph).append(line.text)
    return "\n".join(shown[:-1])


def _shown_block(node: SyntaxTreeNode, lines: Sequence[str], *, cap: int) -> list[Line]:
    match node.type:
        case "table":
            drawn = table_lines(node, cap=cap)
            if not _has_all_words(drawn, lines):
                drawn = ["```", *(unfenced(_inner(line)) for line in lines), "```"]
            nested = _nested(drawn, beginning=lines[0], is_nested=node.level > 0)
            return [Line(line, is_code=True) for line in nested]
        case "heading" if node.markup in ("=", "-"):
            return [Line(line) for line in _underlined_heading(node, lines)]
        case "heading" if node.tag in ("h4", "h5", "h6"):
            return [Line(_bold_heading(lines[0]))]
        case "hr" if found := _RULE.fullmatch(lines[0]):
            return [Line(f"{found[1]}{_DRAWN_RULE}")]
        case _:
            return [Line(line) for line in lines]


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
    if prefix.count(">") > 1:  # Discord has no quotation within another: the inner mark would be part of the code
        prefix = f"{prefix.partition('>')[0]}> "
    following = re.sub(r"[^>\t]", " ", prefix)
    return [f"{following if number else prefix}{line}" for number, line in enumerate(lines)]


def _bold_heading(line: str) -> str:
    found = re.fullmatch(r"(.*?)#{4,6}[ \t]+(.*?)[ \t]*(?:[ \t]#+[ \t]*)?", line)
    inner = found[2].replace("**", "") if found else ""
    return f"{found[1]}**{inner}**" if found and inner.strip("*_- ") else line


def _underlined_heading(node: SyntaxTreeNode, lines: Sequence[str]) -> list[str]:
    """Return a heading that the line below it makes one; a longer paragraph is more likely followed by a rule."""
    *text, underline = lines
    if len(underline.strip(" \t>")) < 3 or "|" in text[0]:  # may become a list or a table
        return list(lines)
    if len(text) > 1:
        return [*text, underline.rstrip(" \t=-") + _DRAWN_RULE]
    prefix = text[0][: len(text[0]) - len(_inner(text[0]))]
    return [f"{prefix}{'#' if node.tag == 'h1' else '##'} {text[0][len(prefix) :].strip()}"]
