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
DETAILS, OPEN, FILL_IN, EDIT = "Details", "Open", "Fill in", "Edit arguments"


def form_label(view: AskView) -> str:
    """Return the label of the button that opens the ask's form; "" where it has none now."""
    if view.state != "pending" or not view.form_target:
        return ""
    if view.kind == "form":
        return FILL_IN
    return EDIT if view.may_edit else ""


def offered_choices(view: AskView) -> tuple[Choice, ...]:
    """Return the choices that have a button now: none once it is decided."""
    return view.choices if view.state == "pending" else ()
