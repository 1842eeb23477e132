"""The text around code blocks, where Discord's Markdown reads something else than was written. Pure.

Its rules are written down at https://github.com/ItzDerock/discord-markdown-parser/blob/main/src/utils/regex.ts, and
for people at https://support.discord.com/hc/en-us/articles/210298617.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

from adapters.discord.code_blocks import JOINER, LOOKALIKE

_NEST = r"(?:[ \t]|[-*+][ \t]|\d{1,9}[.)][ \t]|>{1,2}(?!>))*"
_QUOTES_ALL = re.compile(rf"({_NEST})(?=>>>)")
_QUOTE_MARKS = re.compile(r" {0,3}>(?:[ \t]?>)*(?=[^\s>\d=]|$)")
_QUOTE_LOOKALIKES = "\u203a" * 3
_SPECIAL = re.compile(
    r"""\\.
    | (?P<ticks>`+)
    | (?P<entity>&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)
    | (?<!\[)!\[(?P<alt>[^\]\n]*)\](?P<target>\([ ]*<?(?P<url>[^\s<>()]+)>?[^)\n]*\))""",
    re.VERBOSE | re.DOTALL,
)


def shown_line(line: str, *, is_tight: bool = False) -> str:
    """Return a line of prose that begins as Discord reads it.

    `>>>` would quote all that follows, and a mark of a quotation without a space behind it ends the quotation.
    `is_tight` makes nothing longer.
    """
    found = _QUOTES_ALL.match(line)
    if found:
        marks = _QUOTE_LOOKALIKES if is_tight else "\\>>>"
        return f"{found[1]}{marks}{line[found.end() + 3 :]}"
    marks = None if is_tight else _QUOTE_MARKS.match(line)
    return re.sub(r">[ \t]?", "> ", marks[0]) + line[marks.end() :] if marks else line


def shown_inline(text: str, *, is_tight: bool = False) -> str:
    """Return a paragraph in which no backtick begins code that was not meant, without entities and images.

    Discord reads three backticks as a code block even within a line, and one without its pair as the beginning of code
    that reaches into later paragraphs. `is_tight` makes nothing longer.
    """
    shown: list[str] = []
    at = 0
    while found := _SPECIAL.search(text, at):
        shown.append(text[at : found.start()])
        at = found.end()
        if ticks := found["ticks"]:
            end = _closing(text, at, len(ticks))
            shown.append(_unpaired(ticks, is_tight) if end < 0 else _code(text[at:end], len(ticks), is_tight))
            at = at if end < 0 else end + len(ticks)
        elif entity := found["entity"]:
            shown.append(_character(entity, followed_by=text[at : at + 40]))
        elif found["target"]:
            shown.append(f"[{found['alt']}]{found['target']}" if found["alt"].strip() else found["url"])
        else:
            shown.append(found[0])
    return "".join([*shown, text[at:]])


def _closing(text: str, at: int, ticks: int) -> int:
    """Return where the next run of as many backticks begins; -1 if there is none."""
    runs = re.compile("`+").finditer(text, at)
    return next((run.start() for run in runs if len(run[0]) == ticks), -1)


def _unpaired(ticks: str, is_tight: bool) -> str:
    if is_tight:
        return ticks if len(ticks) < 3 else LOOKALIKE * len(ticks)
    return "\\`" * len(ticks)


def _code(code: str, ticks: int, is_tight: bool) -> str:
    """Return code within a line, between one backtick or two: three would begin a block."""
    if ticks < 3:
        return f"{'`' * ticks}{code}{'`' * ticks}"
    if code.startswith(" ") and code.endswith(" ") and code.strip():
        code = code[1:-1]
    if "`" not in code:
        return f"`{code}`"
    code = code.replace("`", LOOKALIKE) if is_tight else re.sub("`(?=`)", f"`{JOINER}", code)
    if is_tight:
        return f"`{code}`"
    return f"``{' ' if code.startswith('`') else ''}{code}{' ' if code.endswith('`') else ''}``"


def _character(entity: str, *, followed_by: str) -> str:
    """Return the character that the entity stands for, so that it is nothing but that character."""
    if not entity.startswith("&#") and entity[1:] not in html5:
        return entity
    text = html.unescape(entity)
    if text == "&":  # stays plain within addresses
        return "\\&" if re.match(r"[#\w]+;", followed_by) else "&"
    if text == "\xa0" or (text.isprintable() and not text.isascii()) or text.isalnum():
        return text
    return f"\\{text}" if len(text) == 1 and text.isprintable() and text != " " else entity
