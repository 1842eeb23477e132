"""What people are asked, as one Slack message: an approval, a form, a link; once it is decided, the record. Pure.

All that is shown comes from the view. Texts are shown literally; only `change` and `record` are the core's Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.shared.asks import DETAILS, OPEN, channel_line, choice_label, form_label, offered_choices
from adapters.slack import kit
from adapters.slack.kit import Blocks
from adapters.slack.mrkdwn import to_mrkdwn
from adapters.slack.payloads import time_of
from bot.domain.asks import ArgumentLine, AskView
from bot.domain.events import Choice
from bot.text.lines import flat
from bot.text.split import cut, split_markdown

# The blocks of one message take about 13,000 characters together (see `render`), so each part has its share.
TITLE_CHARS = 400
LINES_CHARS = 2_400
LINE_CHARS = 600
MESSAGE_CHARS = 1_200
ARGUMENTS_CHARS = 3_600
MIN_VALUE_CHARS = 12
NAME_CHARS = 60  # of an argument
CHANGE_CHARS = 2_200
VOTES_CHARS = 800
RECORD_CHARS = 1_200
MAX_ARGUMENTS = 50

ASK, ASKED, LINK, FORM = "tb:ask", "tb:asked", "tb:link", "tb:form"  # action ids
_STYLES: dict[Choice, str] = {"decline": "danger"}
_OTHERS: frozenset[Choice] = frozenset({"withdraw", "suggest_rule"})  # below the decision itself


def ask_blocks(view: AskView) -> tuple[Blocks, str]:
    """Return the message and its fallback text. Ids of buttons change with each version, so none is left over."""
    title = kit.literal(view.title, TITLE_CHARS) or "(no title)"
    record = _markdown(view.record, RECORD_CHARS)
    blocks = [
        kit.section(f"*{title}*"),
        *record,
        *_lines(view),
        *_message(view),
        *_host(view),
        *_arguments(view.arguments),
        *_markdown(view.change, CHANGE_CHARS),
        *([kit.context(_shared(view.votes, VOTES_CHARS))] if view.votes else []),
        *_expiry(view),
        *_rows(view),
    ]
    return blocks, f"{title} ({view.state})" if view.state != "pending" else title


def pressed_value(view: AskView) -> str:
    """Return what a button of the view carries: which ask, and which arguments were shown."""
    return kit.compact({"ask": view.ask_id, "digest": view.digest})


# --- what is asked ---------------------------------------------------------------------------------------------


def _lines(view: AskView) -> Blocks:
    if not view.lines:
        return []
    if (found := channel_line(view, view.lines[0], "slack")) is None:
        return [kit.section(_shared(view.lines, LINES_CHARS))]
    first = f"{kit.literal(found[0], LINE_CHARS)} <#{found[1]}>."  # mentions of channels notify no one
    rest = view.lines[1:]
    return [kit.section("\n".join([first, *([_shared(rest, LINES_CHARS - len(first))] if rest else [])]))]


def _shared(lines: Sequence[str], max_chars: int) -> str:
    """Return the lines as mrkdwn, each cut by itself, so that none pushes another out of sight."""
    kept = lines[: max_chars // 40]
    share = min(LINE_CHARS, max_chars // len(kept) - 1)
    return "\n".join(kit.literal(line, share) or "—" for line in kept)


def _message(view: AskView) -> Blocks:
    if not view.message.strip():
        return []
    quoted = {"type": "rich_text_quote", "elements": [_text(cut(flat(view.message), MESSAGE_CHARS))]}
    return [{"type": "rich_text", "elements": [kit.label("The server says:"), quoted]}]


def _host(view: AskView) -> Blocks:
    return [kit.section(f"The page is on *{kit.literal(view.host, 300)}*.")] if view.host.strip() else []


def _arguments(arguments: Sequence[ArgumentLine]) -> Blocks:
    """Return a line for each argument; very many share the room, and those that have none are counted."""
    if not arguments:
        return []
    shown = arguments[:MAX_ARGUMENTS]
    share = max(MIN_VALUE_CHARS, ARGUMENTS_CHARS // len(shown) - NAME_CHARS)
    elements = [element for argument in shown for element in _argument(argument, share)]
    if left := len(arguments) - len(shown):
        elements.append(_text(f"… and {left:,} more: see {DETAILS}", bold=True))
    return [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}]


def _argument(argument: ArgumentLine, max_chars: int) -> Blocks:
    name, value = cut(flat(argument.name), NAME_CHARS), flat(argument.value)
    is_cut = argument.is_cut or len(value) > max_chars
    return [
        _text(f"{name or '(no name)'}: ", bold=True),
        _text(cut(value, max_chars) or "(empty)", code=True),
        _text(" (cut)\n" if is_cut else "\n"),
    ]


def _text(text: str, **style: bool) -> dict[str, object]:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


def _markdown(markdown: str, max_chars: int) -> Blocks:
    """Return the core's Markdown as far as there is room for it."""
    if not markdown.strip():
        return []
    parts = split_markdown(to_mrkdwn(markdown[: 2 * max_chars]), max_chars=max_chars)
    is_cut = len(parts) > 1 or len(markdown) > 2 * max_chars
    rest = [kit.context(f"The rest is under {DETAILS}.")] if is_cut else []
    return [kit.section(parts[0]), *rest] if parts and parts[0].strip() else []


def _expiry(view: AskView) -> Blocks:
    """Return until when it can be decided, in the reader's own time.

    https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    """
    at = time_of(view.expires_at)
    if view.state != "pending" or not view.expires_at or at is None:
        return []
    date = f"<!date^{int(view.expires_at)}^{{date_short_pretty}} at {{time}}|{at:%Y-%m-%d %H:%M} UTC>"
    return [kit.context(f"Open until {date}")]


# --- buttons ---------------------------------------------------------------------------------------------------


def _rows(view: AskView) -> Blocks:
    """Return the decision's buttons in one row, the others in the next; once it is decided, only Details."""
    choices = offered_choices(view)
    first = [_choice(view, choice, is_first=choice == choices[0]) for choice in choices if choice not in _OTHERS]
    others = [_choice(view, choice, is_first=False) for choice in choices if choice in _OTHERS]
    if (label := form_label(view)) and view.kind == "form":
        first.insert(0, _form(view, label, style="primary" if not choices else ""))
    elif label:
        others.insert(0, _form(view, label))
    if view.has_link and view.state == "pending":
        first.insert(0, kit.button(OPEN, action_id=LINK, value=pressed_value(view)))
    others.insert(0, kit.button(DETAILS, action_id=ASKED, value=pressed_value(view)))
    rows = [row for row in (first, others) if row]
    return [
        {**kit.actions(*row), "block_id": f"tb:ask:{view.ask_id}:{view.version}:{number}"}
        for number, row in enumerate(rows, start=1)
    ]


def _choice(view: AskView, choice: Choice, *, is_first: bool) -> dict[str, object]:
    style = _STYLES.get(choice, "primary" if is_first else "")
    return kit.button(choice_label(view, choice), action_id=f"{ASK}:{choice}", value=pressed_value(view), style=style)


def _form(view: AskView, label: str, *, style: str = "") -> dict[str, object]:
    return kit.button(label, action_id=FORM, value=kit.compact({"form": view.form_target}), style=style)


# --- the link of an ask ----------------------------------------------------------------------------------------


def link_blocks(host: str, url: str) -> tuple[Blocks, str]:
    """Return where a link leads, with the whole address, for the one person who may open it."""
    said = f"This link leads to {kit.literal(host, 300)}. Open it only if you expect that."
    address = {"type": "rich_text", "elements": [kit.preformatted(url)]}
    button = {**kit.button(f"Open {host}", action_id="tb:opened", value="opened"), "url": url}
    heading = kit.section(f"This link leads to *{kit.literal(host, 300)}*. Open it only if you expect that.")
    return [heading, address, kit.actions(button)], said
