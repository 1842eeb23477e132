"""Answers, traces and commands as Slack's blocks, views and mrkdwn. Pure.

Text of models, tools and people is untrusted: for a `markdown` block it passes `neutralize`, for mrkdwn `kit.literal`
or an escape; a `rich_text` block shows any text literally. Limits are those of https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from adapters.shared.asks import FILL_IN
from adapters.shared.progress import call_line
from adapters.slack import kit
from adapters.slack.kit import Blocks
from adapters.slack.mrkdwn import WORD_JOINER, fitting, to_mrkdwn, unformatted
from bot.domain.answers import CommandAnswer, Example, Pick
from bot.domain.commands import FILES
from bot.domain.events import ConversationKey
from bot.domain.turns import UNENDED_CALLS, TraceLine, TurnView
from bot.text.counting import count
from bot.text.lines import flat
from bot.text.moments import plain_moments
from bot.text.split import ELLIPSIS, cut, split_markdown

MAX_PLAIN_BLOCKS = 10
MARKDOWN_CHARS = 12_000  # of a markdown block
NOTIFICATION_CHARS = 3_000
PAGE_CHARS = 2_800  # of a command's answer; the blocks of one message take about 13,000 characters together
VALUE_CHARS = 2_000
ALL_VALUES_CHARS = 6_000  # of all example buttons together
OPTION_CHARS = 75
OPTION_VALUE_CHARS = 150
STATUS_CHARS = 100
SESSION_TITLE_CHARS = 200
MAX_OPTIONS = 100
MAX_CHOICES = 25
CHOICES_IN_ROW = 5
MAX_TRACE_LINES = 25
MAX_VIEW_BLOCKS = 100
MAX_NOTICE_BLOCKS = 4
MAX_SECTIONS = 20  # of a view's text, which stays far below the 250 kB that a view takes
MAX_VIEW_CALLS = 24  # four blocks each: the name, the arguments, the result, what was left out of it
VIEW_TEXT_BYTES = 150_000  # a view takes 250 kB: https://docs.slack.dev/reference/methods/views.open
MAX_ARGUMENT_CHARS = 500  # of a command; it is kept in the value of a button

# What Slack turns into a mention, a link to a channel or a date: https://docs.slack.dev/messaging/formatting-message-text
_PINGS = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam\^|date\^)|@[UW][A-Z0-9]|#[CG][A-Z0-9])")

# Turning a page runs the command again, which must not act; the picker offers everything.
_ACTING = frozenset({"clear", "stop"})


# --- answers ---------------------------------------------------------------------------------------------------


def answer_blocks(text: str, *, turn_id: int, is_last: bool) -> Blocks:
    """Return one part of an answer; below the last part people can rate the answer."""
    shown = neutralize(text)
    if len(shown) > MARKDOWN_CHARS:
        shown = f"{shown[: MARKDOWN_CHARS - 1]}{ELLIPSIS}"
    block = {"type": "markdown", "text": shown if shown.strip() else "_(no text)_"}
    return [block, *(feedback_blocks(turn_id) if is_last else [])]


def plain_blocks(text: str) -> Blocks:
    """Return one part of an answer as plain text, for when Slack does not accept it as Markdown."""
    pieces = _pieces(text, max_pieces=MAX_PLAIN_BLOCKS, max_bytes=VIEW_TEXT_BYTES)
    return [{"type": "section", "text": kit.plain(piece)} for piece in pieces if piece.strip()] or [
        kit.section("(no text)")
    ]


def feedback_blocks(turn_id: int) -> Blocks:
    """Return the buttons with which people rate an answer.

    https://docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element
    """
    buttons = {
        "type": "feedback_buttons",
        "action_id": "tb:feedback",
        "positive_button": {"text": kit.plain("Good answer"), "value": f"good:{turn_id}"},
        "negative_button": {"text": kit.plain("Bad answer"), "value": f"bad:{turn_id}"},
    }
    return [{"type": "context_actions", "elements": [buttons]}]


def notification(text: str) -> str:
    """Return Markdown as one plain paragraph for notifications and for clients that show no blocks."""
    text = text[: 4 * NOTIFICATION_CHARS]
    text = re.sub(r"(?m)^[ \t]*(?:`{3,}|~{3,}).*$", "", text)
    text = re.sub(r"(?m)^[ \t]{0,3}(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+)", "", text)
    text = re.sub(r"!?\[([^\[\]\n]{1,300})\]\([^()\s]{1,2000}\)", r"\1", text)
    text = re.sub(r"\*\*|__|`", "", text)
    return fitting(" ".join(text.split()), NOTIFICATION_CHARS)


def neutralize(text: str) -> str:
    """Return the text with mentions defused: they are shown literally and notify nobody."""
    return _PINGS.sub(f"<{WORD_JOINER}", text)


def status_text(view: TurnView) -> str:
    """Return what the turn is doing, to follow the bot's name: https://docs.slack.dev/reference/methods/assistant.threads.setStatus"""
    if view.notice:
        return cut(flat(view.notice), STATUS_CHARS)
    tools = dict.fromkeys(flat(line.tool) for line in view.trace if line.state in UNENDED_CALLS)
    return cut(f"is using {', '.join(tools)}…", STATUS_CHARS) if tools else "is thinking…"


def session_title(view: TurnView) -> str:
    """Return what a thread is called that begins with this turn; empty where the question has no words of its own.

    Slack keeps the first title of a session: https://docs.slack.dev/reference/methods/agents.sessions.setStatus
    """
    return cut(flat(view.question), SESSION_TITLE_CHARS)


# --- the trace -------------------------------------------------------------------------------------------------


def trace_blocks(lines: Sequence[TraceLine], *, turn_id: int, is_running: bool = True) -> tuple[Blocks, str]:
    """Return a line for each tool call, the first of very many summarised in one, and the fallback text.

    Once the turn no longer runs, a call without a result is shown as unfinished.
    """
    first = max(0, len(lines) - MAX_TRACE_LINES)
    shown = [_call_line(line, is_running=is_running) for line in lines[first:]]
    if first:
        shown.insert(0, f"{_calls(first)} before these{_failures(lines[:first])}")
    blocks: Blocks = [kit.context(text) for text in kit.packed(shown) or ["No tool calls"]]
    text = f"{_calls(len(lines))}{_failures(lines)}"
    return [*blocks, kit.actions(_details_button(turn_id))], text


def call_blocks(line: TraceLine, *, turn_id: int, number: int) -> tuple[Blocks, str]:
    """Return one tool call with its arguments and its result, and the fallback text; `number` counts from 1."""
    heading = f"{number}. {_call_line(line)}"
    texts = [*_text_elements("Arguments", line.arguments), *_text_elements("Result", line.result)]
    blocks: Blocks = [kit.section(heading), *([{"type": "rich_text", "elements": texts}] if texts else [])]
    if line.attachments:
        blocks.append(kit.context(_files(line)))
    return [*blocks, kit.actions(_details_button(turn_id))], heading


def _call_line(line: TraceLine, *, is_running: bool = True) -> str:
    """Return a call on one line of mrkdwn."""
    return call_line(line, is_running=is_running, visible=kit.short_name)


def _text_elements(label: str, text: str) -> Blocks:
    """Return rich-text elements that show the text, as far as one block should hold it."""
    if not text:
        return []
    shown = text[: kit.TEXT_CHARS]
    rest = f" (the first {len(shown):,} of {len(text):,} characters)" if len(shown) < len(text) else ""
    return [kit.label(f"{label}{rest}"), kit.preformatted(shown)]


def _calls(number: int) -> str:
    return count(number, "tool call")


def _failures(lines: Sequence[TraceLine]) -> str:
    failed = sum(line.state not in ("ok", *UNENDED_CALLS) for line in lines)
    return f", {failed:,} without success" if failed else ""


def _files(line: TraceLine) -> str:
    names = cut(", ".join(map(flat, line.attachments)), kit.TEXT_CHARS // 8)
    return fitting(f"Files: {unformatted(names)}", kit.TEXT_CHARS // 2)


def _details_button(turn_id: int) -> dict[str, Any]:
    return kit.button("Details", action_id="tb:details", value=str(turn_id))


# --- the details of a trace ------------------------------------------------------------------------------------


def details_view(lines: Sequence[TraceLine], *, turn_id: int, note: str = "") -> dict[str, Any]:
    """Return a modal with the exact arguments and result of each call, as far as a view can hold them.

    Below a result of a turn that is cut, a button requests all of it as a file; `call` in its value counts from 1.
    """
    shown = lines[:MAX_VIEW_CALLS]
    notice = fitting(unformatted(flat(note)), kit.TEXT_CHARS)
    blocks: Blocks = [kit.context(notice)] if notice else []
    for number, line in enumerate(shown, start=1):
        blocks += _details(
            line,
            whole={"accessory": _whole_button(turn_id, number)} if turn_id else {},
            number=number,
            max_blocks=(MAX_VIEW_BLOCKS - 2) // len(shown),
            max_bytes=VIEW_TEXT_BYTES // len(shown),
        )
    if len(shown) < len(lines):
        blocks.append(kit.context(f"{_calls(len(lines) - len(shown))} after these are not shown here."))
    return kit.modal("What ran", blocks or [kit.section("No tool was used.")])


def _details(
    line: TraceLine, *, whole: dict[str, Any], number: int, max_blocks: int, max_bytes: int
) -> Iterable[dict[str, Any]]:
    arguments = _pieces(line.arguments, max_pieces=max(1, max_blocks // 4), max_bytes=max_bytes // 4)
    result = _pieces(line.result, max_pieces=max_blocks - 2 - max(1, len(arguments)), max_bytes=max_bytes * 3 // 4)
    files = f"\n{_files(line)}" if line.attachments else ""
    yield kit.section(f"*{number}.* {_call_line(line)}{files}")
    yield from _whole_text("Arguments", arguments, total=len(line.arguments))
    if line.state not in UNENDED_CALLS:
        yield from _whole_text("Result", result, total=len(line.result))
    if sum(map(len, result)) < len(line.result):
        shown = f"The first {sum(map(len, result)):,} of {len(line.result):,} characters of this result."
        yield {**kit.section(shown), **whole}


def _whole_text(label: str, pieces: Sequence[str], *, total: int) -> Iterable[dict[str, Any]]:
    length = sum(map(len, pieces))
    rest = f" (the first {length:,} of {total:,} characters)" if length < total else ""
    for number, piece in enumerate(pieces or ["(empty)"]):
        label_of_first = [] if number else [kit.label(f"{label}{rest}")]
        yield {"type": "rich_text", "elements": [*label_of_first, kit.preformatted(piece)]}


def _pieces(text: str, *, max_pieces: int, max_bytes: int) -> list[str]:
    """Return the beginning of the text in pieces of one block each, cut at line ends where possible."""
    pieces: list[str] = []
    at = 0
    while at < len(text) and len(pieces) < max_pieces:
        piece = text[at : at + kit.TEXT_CHARS]
        if at + len(piece) < len(text):
            piece = piece[: piece.rfind("\n", kit.TEXT_CHARS // 2) + 1] or piece
        while piece and (size := len(json.dumps(piece))) > max_bytes:
            piece = piece[: min(len(piece) - 1, len(piece) * max_bytes // size)]
        if not piece:
            break
        max_bytes -= len(json.dumps(piece))
        pieces.append(piece)
        at += len(piece)
    return pieces


def _whole_button(turn_id: int, number: int) -> dict[str, Any]:
    value = kit.compact({"turn": turn_id, "call": number})
    return kit.button("Whole result as a file", action_id=f"tb:whole:{number}", value=value)


# --- commands --------------------------------------------------------------------------------------------------


def command_blocks(
    answer: CommandAnswer, *, command: str, argument: str, page: int, place: str, thread: str = ""
) -> tuple[Blocks, str]:
    """Return one page of a command's answer, and the fallback text.

    `page` counts from 0 and is limited to the last page; `place` is the thread the command belongs to, or empty;
    `thread` is the one in which what the answer's form or button asks for is to happen.
    """
    text = plain_moments(answer.text)  # a markdown block has no dates in the reader's own time zone
    pages = split_markdown(text if text.strip() else "(nothing)", max_chars=PAGE_CHARS)
    number = min(max(0, page), len(pages) - 1)
    blocks: Blocks = [{"type": "markdown", "text": neutralize(pages[number])}]
    if len(pages) > 1 and command not in _ACTING:
        asked = {"command": command, "argument": flat(argument)[:MAX_ARGUMENT_CHARS], "thread": place}
        turners = [("Previous", "prev", number - 1), ("Next", "next", number + 1)]
        blocks.append(kit.context(f"Page {number + 1:,} of {len(pages):,}"))
        blocks.append(
            kit.actions(
                *(
                    kit.button(text, action_id=f"tb:page:{turn}", value=kit.compact({**asked, "page": target}))
                    for text, turn, target in turners
                    if 0 <= target < len(pages)
                )
            )
        )
    asked = {"command": command, "argument": argument, "thread": place}
    going_on = _going_on(answer, asked, thread=thread or place)
    picker = _picker(answer.picks, command=command, argument=argument)
    return [*blocks, *_choice_rows(answer.choices, place=place), *going_on, *picker], notification(text)


def _going_on(answer: CommandAnswer, asked: dict[str, Any], *, thread: str) -> Blocks:
    """Return the buttons that open the answer's form, and that confirm the command."""
    buttons: Blocks = []
    if answer.form is not None:
        value = kit.compact({"form": answer.form.target, "thread": thread})
        buttons.append(kit.button(FILL_IN, action_id="tb:form", value=value, style="primary"))
    value = kit.compact(asked)
    if answer.confirms and len(value) <= VALUE_CHARS:  # what is longer is no command that asks for it
        buttons.append(kit.button(answer.confirms, action_id="tb:confirm", value=value, style="danger"))
    return [kit.actions(*buttons)] if buttons else []


def _choice_rows(choices: Sequence[Example], *, place: str) -> Blocks:
    """Return rows of buttons; a choice that is too long for a button's value has none."""
    buttons: Blocks = []
    left = ALL_VALUES_CHARS
    for number, choice in enumerate(choices, start=1):
        value = kit.compact({"text": choice.text, "thread": place})
        if choice.text.strip() and len(value) <= min(VALUE_CHARS, left) and len(buttons) < MAX_CHOICES:
            left -= len(value)
            label = choice.title if choice.title.strip() else choice.text
            buttons.append(kit.button(label, action_id=f"tb:example:{number}", value=value))
    return [kit.actions(*buttons[at : at + CHOICES_IN_ROW]) for at in range(0, len(buttons), CHOICES_IN_ROW)]


def _picker(picks: Sequence[Pick], *, command: str, argument: str) -> Blocks:
    given = {"a": argument} if argument.strip() else {}
    options = [
        {"text": kit.plain(cut(flat(pick.label), OPTION_CHARS) or "(no title)"), "value": value}
        for pick in picks
        if len(value := kit.compact({"c": command, "t": pick.conversation.thread, **given})) <= OPTION_VALUE_CHARS
    ]
    if not options:
        return []
    picker: dict[str, Any] = {
        "type": "static_select",
        "action_id": "tb:pick",
        "placeholder": kit.plain("Choose a conversation"),
        "options": options[:MAX_OPTIONS],
    }
    if command == "clear":
        picker["confirm"] = _confirm_clear(with_files=argument.strip().lower() == FILES)
    return [kit.actions(picker)]


def _confirm_clear(*, with_files: bool) -> dict[str, Any]:
    files = "Its messages and saved files are deleted for everyone."
    return {
        "title": kit.plain("Forget this conversation?"),
        "text": kit.plain(files if with_files else "Its messages are deleted for everyone. Its files stay."),
        "confirm": kit.plain("Forget it"),
        "deny": kit.plain("Keep it"),
        "style": "danger",
    }


def home_view(answer: CommandAnswer) -> dict[str, Any]:
    """Return the app's Home tab."""
    rows = _choice_rows(answer.choices, place="")
    return {"type": "home", "blocks": [*sections(answer.text, max_blocks=MAX_SECTIONS), *rows]}


def notice_blocks(markdown: str) -> Blocks:
    """Return what only one person sees: a sentence or two, or an example to copy."""
    return sections(markdown, max_blocks=MAX_NOTICE_BLOCKS)


def refused_blocks(conversation: ConversationKey, link: str, reason: str) -> Blocks:
    """Return why an answer is not where it was asked for; `link` leads to the question, where it is known."""
    question = f"<{link}|your message>" if link else "your message"
    if not conversation.channel.startswith("D"):  # a direct message has no name to be shown by
        question += f" in <#{conversation.channel}>"
    text = f"My answer to {question} could not be posted there. {to_mrkdwn(reason)}"
    return [{"type": "section", "text": {"type": "mrkdwn", "text": cut(text, kit.TEXT_CHARS)}}]


def notice_view(title: str, text: str) -> dict[str, Any]:
    """Return a modal that says one thing, in plain text."""
    return kit.modal(title, [{"type": "section", "text": kit.plain(cut(plain_moments(text), kit.TEXT_CHARS))}])


def shortcut_view(
    *, history: CommandAnswer, tools: CommandAnswer, answer: CommandAnswer | None = None
) -> dict[str, Any]:
    """Return the modal of the message shortcut, with buttons for the other commands.

    `answer` is that of the button pressed last.
    """
    clear = {
        **kit.button("Clear", action_id="tb:run:clear", value="clear"),
        "style": "danger",
        "confirm": _confirm_clear(with_files=False),
    }
    blocks: Blocks = [
        kit.actions(
            kit.button("Stop", action_id="tb:run:stop", value="stop"),
            clear,
            kit.button("Usage", action_id="tb:run:usage", value="usage"),
        ),
        *(sections(answer.text, max_blocks=MAX_SECTIONS // 2) if answer and answer.text.strip() else []),
        kit.header("History"),
        *sections(history.text, max_blocks=MAX_SECTIONS // 2),
        kit.header("Tools"),
        *sections(tools.text, max_blocks=MAX_SECTIONS // 2),
    ]
    return kit.modal("Tools and history", blocks)


def sections(markdown: str, *, max_blocks: int) -> Blocks:
    """Return Markdown as mrkdwn, the only one of the two that views accept."""
    parts = split_markdown(to_mrkdwn(markdown), max_chars=kit.TEXT_CHARS) or ["(nothing)"]
    if len(parts) > max_blocks:
        parts = [*parts[: max_blocks - 1], "The rest does not fit here; the command of the same name shows all of it."]
    return [kit.section(part) for part in parts if part.strip()] or [kit.section("(nothing)")]
