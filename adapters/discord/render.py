"""Answers, traces and commands as Discord's message texts and rows of components. Pure.

Rows are the JSON of action rows: https://docs.discord.com/developers/components/reference
Texts are Discord's Markdown, which knows no tables: they become code blocks. Nothing here keeps a text from pinging:
whatever is sent or edited carries `allowed_mentions` with nobody in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from adapters.shared.progress import UNENDED_CALLS, call_line
from bot.domain.answers import CommandAnswer, Example
from bot.domain.messages import Attachment
from bot.domain.turns import TraceLine, TurnView
from bot.text.split import ELLIPSIS, cut, split_markdown

Rows = list[dict[str, Any]]

CONTENT_CHARS = 2_000  # of a message: https://docs.discord.com/developers/resources/message#create-message
PART_CHARS = 1_900  # of a part of an answer as it is shown
RAW_CHARS = 1_800  # of the same as it was written: tables grow when they are aligned
MAX_PARTS = 6
FILE_BYTES = 8 * 1024 * 1024  # a file takes 10 MiB: https://docs.discord.com/developers/reference#uploading-files
NAME_CHARS = 60  # of a server's or a tool's name, before it is escaped
OPTION_CHARS = 100  # label, value and description of an option
MAX_OPTIONS = 25
MAX_EXAMPLE_SELECTS = 3  # of the five rows of a message
MAX_ARGUMENT_CHARS = 60  # of a command, to be kept in a custom id
THREAD_NAME_CHARS = 100
STATUS_CHARS = 200

_NO_TEXT = "_(no text)_"
_JOINER = "\u200d"  # takes no room, but parts what would otherwise end a code block
_COLUMN_CAPS = (40, 20, 10, 0)  # a column is filled up to so many characters; the first that fits is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message to send: its text, within Discord's limit, and the file with what has no room in it."""

    text: str
    file: Attachment | None = None
    rows: tuple[dict[str, Any], ...] = ()


# --- answers ---------------------------------------------------------------------------------------------------


def split_answer(text: str) -> list[str]:
    """Cut an answer into at most MAX_PARTS parts, as they are shown; the last may be longer: see `part_message`.

    All parts but the last stay as they are when text is added.
    """
    *whole, last = split_markdown(text, max_chars=RAW_CHARS, max_parts=MAX_PARTS) or [""]
    return [part for part in [*map(answer_text, whole), _last_part(last)] if part]


def _last_part(text: str) -> str:
    return answer_text(text) if len(text) <= RAW_CHARS else text


def part_message(text: str) -> Shown:
    """Return one part of an answer as a message. Of one that is too long the rest goes as the file answer.md."""
    shown = answer_text(text) if len(text) <= PART_CHARS else text
    if len(shown) <= PART_CHARS:
        return Shown(text=shown.strip() or _NO_TEXT)
    first, *others = split_markdown(text, max_chars=RAW_CHARS, max_parts=2)
    rest = "".join(others)
    told = f"-# The answer goes on in the attached file answer.md ({len(rest):,} more characters)."
    begin = answer_text(first).strip()
    return Shown(text=f"{begin}\n{told}" if begin else told, file=_text_file("answer.md", rest, "text/markdown"))


def answer_text(text: str) -> str:
    """Return Markdown as Discord shows it best: tables as code blocks, deep headings in bold.

    A text of at most PART_CHARS characters stays within them. What was returned is not changed by another call.
    """
    if "|" not in text and "####" not in text:
        return text
    text = re.sub(r"\r\n?", "\n", text)  # what the parser counts as the end of a line
    tokens = _MARKDOWN.parse(text)
    for cap in _COLUMN_CAPS:
        shown = _converted(text, tokens, cap=cap)
        if len(shown) <= PART_CHARS or len(text) > PART_CHARS:
            return shown
    return text


def feedback_row(turn_id: int, part: int) -> dict[str, Any]:
    """Return the buttons with which people rate an answer; they mark its message as well."""
    return _row(
        _button("", custom_id=f"tb:good:{turn_id}:{part}", emoji="👍"),
        _button("", custom_id=f"tb:bad:{turn_id}:{part}", emoji="👎"),
    )


def stop_row(turn_id: int, part: int) -> dict[str, Any]:
    """Return the button that stops the turn; it marks a message that still grows."""
    return _row(_button("Stop", custom_id=f"tb:stop:{turn_id}:{part}", style=_DANGER))


def notice_text(text: str) -> str:
    """Return Markdown as one message; what has no room is left out."""
    return _cut_lines(answer_text(text[: 2 * CONTENT_CHARS]).strip(), PART_CHARS) or _NO_TEXT


def status_text(view: TurnView) -> str:
    """Return in small print what the turn is doing, for a message that has no text yet."""
    tools = dict.fromkeys(_name(line.tool) for line in view.trace if line.state in UNENDED_CALLS)
    if view.notice:
        return f"-# {escape(cut(_visible(view.notice), STATUS_CHARS))}"
    names = list(filter(None, tools))
    others = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"-# is using {', '.join(names[:3])}{others}…" if names else "-# is thinking…"


def thread_name(question: str) -> str:
    """Return the name of the thread that shows what the question made the bot do."""
    return cut(_visible(question), THREAD_NAME_CHARS) or "Tools"


# --- tables ----------------------------------------------------------------------------------------------------

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_NESTING = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*")


class _Cell(NamedTuple):
    text: str
    is_right: bool  # aligned to the right


def _converted(text: str, tokens: Sequence[Token], *, cap: int) -> str:
    lines = text.split("\n")
    nodes = list(SyntaxTreeNode(tokens).walk(include_self=False))
    for node in reversed(nodes):  # from the end: what is before keeps its lines
        if node.map is None:
            continue
        first, last = node.map
        if node.type == "table":
            drawn = _table_lines(node, cap=cap)
            if not _tells(drawn, lines[first:last]):
                drawn = ["```", *(_unfenced(_inner(line)) for line in lines[first:last]), "```"]
            lines[first:last] = _nested(drawn, beginning=lines[first], is_nested=node.level > 0)
        elif node.type == "heading" and node.tag in ("h4", "h5", "h6") and node.markup.startswith("#"):
            lines[first:last] = [_bold_heading(lines[first])]
    return "\n".join(lines)


def _tells(drawn: Sequence[str], written: Sequence[str]) -> bool:
    """Return whether a drawn table has all the words: what a `|` in a cell makes one cell too many is left out."""
    told = iter("".join(drawn))
    return all(char in told for line in written for char in line if char.isalnum())


def _inner(line: str) -> str:
    """Return the line without the signs of the list or quotation that it stands in."""
    found = _NESTING.match(line)
    return line[found.end() :] if found else line


def _nested(lines: Sequence[str], *, beginning: str, is_nested: bool) -> list[str]:
    """Return the lines inside the list or quotation in which the line `beginning` stands."""
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
    return _Cell(text=_unfenced(text), is_right="right" in str(cell.attrs.get("style", "")))


def _plain_inline(node: SyntaxTreeNode) -> str:
    """Return what is seen of inline Markdown; in a code block its signs would be seen too."""
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
    """Return how many columns the text takes in a font of fixed width."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


# --- the trace -------------------------------------------------------------------------------------------------


def trace_message(lines: Sequence[TraceLine], *, turn_id: int, is_running: bool = True) -> Shown:
    """Return a line for each tool call, the first of very many summed up in one.

    Where the turn is not running any more, a call without an end is told to be unfinished.
    """
    shown = [_call_line(line, is_running=is_running) for line in lines]
    first, room = len(shown), PART_CHARS
    while first > 0 and len(shown[first - 1]) < room:
        first -= 1
        room -= len(shown[first]) + 1
    told = [f"{_calls(first)} before these{_failures(lines[:first])}"] if first else []
    return Shown(text="\n".join([*told, *shown[first:]]) or "No tool calls", rows=(details_row(turn_id),))


def call_message(line: TraceLine, *, turn_id: int, number: int) -> Shown:
    """Return one tool call with as much of its arguments and its result as fits; `number` counts from 1."""
    text = _call_text(line, number=number, max_chars=PART_CHARS)
    return Shown(text=text, rows=(details_row(turn_id, number),))


def details_row(turn_id: int, call: int = 0) -> dict[str, Any]:
    """Return the button that shows exact arguments and results; it marks a trace, or the trace of one call."""
    return _row(_button("Details", custom_id=f"tb:details:{turn_id}:{call}"))


def details_message(lines: Sequence[TraceLine], *, note: str = "") -> Shown:
    """Return the exact arguments and results of the calls; as the file details.txt where they have no room."""
    told = escape(cut(_visible(note), STATUS_CHARS)) if note.strip() else ""
    if not lines:
        return Shown(text=told or "No tool was used.")
    # The texts are looked at only where all of them may have room.
    if sum(len(line.arguments) + len(line.result) for line in lines) <= PART_CHARS:
        calls = [_call_text(line, number=number, max_chars=None) for number, line in enumerate(lines, start=1)]
        whole = "\n\n".join(filter(None, [told, *calls]))
        if len(whole) <= PART_CHARS:
            return Shown(text=whole)
    rest = "-# The file details.txt has the whole."
    first = _call_text(lines[0], number=1, max_chars=PART_CHARS - len(told) - len(rest) - 100)
    others = f"{_calls(len(lines) - 1)} after this one" if len(lines) > 1 else ""
    text = "\n".join(filter(None, [told, first, others, rest]))
    return Shown(text=text, file=_text_file("details.txt", _details_file(lines)))


def fenced(text: str) -> str:
    """Return the text as a code block that nothing in it can end."""
    return f"```\n{_unfenced(text) if text.strip() else '(empty)'}\n```"


def _call_line(line: TraceLine, *, is_running: bool = True) -> str:
    return call_line(line, is_running=is_running, visible=_name)


def _call_text(line: TraceLine, *, number: int, max_chars: int | None) -> str:
    """Return a call with its arguments and its result, cut where that would make it longer than `max_chars`."""
    heading = f"**{number}.** {_call_line(line)}"
    names = escape(cut(", ".join(map(_visible, line.attachments)), STATUS_CHARS))
    files = f"Files: {names}" if names else ""
    room = None if max_chars is None else max_chars - len(heading) - len(files) - 2
    # A short result leaves its room to the arguments, and the other way round.
    arguments_room = None if room is None else max(room // 3, room - len(_unfenced(line.result[:room])) - 150)
    arguments = _block("Arguments", line.arguments, max_chars=arguments_room)
    result_room = None if room is None else room - len(arguments) - 1
    result = "" if line.state in UNENDED_CALLS else _block("Result", line.result, max_chars=result_room)
    return "\n".join(filter(None, [heading, arguments, result, files]))


def _block(label: str, text: str, *, max_chars: int | None) -> str:
    """Return a labelled code block of at most `max_chars` characters, which are more than 100."""
    block = f"{label}\n{fenced(text if max_chars is None else text[: max_chars + 1])}"
    if max_chars is None or (len(block) <= max_chars and len(text) <= max_chars):
        return block
    shown = text[:max_chars]
    room = max_chars - len(f"{label} (the first {len(shown):,} of {len(text):,} characters)\n{fenced('-')}") + 1
    while shown and (size := len(_unfenced(shown))) > room:
        shown = shown[: min(len(shown) - 1, len(shown) * room // size)]
    return f"{label} (the first {len(shown):,} of {len(text):,} characters)\n{fenced(shown)}"


def _details_file(lines: Sequence[TraceLine]) -> str:
    calls: list[str] = []
    for number, line in enumerate(lines, start=1):
        names = " · ".join(filter(None, map(_visible, [line.tool, line.server, line.state])))
        files = f"\nFiles: {', '.join(map(_visible, line.attachments))}\n" if line.attachments else ""
        calls.append(
            f"=== {number}. {names} · {line.seconds:,.1f} s\n\n"
            f"--- Arguments\n{line.arguments}\n\n--- Result\n{line.result}\n{files}"
        )
    return "\n".join(calls)


def _calls(number: int) -> str:
    return f"{number:,} tool call" if number == 1 else f"{number:,} tool calls"


def _failures(lines: Sequence[TraceLine]) -> str:
    failed = sum(line.state not in ("ok", *UNENDED_CALLS) for line in lines)
    return f", {failed:,} without success" if failed else ""


# --- commands --------------------------------------------------------------------------------------------------


class Turned(NamedTuple):
    """What the custom id of a Previous or Next button says: the page (from 0) of which command's answer."""

    page: int
    command: str
    argument: str


def command_message(answer: CommandAnswer, *, command: str, argument: str, page: int = 0) -> Shown:
    """Return one page of a command's answer; `page` counts from 0, one past the end is the last."""
    pages = [shown for part in split_markdown(answer.text, max_chars=RAW_CHARS) if (shown := answer_text(part).strip())]
    pages = pages or ["(nothing)"]
    number = min(max(0, page), len(pages) - 1)
    text = pages[number]
    rows: Rows = []
    if len(pages) > 1:
        text += f"\n-# Page {number + 1:,} of {len(pages):,}"
        rows.append(_turners(command, argument, page=number, last=len(pages) - 1))
    # Commands are about a channel or thread here, so none of them offers conversations to pick.
    return Shown(text=text, rows=(*rows, *_example_selects(answer.choices)))


def parse_turned(custom_id: str) -> Turned | None:
    """Return what a Previous or Next button asks for; None for any other custom id."""
    found = re.fullmatch(r"tb:page:(\d{1,6}):(\w{1,32}):(.*)", custom_id, re.ASCII | re.DOTALL)
    return Turned(int(found[1]), found[2], found[3]) if found else None


def find_example(value: str, examples: Sequence[Example]) -> Example | None:
    """Return the example that an option's value stands for, wherever it is among the examples by now."""
    number = value.partition(":")[0]
    at = int(number) if re.fullmatch(r"[0-9]{1,6}", number) else 0
    for example in [*examples[at : at + 1], *examples]:
        if _digest(example) == value.partition(":")[2]:
            return example
    return None


def _turners(command: str, argument: str, *, page: int, last: int) -> dict[str, Any]:
    kept = _visible(argument)[:MAX_ARGUMENT_CHARS]
    return _row(
        *(
            _button(label, custom_id=f"tb:page:{target}:{command}:{kept}")
            for label, target in (("Previous", page - 1), ("Next", page + 1))
            if 0 <= target <= last
        )
    )


def _example_selects(examples: Sequence[Example]) -> Rows:
    options = [
        {
            "label": cut(_visible(example.title), OPTION_CHARS) or cut(_visible(example.text), OPTION_CHARS),
            "value": f"{number}:{_digest(example)}",
            "description": cut(_visible(example.text), OPTION_CHARS),
        }
        for number, example in enumerate(examples)
        if _visible(example.text)
    ][: MAX_EXAMPLE_SELECTS * MAX_OPTIONS]
    return [
        _row(
            _select(
                f"tb:example:{at // MAX_OPTIONS}",
                placeholder="More examples" if at else "Choose an example to ask it",
                options=options[at : at + MAX_OPTIONS],
            )
        )
        for at in range(0, len(options), MAX_OPTIONS)
    ]


def _digest(example: Example) -> str:
    return sha256(f"{example.title}\0{example.text}".encode(errors="replace")).hexdigest()[:32]


# --- texts -----------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Return untrusted text so that none of it is Markdown, a mention or a link."""
    return re.sub(r"([\\`*_~|<>@#:\[\]()])", r"\\\1", text)


def _name(text: str) -> str:
    return escape(cut(_visible(text), NAME_CHARS))


def _visible(text: str) -> str:
    """Return untrusted text on one line, without anything that is not seen."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _unfenced(text: str) -> str:
    return re.sub(r"`(?=``)", f"`{_JOINER}", text)


def _cut_lines(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max_chars - 1].rstrip()}{ELLIPSIS}"


def _text_file(name: str, text: str, mime_type: str = "text/plain") -> Attachment:
    data = text.encode(errors="replace")
    if len(data) > FILE_BYTES:
        data = data[:FILE_BYTES].decode(errors="ignore").encode() + b"\n[cut here: the rest is too long for a file]\n"
    return Attachment(name=name, mime_type=mime_type, data=data)


# --- components ------------------------------------------------------------------------------------------------

_SECONDARY, _DANGER = 2, 4  # https://docs.discord.com/developers/components/reference#button-button-styles


def _row(*components: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(components)}


def _button(label: str, *, custom_id: str, style: int = _SECONDARY, emoji: str = "") -> dict[str, Any]:
    button: dict[str, Any] = {"type": 2, "style": style, "custom_id": custom_id}
    return {**button, **({"label": label} if label else {}), **({"emoji": {"name": emoji}} if emoji else {})}


def _select(custom_id: str, *, placeholder: str, options: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"type": 3, "custom_id": custom_id, "placeholder": placeholder, "options": list(options)}
