"""Cuts an answer into the posts of a platform, where a reader would; cuts stay where they are when text is added."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot.text.fences import Fence, opened_fence

ELLIPSIS = "…"
MAX_FENCE_INDENT = 3  # a fence that is indented more, outside a list, is an indented code block in CommonMark

_BLANKS = re.compile(r"\s*")
_SENTENCE_END = re.compile("[.!?…][\"')\\]]?(?=\\s)|[\u3002\uff01\uff1f]")  # the last three: full-width . ! ?
_TABLE_RULE = " \t\r|:-"  # the characters of the row between a table's header and its other rows
_JOINERS = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """An open code block; where it is cut, it is closed with `close_with` and reopened with `reopen_with`."""

    fence: Fence
    reopen_with: str
    close_with: str
    indent: int = 0  # of a block within a list, dropped when the block is reopened outside of it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table whose rows have begun or follow; if cut, `reopen_with` (header and rule) begins the next part."""

    reopen_with: str
    rows: int = 0  # so far, without header and rule
    close_with: str = ""


_Block = _Code | _Table


@dataclass(frozen=True, slots=True, kw_only=True)
class _LineEnd:
    """The boundary of two lines: `at` is where the next one begins, `block` continues across it."""

    at: int
    block: _Block | None
    is_blank: bool = False  # a blank line precedes or follows
    may_cut: bool = True  # False: after an opening fence or a table's header


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    end: int  # of the part, in the window
    block: _Block | None
    is_in_line: bool = False


def cut(text: str, max_chars: int) -> str:
    """Return the text on one line of at most `max_chars` characters; an ellipsis marks what was cut off."""
    line = " ".join(text[: 4 * max_chars + 4].split())
    if len(line) <= max_chars and len(text) <= 4 * max_chars + 4:
        return line
    end = _grapheme_start(line, min(max_chars - 1, len(line)), lowest=0)
    return f"{line[:end].rstrip()}{ELLIPSIS}" if max_chars > 0 else ""


def split_markdown(text: str, *, max_chars: int, max_parts: int | None = None) -> list[str]:
    """Cut the text into parts of at most `max_chars` characters (code points); only the empty text has no parts.

    Where a part ends depends on the text before it and on the first `max_chars + 1` characters of the rest, so all
    parts but the last stay as they are when text is added. A part ends at a blank line, else at the end of a line, of
    a sentence or at a space, as long as that leaves it at least half full; code blocks and tables stay whole where
    that allows it. One that is cut is closed and reopened in the next part (a table repeats its header). White space
    at a cut may be dropped. Takes time proportional to the text. The last of `max_parts` parts holds the whole rest,
    however long it is.
    """
    if len(text) <= max_chars or max_parts == 1:
        return [text] if text else []
    parts: list[str] = []
    at, block = _begin(text, 0, None, max_chars=max_chars)
    while at < len(text):
        reopen_with = block.reopen_with if block else ""
        indent = block.indent if isinstance(block, _Code) else 0
        room = max_chars - len(reopen_with)
        if len(text) - at <= room or len(parts) + 1 == max_parts:
            parts.append(reopen_with + _without_indent(text[at:], indent))
            break
        chosen = _choose_cut(text[at : at + room + 1], _reopened(block), max_chars=max_chars)
        body = _body(text[at : at + chosen.end], chosen)
        parts.append(reopen_with + _without_indent(body, indent) + (chosen.block.close_with if chosen.block else ""))
        at, block = _begin(text, at + chosen.end, chosen.block, max_chars=max_chars, is_in_line=chosen.is_in_line)
    return parts or [text[:max_chars]]


def _begin(
    text: str, at: int, block: _Block | None, *, max_chars: int, is_in_line: bool = False
) -> tuple[int, _Block | None]:
    """Return where the next part begins and which block is open there; blank lines at its beginning are dropped."""
    line, newline, _ = text[at : at + max_chars].partition("\n")
    is_whole = bool(newline) or at + len(line) == len(text)
    match block:
        case _Code() if is_whole and not is_in_line and block.close_with and block.fence.ends_with(line):
            at, block = at + len(line) + 1, None  # the previous part already has its closing fence
        case _Table() if "|" not in line:
            block = None
        case _:
            pass
    found = _BLANKS.match(text, at)
    first = found.end() if found else at
    if first - at >= max_chars // 4 or first == len(text):
        return first, block
    if block is not None:
        return at, block
    return (first if is_in_line else text.rfind("\n", at, first) + 1 or at), None


def _reopened(block: _Block | None) -> _Block | None:
    """Return the block in the form that it has in a part that begins with it."""
    if isinstance(block, _Code) and block.indent:
        close_with = f"\n{block.fence.marker}" if block.close_with else ""
        return replace(block, fence=replace(block.fence, prefix=""), close_with=close_with)
    return block


def _without_indent(body: str, indent: int) -> str:
    return re.sub(rf"(?m)^[ \t]{{1,{indent}}}", "", body) if indent else body


def _body(text: str, chosen: _Cut) -> str:
    if isinstance(chosen.block, _Code):
        return text if chosen.is_in_line else text[:-1]  # blank lines belong to the code
    return text.rstrip()


# --- where to cut ----------------------------------------------------------------------------------------------


def _choose_cut(window: str, block: _Block | None, *, max_chars: int) -> _Cut:
    """Return the best cut of a window that is one character longer than a part may be."""
    room = len(window) - 1
    lowest = max(1, room // 2)
    best: dict[int, _LineEnd] = {}
    last_block = block
    for end in _line_ends(window, block, max_chars=max_chars):
        last_block = end.block
        if end.may_cut and lowest <= end.at and _fits(end, room):
            best[_rank(end)] = end
    if best:
        found = best[min(best)]
        return _Cut(end=found.at, block=found.block)
    return _cut_line(window, last_block, lowest=lowest)


def _fits(end: _LineEnd, room: int) -> bool:
    return end.at - 1 + (len(end.block.close_with) if end.block else 0) <= room


def _rank(end: _LineEnd) -> int:
    if end.block is not None:
        return 2
    return 0 if end.is_blank else 1


def _cut_line(window: str, block: _Block | None, *, lowest: int) -> _Cut:
    """Return a cut within the last line of the window, which is longer than half a part."""
    inner = block if isinstance(block, _Code) else None  # a row that was cut is not a row any more
    highest = max(lowest, len(window) - 1 - (len(inner.close_with) if inner else 0))
    sentences = [found.end() for found in _SENTENCE_END.finditer(window, lowest - 1, highest + 1)]
    spaces = max(window.rfind(space, lowest, highest + 1) for space in " \t\n")
    fitting = [end for end in sentences if lowest <= end <= highest] if inner is None else []
    if fitting:
        end = fitting[-1]
    elif spaces >= lowest:
        end = spaces
    else:
        end = _grapheme_start(window, highest, lowest=lowest)
    return _Cut(end=end, block=inner, is_in_line=True)


def _grapheme_start(text: str, at: int, *, lowest: int) -> int:
    """Return the nearest index at or before `at` that separates no character from its marks or its escape."""
    for place in range(at, max(lowest, at - 32) - 1, -1):
        if place <= 0 or place >= len(text) or not _belong_together(text, place):
            return max(place, lowest)
    return at


def _belong_together(text: str, place: int) -> bool:
    left, right = text[place - 1], text[place]
    return (
        left in "\\\u200d"
        or unicodedata.category(right).startswith("M")
        or _JOINERS.match(right) is not None
        or ("\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff")
        or (left == "\r" and right == "\n")
        or (_is_half_flag(right) and _half_flags_before(text, place) % 2 == 1)
    )


def _half_flags_before(text: str, place: int) -> int:
    first = place
    while first > 0 and _is_half_flag(text[first - 1]):
        first -= 1
    return place - first


def _is_half_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


# --- what the lines are ----------------------------------------------------------------------------------------


def _line_ends(window: str, block: _Block | None, *, max_chars: int) -> Iterator[_LineEnd]:
    """Yield the end of every line in the window. The last line may be incomplete: what there is of it decides."""
    lines = window.split("\n")
    was_blank = False
    may_cut = True
    at = 0
    for number, line in enumerate(lines):
        is_whole = number + 1 < len(lines)
        is_blank = not line.strip()
        block = _before(line, block, is_whole=is_whole)
        if number:
            yield _LineEnd(at=at, block=block, is_blank=was_blank or (is_blank and is_whole), may_cut=may_cut)
        following = lines[number + 1] if is_whole else None
        block, may_cut = _after(line, block, following, max_chars=max_chars, is_last=number + 2 == len(lines))
        was_blank = is_blank
        at += len(line) + 1


def _before(line: str, block: _Block | None, *, is_whole: bool) -> _Block | None:
    """Return the block that continues with this line; an incomplete row of a table may still get its `|`."""
    if isinstance(block, _Table) and is_whole and "|" not in line:
        return None
    if isinstance(block, _Code) and is_whole and block.fence.ends_before(line):
        return None
    return block


def _after(
    line: str, block: _Block | None, following: str | None, *, max_chars: int, is_last: bool
) -> tuple[_Block | None, bool]:
    """Return the block that is open after the line, and whether a part may end there."""
    match block:
        case _Code():
            return (None if block.fence.ends_with(line) else block), True
        case _Table():
            rows = block.rows + 1
            return replace(block, rows=rows), rows > 0
        case None:
            opened = _opened_code(line, max_chars=max_chars)
            if opened is None and following is not None and _is_header(line, following, is_whole=not is_last):
                # The rule itself will be counted as a row.
                return _Table(reopen_with=_repeatable(f"{line}\n{following}\n", max_chars), rows=-1), False
            return opened, opened is None


def _opened_code(line: str, *, max_chars: int) -> _Code | None:
    fence = opened_fence(line)
    if fence is None:
        return None
    indent = 0 if fence.is_quoted else len(fence.prefix)
    kept = fence.prefix if fence.is_quoted or (indent <= MAX_FENCE_INDENT and not fence.list_mark) else ""
    close_with = _repeatable(f"\n{fence.prefix}{fence.marker}", max_chars)
    reopen_with = _repeatable(f"{kept}{fence.marker}{fence.info}\n", max_chars)
    reopen_with = reopen_with or _repeatable(f"{fence.marker}\n", max_chars)
    return _Code(
        fence=fence,
        reopen_with=reopen_with if close_with else "",
        close_with=close_with if reopen_with else "",
        indent=0 if kept else indent,
    )


def _is_header(line: str, following: str, *, is_whole: bool) -> bool:
    """Return whether a table begins: the next line is its rule, or may become one while it is incomplete."""
    if "|" not in line or following.strip(_TABLE_RULE):
        return False
    return not is_whole or ("-" in following and "|" in following)


def _repeatable(text: str, max_chars: int) -> str:
    """Return the text if a part has room for repeating it: a quarter of the part."""
    return text if len(text) <= max_chars // 4 else ""
