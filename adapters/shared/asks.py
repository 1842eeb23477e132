"""What Slack and Discord both show of what is asked: the words of its buttons, which of them there are."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.asks import AskView
from bot.domain.events import Choice

CHOICE_LABELS: Mapping[Choice, str] = {
    "run": "Run",
    "run_for_an_hour": "Run, and for an hour here",
    "decline": "Decline",
    "withdraw": "Withdraw",
    "suggest_rule": "Suggest rule",
}
GO_ON = "Go on"  # of a link: the page was opened
DETAILS, OPEN, FILL_IN, EDIT = "Details", "Open", "Fill in", "Edit arguments"


def form_label(view: AskView) -> str:
    """Return the label of the button that opens the ask's form; "" where it has none now."""
    if view.state != "pending" or not view.form_target:
        return ""
    return {"approval": EDIT, "form": FILL_IN, "link": ""}[view.kind]


def choice_label(view: AskView, choice: Choice) -> str:
    """Return the label of a choice's button; "Go on" where a page was to be opened, as nothing runs then."""
    return GO_ON if view.kind == "link" and choice == "run" else CHOICE_LABELS[choice]


def channel_line(view: AskView, line: str, platform: str) -> tuple[str, str] | None:
    """Return the line without its end, and the id of the platform's channel that it ends with; None for other lines.

    Only the end counts, which the core wrote: the name before it is someone's own.
    """
    match view.place.split(":"):
        case [of, _, channel] if of == platform and channel.isalnum() and line.endswith(f" in {view.place}."):
            return line.removesuffix(f" {view.place}."), channel
        case _:
            return None


def offered_choices(view: AskView) -> tuple[Choice, ...]:
    """Return the choices that have a button now: none once it is decided."""
    return view.choices if view.state == "pending" else ()
