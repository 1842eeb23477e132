"""What people are asked, as a Discord message: in the core's words, with what others wrote made harmless. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from adapters.discord.ask_marks import about_id, decide_id, form_id, link_id
from adapters.discord.code_blocks import fenced
from adapters.discord.components import DANGER, LINK, MAX_IN_ROW, PRIMARY, SECONDARY, button, row
from adapters.discord.markdown import PART_CHARS, answer_text, escape, visible
from adapters.discord.render import Shown, details_message, text_file
from adapters.shared.asks import CHOICE_LABELS, DETAILS, OPEN, channel_line, choice_label, form_label, offered_choices
from bot.domain.answers import Details
from bot.domain.asks import ArgumentLine, AskView
from bot.domain.events import Choice
from bot.text.split import ELLIPSIS, cut

TITLE_CHARS, NAME_CHARS, LINE_CHARS = 150, 60, 200
# Each text around the arguments is cut to the first of these at which there is room for them, and then each
# argument's value: none is pushed out of sight by another.
_TEXT_CHARS = (400, 200, 100, 60, 30)
_VALUE_CHARS = (400, 200, 120, 80, 50, 30, 15)
MAX_LINES, MAX_VOTES = 8, 5
MIN_ARGUMENT_CHARS = 450  # of all arguments together
LINK_CHARS = 512  # of a button: https://docs.discord.com/developers/components/reference#button
_STYLES: dict[Choice, int] = {"run": PRIMARY, "decline": DANGER}
_DECISIONS: frozenset[Choice] = frozenset({"run", "run_for_an_hour", "decline"})


def ask_message(view: AskView, *, key: str) -> Shown:
    """Return the message; once the ask is decided it is the record, and of its buttons only Details stays.

    `key` is that of the message: the button marks the message with it.
    """
    above, below, room = _around(view)
    text = "\n".join([*above, *_arguments(view.arguments, max_chars=room), *below])
    return Shown(text=text, rows=tuple(_rows(view, key=key)))


def ask_details(details: Details) -> Shown:
    """Return all that is known of an ask, for one person only; a link is shown whole, with its host first."""
    if not details.link:
        return details_message(details.lines, note=details.notice)
    host = escape(cut(visible(_host_of(details.link)), LINE_CHARS))
    note = [escape(cut(visible(details.notice), LINE_CHARS))] if details.notice.strip() else []
    lines = [*note, f"The page is on **{host or 'an unknown host'}**. Open it only if you expect that."]
    is_short = len(details.link) <= PART_CHARS - 500
    file = None if is_short else text_file("link.txt", details.link)
    text = "\n".join([*lines, fenced(visible(details.link)) if is_short else "-# The file link.txt has its address."])
    return Shown(text=text, file=file, rows=tuple(_link_rows(details.link, host)))


# --- the text --------------------------------------------------------------------------------------------------


def _around(view: AskView) -> tuple[list[str], list[str], int]:
    """Return the lines above and below the arguments, and how many characters those may have."""
    needed = MIN_ARGUMENT_CHARS if view.arguments else 0
    above, below, room = list[str](), list[str](), 0
    for max_chars in _TEXT_CHARS:
        above, below = list(_above(view, max_chars)), list(_below(view, max_chars))
        room = PART_CHARS - sum(len(line) + 1 for line in [*above, *below])
        if room >= needed:
            break
    return above, below, room


def _above(view: AskView, max_chars: int) -> Iterator[str]:
    yield f"**{_plain(view.title, TITLE_CHARS)}**"
    yield from (_line(view, line, max_chars) for line in view.lines[:MAX_LINES] if line.strip())
    if view.message.strip():
        yield f"> {_plain(view.message, max_chars)}"
    if view.host.strip():
        yield f"The page is on **{_plain(view.host, TITLE_CHARS)}**."


def _line(view: AskView, line: str, max_chars: int) -> str:
    found = channel_line(view, line, "discord")
    return f"{_plain(found[0], max_chars)} <#{found[1]}>." if found else _plain(line, max_chars)


def _below(view: AskView, max_chars: int) -> Iterator[str]:
    if view.change.strip():
        yield _markdown(view.change, max_chars)
    yield from (_plain(vote, max_chars // 2) for vote in view.votes[-MAX_VOTES:] if vote.strip())
    if view.state == "pending" and 0 < view.expires_at < 1e11:
        at = int(view.expires_at)  # https://docs.discord.com/developers/reference#message-formatting
        yield f"-# Expires <t:{at}:R>, <t:{at}:f>."
    if view.state != "pending":
        yield _markdown(view.record, max(max_chars, 100)) or f"**{view.state.capitalize()}**"


def _arguments(lines: Sequence[ArgumentLine], *, max_chars: int) -> list[str]:
    """Return a line for each argument, all within the characters; if there are too many, their names."""
    for value_chars in _VALUE_CHARS:
        shown = [_argument(line, value_chars) for line in lines]
        if sum(len(line) + 1 for line in shown) <= max_chars:
            return shown
    return [_names(lines, max_chars=max_chars - 1)] if lines else []


def _argument(line: ArgumentLine, value_chars: int) -> str:
    value = visible(line.value)
    is_cut = line.is_cut or len(value) > value_chars
    end = f"{ELLIPSIS} (cut)" if is_cut else ""
    name = _plain(line.name, NAME_CHARS)
    return f"{f'**{name}**: ' if name else ''}{escape(value[:value_chars])}{end}"


def _names(lines: Sequence[ArgumentLine], *, max_chars: int) -> str:
    """Return the names of all arguments, where there is room for nothing else; what is left out is counted."""
    shown, room = list[str](), max_chars - 80
    for line in lines:
        name = _plain(line.name, NAME_CHARS // 2)
        if len(name) + 2 > room:
            break
        room -= len(name) + 2
        shown.append(name)
    left = len(lines) - len(shown)
    others = f" and {left:,} more" if left else ""
    return f"{len(lines):,} arguments: {', '.join(shown)}{others}. Details has all of them."


def _plain(text: str, max_chars: int) -> str:
    return escape(cut(visible(text), max_chars))


def _markdown(text: str, max_chars: int) -> str:
    return answer_text(_cut(text.strip(), max_chars)).strip()


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max_chars - 1].rstrip()}{ELLIPSIS}"


# --- the buttons -----------------------------------------------------------------------------------------------


def _rows(view: AskView, *, key: str) -> Iterator[dict[str, Any]]:
    buttons = [*_deciding(view), button(DETAILS, custom_id=about_id(view.ask_id, key)), *_others(view)]
    for at in range(0, len(buttons), MAX_IN_ROW):
        yield row(*buttons[at : at + MAX_IN_ROW])


def _deciding(view: AskView) -> Iterator[dict[str, Any]]:
    """Yield the buttons that decide, the primary one first."""
    if view.state == "pending" and view.has_link:
        yield button(OPEN, custom_id=link_id(view.ask_id), style=PRIMARY)
    if view.kind == "form" and form_label(view):
        yield button(form_label(view), custom_id=form_id("open", view.form_target), style=PRIMARY)
        yield button(CHOICE_LABELS["decline"], custom_id=form_id("decline", view.form_target))
    for choice in offered_choices(view):
        if choice in _DECISIONS and not (view.kind == "form" and choice == "decline"):
            yield _choice(view, choice)
    if view.kind != "form" and form_label(view):
        yield button(form_label(view), custom_id=form_id("open", view.form_target))


def _others(view: AskView) -> Iterator[dict[str, Any]]:
    for choice in offered_choices(view):
        if choice not in _DECISIONS:
            yield _choice(view, choice)


def _choice(view: AskView, choice: Choice) -> dict[str, Any]:
    style = SECONDARY if view.kind == "link" else _STYLES.get(choice, SECONDARY)
    return button(choice_label(view, choice), custom_id=decide_id(view.ask_id, choice, view.digest), style=style)


def _link_rows(link: str, host: str) -> Iterator[dict[str, Any]]:
    if host and len(link) <= LINK_CHARS and re.fullmatch(r"https?://[!-~]+", link):
        yield row({"type": 2, "style": LINK, "label": cut(f"{OPEN} {visible(_host_of(link))}", 80), "url": link})


def _host_of(link: str) -> str:
    """Return the host of a link as a name server knows it: letters that look alike become distinct."""
    try:
        host = urlsplit(link).hostname or ""
        return host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return ""
