"""What the terminal shows: plain text, and Markdown as rich draws it. Pure.

Text of models and tools is untrusted: all of it passes `visible` before it reaches a terminal.
rich is imported only where it draws, so that a pipe does not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from bot.domain.answers import Example
from bot.domain.turns import TraceLine, TurnView
from bot.text.terminal import flat, visible

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.markdown import Markdown

GROWING_CHARS = 2_000  # of a growing answer, redrawn at each refresh (7 ms of CPU)

_ENDINGS = {
    "error": "failed",
    "timeout": "timed out",
    "unavailable": "not available",
    "interrupted": "interrupted",
    "stopped": "stopped",
    "denied": "not allowed",
    "withheld": "not sent (dry run)",
}


# --- the trace -------------------------------------------------------------------------------------------------


def call_line(line: TraceLine, *, width: int, is_ascii: bool = False) -> str:
    """Return a call that has ended on one line of about `width` columns; the arguments are cut to fit."""
    good, bad, ellipsis = ("+", "x", "...") if is_ascii else ("✓", "✗", "…")
    sign = good if line.state == "ok" else bad
    start = f"  {sign} {_name(line)}"
    note, ending = flat(line.note), _ENDINGS.get(line.state, "")
    was_sent = line.state not in ("denied", "withheld")
    end = "  ".join(filter(None, [f"{line.seconds:.1f} s", ending, note] if was_sent else [note or ending]))
    room = max(12, width - len(start) - len(end) - 4)
    arguments = _arguments(line.arguments)
    if len(arguments) > room:
        arguments = arguments[: room - len(ellipsis)] + ellipsis
    return "  ".join(filter(None, [start, arguments, end]))


def call_details(line: TraceLine) -> str:
    """Return the call's exact arguments and its result, indented under its line."""
    return "\n".join([_indented("arguments", line.arguments), _indented("result", line.result)])


def attachment_lines(line: TraceLine) -> str:
    """Return the names of the files that came with the result, one per line."""
    return "\n".join(f"      file: {flat(name)}" for name in line.attachments)


def _name(line: TraceLine) -> str:
    return flat(f"{line.server}.{line.tool}" if line.server else line.tool)


def _arguments(arguments: str) -> str:
    """Return a JSON object as `name=value, ...`, and any other text unchanged."""
    try:
        values: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return flat(arguments)
    if not isinstance(values, dict):
        return flat(arguments)
    pairs = cast("dict[str, Any]", values).items()
    return flat(", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs))


def _indented(label: str, text: str) -> str:
    lines = visible(text).splitlines() or ["(empty)"]
    return "\n".join([f"      {label}: {lines[0]}", *(f"        {line}" for line in lines[1:])])


# --- words -----------------------------------------------------------------------------------------------------


def status(view: TurnView | None, *, elapsed_s: float) -> str:
    """Return what the turn is doing, on one line."""
    return f"{_doing(view)} ({elapsed_s:.0f} s)"


def _doing(view: TurnView | None) -> str:
    if view is None:
        return "thinking"
    if view.notice:
        return flat(view.notice)
    running = [_running(line) for line in view.trace if line.state in ("asked", "running")]
    if running:
        return f"running {', '.join(running)}"
    return "answering" if view.text.strip() else "thinking"


def _running(line: TraceLine) -> str:
    """Return the call's name, and how far it is where its server says so."""
    said = flat(line.progress) if line.state == "running" else ""
    return f"{_name(line)} ({said})" if said else _name(line)


def numbered(choices: Sequence[Example]) -> str:
    """Return the choices as a numbered list, with the text that each sends."""
    lines = (f"  {number}. {flat(choice.text)}" for number, choice in enumerate(choices, start=1))
    return "\n".join([*lines, "", "Type a number to run that example."])


def unknown_command(name: str, nearest: str | None) -> str:
    """Return the answer to an unknown command."""
    hint = f" Did you mean /{nearest}?" if nearest else ""
    return f"There is no command /{flat(name)}.{hint} /help shows them all."


# --- Markdown --------------------------------------------------------------------------------------------------


def markdown(text: str) -> Markdown:
    """Return the Markdown as rich draws it, with three differences.

    HTML stays visible as text (rich drops it), a single line break stays one (as in a chat), and a link shows where
    it leads instead of hiding it behind a terminal hyperlink.
    """
    from markdown_it import MarkdownIt  # rich's own parser
    from rich.markdown import Markdown

    drawn = Markdown("", hyperlinks=False)
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    drawn.parsed = parser.parse(visible(text))
    for block in drawn.parsed:
        _make_visible(block)
        for token in block.children or ():
            _make_visible(token)
            token.type = "hardbreak" if token.type == "softbreak" else token.type
    return drawn


def _make_visible(token: Token) -> None:
    """Clean the token's texts once more: the parser has read entities and percent signs by now."""
    token.content = visible(token.content)
    token.attrs = {name: visible(value) if isinstance(value, str) else value for name, value in token.attrs.items()}


def growing_text(text: str, *, max_lines: int) -> RenderableType:
    """Return the end of a growing answer, at most `max_lines` high."""
    return _Tail(markdown(_last_lines(text)), max_lines=max_lines)


def typed_text(text: str, *, max_lines: int) -> RenderableType:
    """Return the end of what is being typed, at most `max_lines` high."""
    from rich.text import Text

    return _Tail(Text(visible(text[-GROWING_CHARS:])), max_lines=max_lines)


def _last_lines(text: str) -> str:
    if len(text) <= GROWING_CHARS:
        return text
    return text[-GROWING_CHARS:].partition("\n")[2] or text[-GROWING_CHARS:]


class _Tail:
    """The last lines of a renderable: a live region must not be higher than the terminal."""

    def __init__(self, whole: RenderableType, *, max_lines: int) -> None:
        self._whole = whole
        self._max_lines = max_lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        lines = console.render_lines(self._whole, options, pad=False)
        for line in lines[-self._max_lines :]:
            yield from line
            yield Segment.line()
