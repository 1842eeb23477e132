"""Code blocks as Discord's clients read them: three backticks, a language without more words, a line end.

Clients take the first three backticks after that for the end, wherever they are. Tildes, longer fences and code by
indentation are prose to them: https://support.discord.com/hc/en-us/articles/210298617, and the rule that is written
down at https://github.com/ItzDerock/discord-markdown-parser/blob/main/src/utils/regex.ts (`CodeBlockRegex`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from bot.text.fences import Fence, opened_fence

JOINER = "\u200d"  # invisible, but interrupts what would otherwise end a code block
LOOKALIKE = "\u02cb"  # of a backtick, where there is no room for joiners

_INDENTED_MARKER = "~" * 7  # of a fence around code that may itself contain fences
_MAY_BE_INDENTED = re.compile(r"^[ >*+\-.)\d]*(?: {4}|\t)", re.MULTILINE)
_LANGUAGE = re.compile(r"\{?[ .]*([A-Za-z0-9_+\-.#]+)")
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_MARKDOWN.parse("a")  # makes its tables of rules now, once: threads share them
_QUOTE = re.compile(r"([ \t]*)>")


class Line(NamedTuple):
    """A line of an answer; `is_code` includes the fences around code."""

    text: str
    is_code: bool = False


def fenced(text: str) -> str:
    """Return the text as a code block that it cannot end early."""
    return f"```\n{unfenced(text) if text.strip() else '(empty)'}\n```"


def unfenced(text: str) -> str:
    """Return the text without anything that ends a code block."""
    return re.sub(r"`(?=``)", f"`{JOINER}", text)


def with_plain_fences(lines: Sequence[str], *, is_tight: bool = False) -> list[Line]:
    """Return the lines with the fences that Discord knows around each code block, also one that was not closed.

    `is_tight` makes nothing longer: backticks within code are replaced, a block that is empty or has no end is prose.
    """
    shown: list[Line] = []
    for block in _blocks(lines):
        if block.fence is None:
            shown += [Line(line) for line in block.lines]
        elif not is_tight:
            shown += [Line(line, is_code=True) for line in _drawn(block.fence, block)]
        elif block.is_closed and any(line.strip(" \t>") for line in block.code):
            shown += [Line(line, is_code=True) for line in _drawn_tight(block.fence, block)]
        else:
            shown += [Line(line) for line in block.lines]
    return shown


def with_fenced_indents(text: str) -> str:
    """Return Markdown with fences around the code that only its indentation marks.

    The fence of code at the end is left open, so that what is returned for a longer text begins the same.
    """
    if not _MAY_BE_INDENTED.search(text):
        return text
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    is_prose = [line.fence is None for line in _blocks(lines) for _ in line.lines]
    for node in reversed(list(SyntaxTreeNode(_MARKDOWN.parse("\n".join(lines))).walk(include_self=False))):
        if node.type == "code_block" and node.map is not None and all(is_prose[slice(*node.map)]):
            _fence_in(lines, *node.map, code=node.content.rstrip("\n").split("\n"))
    return "\n".join(lines)


# --- the blocks of a text --------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """A code block with its fences, or one line of prose."""

    lines: Sequence[str]
    fence: Fence | None = None
    is_closed: bool = False

    @property
    def code(self) -> Sequence[str]:
        return self.lines[1:-1] if self.is_closed else self.lines[1:]


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        fence = opened_fence(lines[at])
        if fence is None:
            yield _Block(lines[at : at + 1])
            at += 1
            continue
        end = at + 1
        while end < len(lines) and not fence.ends_with(lines[end]) and not fence.ends_before(lines[end]):
            end += 1
        is_closed = end < len(lines) and not fence.ends_before(lines[end])
        yield _Block(lines[at : end + is_closed], fence, is_closed)
        at = end + is_closed


# --- fences ----------------------------------------------------------------------------------------------------


def _drawn(fence: Fence, block: _Block) -> list[str]:
    first, following, inner = _prefixes(fence)
    code = [unfenced(_inside(line, fence)) for line in block.code]
    end = len(code)
    while end and not code[end - 1].strip():
        end -= 1
    drawn = [f"{inner}{line}" for line in (code if end and block.is_closed else code[:end])]
    # Without a character between them, the fences of an empty block would be read as something else.
    return [f"{first}```{_language(fence)}", *(drawn or [f"{following}{JOINER}"]), f"{following}```"]


def _drawn_tight(fence: Fence, block: _Block) -> list[str]:
    code = [re.sub(r"`{3,}", lambda run: LOOKALIKE * len(run[0]), line) for line in block.code]
    opening = f"{fence.list_mark or fence.prefix}```{_language(fence)}"
    return [opening, *code, re.sub(r"[`~]{3,}", "```", block.lines[-1])]


def _prefixes(fence: Fence) -> tuple[str, str, str]:
    """Return what precedes the opening fence, the closing one, and each line of the code.

    A quotation is `> ` at the beginning of each of its lines, and Discord has none within another.
    """
    if not fence.is_quoted:
        return fence.list_mark or fence.prefix, fence.prefix, ""
    before, _, after = fence.prefix.partition(">")
    inner = f"{before}> "
    if ">" in after:
        return inner, inner, inner
    mark = fence.list_mark.partition(">")[2].removeprefix(" ")
    return f"{inner}{mark}", f"{inner}{after.removeprefix(' ')}", inner


def _inside(line: str, fence: Fence) -> str:
    """Return the line without the marks of the quotation that the block is in."""
    for _ in range(fence.prefix.count(">")):
        found = _QUOTE.match(line)
        line = line[found.end() :].removeprefix(" ") if found else line
    return line


def _language(fence: Fence) -> str:
    found = _LANGUAGE.match(fence.info)
    return found[1] if found else ""


# --- code by indentation ---------------------------------------------------------------------------------------


def _fence_in(lines: list[str], first: int, last: int, *, code: Sequence[str]) -> None:
    """Replace lines[first:last] by the code in a fence, where both agree."""
    prefix = lines[first][: len(lines[first]) - len(code[0])].removesuffix("    ").removesuffix("\t")
    is_plain = lines[first].endswith(code[0]) and not any(line.startswith(_INDENTED_MARKER) for line in code)
    if not is_plain or re.search(r"[^ \t>*+\-.)\d]", prefix):
        return
    following = re.sub(r"[^>\t]", " ", prefix)
    is_last = not any(line.strip() for line in lines[last:])
    fence = [f"{prefix}{_INDENTED_MARKER}", *(f"{following}{line}" for line in code)]
    lines[first : len(lines) if is_last else last] = fence if is_last else [*fence, f"{following}{_INDENTED_MARKER}"]
