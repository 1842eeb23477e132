"""Answers, traces and commands as Discord's message texts and rows of components. Pure.

Rows are the JSON of action rows: https://docs.discord.com/developers/components/reference
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from adapters.discord.ask_marks import form_id
from adapters.discord.code_blocks import fenced, unfenced, with_fenced_indents
from adapters.discord.components import DANGER, PRIMARY, button, row, select
from adapters.discord.markdown import PART_CHARS, answer_text, escape, visible
from adapters.shared.asks import FILL_IN
from adapters.shared.progress import UNENDED_CALLS, call_line
from bot.domain.answers import CommandAnswer, Example
from bot.domain.messages import Attachment
from bot.domain.turns import TraceLine
from bot.text.counting import count
from bot.text.moments import with_moments
from bot.text.redaction import redact_prose
from bot.text.split import ELLIPSIS, cut, split_markdown

Rows = list[dict[str, Any]]

CONTENT_CHARS = 2_000  # of a message: https://docs.discord.com/developers/resources/message#create-message
RAW_CHARS = 1_800  # of a part of an answer as it was written: tables grow when they are aligned
MAX_PARTS = 6
FILE_BYTES = 8 * 1024 * 1024  # Discord takes 10 MiB: https://docs.discord.com/developers/reference#uploading-files
NAME_CHARS = 60  # of a server's or tool's name, before escaping
OPTION_CHARS = 100  # label, value and description of an option
MAX_OPTIONS = 25
MAX_EXAMPLE_SELECTS = 3  # of the five rows of a message
MAX_ARGUMENT_CHARS = 60  # of a command, in a custom id
CUSTOM_ID_CHARS, LABEL_CHARS = 100, 80  # of a button: https://docs.discord.com/developers/components/reference#button
THREAD_NAME_CHARS = 100
_TITLE_CHARS = 2_000  # of a question are searched for secrets: half of one would not be recognised
NOTE_CHARS = 200

_NO_TEXT = "_(no text)_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message to send: its text, within Discord's limit, and a file with what does not fit."""

    text: str
    file: Attachment | None = None
    rows: tuple[dict[str, Any], ...] = ()


# --- answers ---------------------------------------------------------------------------------------------------


def split_answer(text: str) -> list[str]:
    """Cut an answer into at most MAX_PARTS parts as they are shown; the last may be too long: see `part_message`.

    All parts but the last stay the same when text is added.
    """
    *whole, last = split_markdown(with_fenced_indents(text), max_chars=RAW_CHARS, max_parts=MAX_PARTS) or [""]
    return [part for part in [*map(answer_text, whole), _last_part(last)] if part]


def _last_part(text: str) -> str:
    return answer_text(text) if len(text) <= RAW_CHARS else text


def part_message(text: str) -> Shown:
    """Return one part of an answer as a message; the rest of a part that is too long is in the file answer.md."""
    shown = answer_text(text) if len(text) <= PART_CHARS else text
    if len(shown) <= PART_CHARS:
        return Shown(text=shown.strip() or _NO_TEXT)
    first, *others = split_markdown(text, max_chars=RAW_CHARS, max_parts=2)
    rest = "".join(others)
    note = f"-# The answer goes on in the attached file answer.md ({len(rest):,} more characters)."
    beginning = answer_text(first).strip()
    return Shown(text=f"{beginning}\n{note}" if beginning else note, file=text_file("answer.md", rest, "text/markdown"))


def feedback_row(turn_id: int, part: int) -> dict[str, Any]:
    """Return the buttons that rate an answer; they also mark its message."""
    return row(
        button("", custom_id=f"tb:good:{turn_id}:{part}", emoji="👍"),
        button("", custom_id=f"tb:bad:{turn_id}:{part}", emoji="👎"),
    )


def stop_row(turn_id: int, part: int) -> dict[str, Any]:
    """Return the button that stops the turn; it marks a message that is still growing."""
    return row(button("Stop", custom_id=f"tb:stop:{turn_id}:{part}", style=DANGER))


def notice_text(text: str) -> str:
    """Return Markdown as the text of one message, cut where it does not fit."""
    shown = answer_text(_with_times(text[: 2 * CONTENT_CHARS])).strip()
    if len(shown) > PART_CHARS:  # code that is cut gets its closing fence, for which there must be room
        shown = answer_text(_cut_lines(shown, PART_CHARS - 20))
    return shown or _NO_TEXT


def _with_times(text: str) -> str:
    """Return the core's sentence with its moments in the reader's own time zone.

    https://discord.com/developers/docs/reference#message-formatting-timestamp-styles
    """
    return with_moments(text, lambda at, _: f"<t:{at}:f>")


def notice(text: str) -> Shown:
    """Return Markdown as one message, cut where it does not fit."""
    return Shown(text=notice_text(text))


def thread_name(question: str) -> str:
    """Return the name of the thread that holds the trace of the question's turn: it stays when the question goes."""
    return cut(visible(redact_prose(question[:_TITLE_CHARS])), THREAD_NAME_CHARS) or "Tools"


# --- the trace -------------------------------------------------------------------------------------------------


def trace_message(lines: Sequence[TraceLine], *, turn_id: int, is_running: bool = True, waits_for: str = "") -> Shown:
    """Return a line for each tool call; if there are very many, the first ones are summarised in one line.

    Where the turn is not running any more, a call that has not ended is shown as unfinished. `waits_for` says what a
    turn waits for.
    """
    shown = [_call_line(line, is_running=is_running) for line in lines]
    reason = _reason(waits_for)
    first, room = len(shown), PART_CHARS - len("".join(reason))
    while first > 0 and len(shown[first - 1]) < room:
        first -= 1
        room -= len(shown[first]) + 1
    earlier = [f"{_calls(first)} before these{_failures(lines[:first])}"] if first else []
    return Shown(text="\n".join([*earlier, *shown[first:], *reason]) or "No tool calls", rows=(details_row(turn_id),))


def call_message(line: TraceLine, *, turn_id: int, number: int, waits_for: str = "") -> Shown:
    """Return one tool call with as much of its arguments and result as fits, and what it waits for.

    `number` counts from 1.
    """
    reason = _reason(waits_for)
    text = _call_text(line, number=number, max_chars=PART_CHARS - len("".join(reason)))
    return Shown(text="\n".join([text, *reason]), rows=(details_row(turn_id, number),))


def details_row(turn_id: int, call: int = 0) -> dict[str, Any]:
    """Return the button that shows exact arguments and results; it marks a trace, or (`call`) the trace of one call."""
    return row(button("Details", custom_id=f"tb:details:{turn_id}:{call}"))


def details_message(lines: Sequence[TraceLine], *, note: str = "") -> Shown:
    """Return the exact arguments and results of the calls; in the file details.txt where they do not fit."""
    heading = escape(cut(visible(note), NOTE_CHARS)) if note.strip() else ""
    if not lines:
        return Shown(text=heading or "No tool was used.")
    # The texts are rendered only if all of them may fit.
    if sum(len(line.arguments) + len(line.result) for line in lines) <= PART_CHARS:
        calls = [_call_text(line, number=number, max_chars=None) for number, line in enumerate(lines, start=1)]
        whole = "\n\n".join(filter(None, [heading, *calls]))
        if len(whole) <= PART_CHARS:
            return Shown(text=whole)
    rest = "-# The file details.txt has all of it."
    first = _call_text(lines[0], number=1, max_chars=PART_CHARS - len(heading) - len(rest) - 100)
    others = f"{_calls(len(lines) - 1)} after this one" if len(lines) > 1 else ""
    text = "\n".join(filter(None, [heading, first, others, rest]))
    return Shown(text=text, file=text_file("details.txt", _details_file(lines)))


def _reason(waits_for: str) -> list[str]:
    return [f"-# {escape(cut(visible(waits_for), NOTE_CHARS))}"] if waits_for.strip() else []


def _call_line(line: TraceLine, *, is_running: bool = True) -> str:
    return call_line(line, is_running=is_running, visible=_name)


def _call_text(line: TraceLine, *, number: int, max_chars: int | None) -> str:
    """Return a call with its arguments and result, cut to `max_chars` characters in all."""
    heading = f"**{number}.** {_call_line(line)}"
    names = escape(cut(", ".join(map(visible, line.attachments)), NOTE_CHARS))
    files = f"Files: {names}" if names else ""
    room = None if max_chars is None else max_chars - len(heading) - len(files) - 2
    # A short result leaves more room for the arguments, and the other way round.
    arguments_room = None if room is None else max(room // 3, room - len(unfenced(line.result[:room])) - 150)
    arguments = _block("Arguments", line.arguments, max_chars=arguments_room)
    result_room = None if room is None else room - len(arguments) - 1
    result = "" if line.state in UNENDED_CALLS else _block("Result", line.result, max_chars=result_room)
    return "\n".join(filter(None, [heading, arguments, result, files]))


def _block(label: str, text: str, *, max_chars: int | None) -> str:
    """Return a labelled code block of at most `max_chars` (over 100) characters."""
    block = f"{label}\n{fenced(text if max_chars is None else text[: max_chars + 1])}"
    if max_chars is None or (len(block) <= max_chars and len(text) <= max_chars):
        return block
    shown = text[:max_chars]
    room = max_chars - len(f"{label} (the first {len(shown):,} of {len(text):,} characters)\n{fenced('-')}") + 1
    while shown and (size := len(unfenced(shown))) > room:
        shown = shown[: min(len(shown) - 1, len(shown) * room // size)]
    return f"{label} (the first {len(shown):,} of {len(text):,} characters)\n{fenced(shown)}"


def _details_file(lines: Sequence[TraceLine]) -> str:
    calls: list[str] = []
    for number, line in enumerate(lines, start=1):
        names = " · ".join(filter(None, map(visible, [line.tool, line.server, line.state])))
        files = f"\nFiles: {', '.join(map(visible, line.attachments))}\n" if line.attachments else ""
        calls.append(
            f"=== {number}. {names} · {line.seconds:,.1f} s\n\n"
            f"--- Arguments\n{line.arguments}\n\n--- Result\n{line.result}\n{files}"
        )
    return "\n".join(calls)


def _calls(number: int) -> str:
    return count(number, "tool call")


def _failures(lines: Sequence[TraceLine]) -> str:
    failed = sum(line.state not in ("ok", "withheld", *UNENDED_CALLS) for line in lines)
    return f", {failed:,} without success" if failed else ""


# --- commands --------------------------------------------------------------------------------------------------


class PageRequest(NamedTuple):
    """What the custom id of a Previous or Next button says: a page, counted from 0, of a command's answer."""

    page: int
    command: str
    argument: str


def command_message(answer: CommandAnswer, *, command: str, argument: str, page: int = 0) -> Shown:
    """Return one page of a command's answer; `page` counts from 0, and a page past the end means the last one."""
    parts = split_markdown(_with_times(answer.text), max_chars=RAW_CHARS)
    pages = [part for part in parts if part.strip()] or ["(nothing)"]
    number = min(max(0, page), len(pages) - 1)
    text = answer_text(pages[number]).strip() or _NO_TEXT
    rows: Rows = _next_steps(answer, command, argument)
    if len(pages) > 1:
        text += f"\n-# Page {number + 1:,} of {len(pages):,}"
        rows.append(_page_buttons(command, argument, page=number, last=len(pages) - 1))
    # In Discord commands cover a channel or thread, so none of them offers conversations to pick.
    return Shown(text=text, rows=(*rows, *_example_selects(answer.choices)))


def parse_confirmation(custom_id: str) -> tuple[str, str] | None:
    """Return the command, and its argument, that a button confirms; None for any other custom id."""
    found = re.fullmatch(r"tb:confirm:(\w{1,32}):(.*)", custom_id, re.ASCII | re.DOTALL)
    return (found[1], found[2]) if found else None


def parse_page_request(custom_id: str) -> PageRequest | None:
    """Return the page that a Previous or Next button asks for; None for any other custom id."""
    found = re.fullmatch(r"tb:page:(\d{1,6}):(\w{1,32}):(.*)", custom_id, re.ASCII | re.DOTALL)
    return PageRequest(int(found[1]), found[2], found[3]) if found else None


def find_example(value: str, examples: Sequence[Example]) -> Example | None:
    """Return the example of an option's value, even if its number has changed since."""
    number = value.partition(":")[0]
    at = int(number) if re.fullmatch(r"[0-9]{1,6}", number) else 0
    for example in [*examples[at : at + 1], *examples]:
        if _digest(example) == value.partition(":")[2]:
            return example
    return None


def _next_steps(answer: CommandAnswer, command: str, argument: str) -> Rows:
    """Return the buttons that open a command's form or confirm what it does; there is none for a cut argument."""
    buttons: list[dict[str, Any]] = []
    if answer.form is not None:
        buttons.append(button(FILL_IN, custom_id=form_id("open", answer.form.target), style=PRIMARY))
    confirmed = f"tb:confirm:{command}:{argument}"
    if answer.confirms and len(confirmed) <= CUSTOM_ID_CHARS:
        buttons.append(button(answer.confirms[:LABEL_CHARS], custom_id=confirmed, style=DANGER))
    return [row(*buttons)] if buttons else []


def _page_buttons(command: str, argument: str, *, page: int, last: int) -> dict[str, Any]:
    kept = visible(argument)[:MAX_ARGUMENT_CHARS]
    return row(
        *(
            button(label, custom_id=f"tb:page:{target}:{command}:{kept}")
            for label, target in (("Previous", page - 1), ("Next", page + 1))
            if 0 <= target <= last
        )
    )


def _example_selects(examples: Sequence[Example]) -> Rows:
    options = [
        {
            "label": cut(visible(example.title), OPTION_CHARS) or cut(visible(example.text), OPTION_CHARS),
            "value": f"{number}:{_digest(example)}",
            "description": cut(visible(example.text), OPTION_CHARS),
        }
        for number, example in enumerate(examples)
        if visible(example.text)
    ][: MAX_EXAMPLE_SELECTS * MAX_OPTIONS]
    return [
        row(
            select(
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


def _name(text: str) -> str:
    return escape(cut(visible(text), NAME_CHARS))


def _cut_lines(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max_chars - 1].rstrip()}{ELLIPSIS}"


def text_file(name: str, text: str, mime_type: str = "text/plain") -> Attachment:
    """Return the text as a file, cut where Discord would not take it."""
    data = text.encode(errors="replace")
    if len(data) > FILE_BYTES:
        data = data[:FILE_BYTES].decode(errors="ignore").encode() + b"\n[cut here: the rest is too long for a file]\n"
    return Attachment(name=name, mime_type=mime_type, data=data)
