"""What is asked, as lines and a prompt, and what a line that is typed there decides. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.domain.asks import AskView
from bot.domain.events import Choice
from bot.text.counting import count
from bot.text.terminal import flat, visible

TITLE_CHARS = 60  # of the title in the prompt; the whole one is above

Action = Choice | Literal["form", "details", "next", "unclear"]


@dataclass(frozen=True, slots=True)
class _Key:
    """One thing to type: its first letter or the whole word; `label` shows both."""

    action: Action
    words: tuple[str, ...]
    label: str


_CHOICES: tuple[tuple[Choice, _Key], ...] = (
    ("run", _Key("run", ("r", "run"), "[r]un")),
    ("run_for_an_hour", _Key("run_for_an_hour", ("h", "hour"), "[h]our")),
    ("decline", _Key("decline", ("d", "decline"), "[d]ecline")),
    ("withdraw", _Key("withdraw", ("w", "withdraw"), "[w]ithdraw")),
    ("suggest_rule", _Key("suggest_rule", ("s", "suggest", "suggest rule"), "[s]uggest rule")),
)
_DONE = _Key("run", ("", "done"), "[Enter] when done")
_EDIT = _Key("form", ("e", "edit"), "[e]dit")
_FILL_IN = _Key("form", ("f", "fill", "fill in"), "[f]ill in")
_DETAILS = _Key("details", ("?", "details"), "[?] details")
_NEXT = _Key("next", ("n", "next"), "[n]ext")
_UNCLEAR = frozenset({"y", "yes", "n", "no"})  # to whom is that said? It neither runs anything nor reaches the model


def read_answer(line: str, view: AskView, *, has_others: bool) -> Action | None:
    """Return what the line decides about what is asked; None: it is a message or a command."""
    word = line.strip().lower()
    for key in _keys(view, has_others=has_others):
        if word in key.words:
            return key.action
    return "unclear" if word in _UNCLEAR and view.kind == "approval" else None


def subject(view: AskView) -> str:
    """Return what an approval is about: its title without the question."""
    return flat(view.title).removeprefix("Run ").rstrip("?")


def prompt(view: AskView, *, has_others: bool) -> str:
    """Return the prompt: what is asked, and the keys that answer it."""
    title = flat(view.title)
    short = title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"
    return f"{short} {', '.join(key.label for key in _keys(view, has_others=has_others))}: "


def block(view: AskView, *, now: float) -> str:
    """Return all of what is asked, each argument on a line of its own; `now` is in seconds since the epoch."""
    return "\n".join([flat(view.title), *(f"  {line}" for line in _lines(view, now=now))])


def _lines(view: AskView, *, now: float) -> Iterator[str]:
    yield from map(flat, view.lines)
    for argument in view.arguments:
        cut = "  (cut; ? shows all)" if argument.is_cut else ""
        yield f"  {flat(argument.name)}{': ' if argument.name else ''}{flat(argument.value)}{cut}"
    if view.message:
        yield "In the words of the server:"
        yield from (f"  | {line}" for line in visible(view.message).splitlines())
    if view.host:
        yield f"The page is on {flat(view.host)}."
    if view.change:
        yield from (f"  {line}" for line in visible(view.change).splitlines())
    yield from map(flat, view.votes)
    if view.expires_at:
        yield expiry(view.expires_at, now=now)


def expiry(at: float, *, now: float) -> str:
    """Return until when it can be decided, as a sentence in the person's own time zone."""
    left_s = max(0.0, at - now)
    number, unit = next(
        (
            (round(left_s / seconds), unit)
            for unit, seconds in (("day", 86_400), ("hour", 3_600))
            if left_s >= 2 * seconds
        ),
        (round(left_s / 60), "minute"),
    )
    clock = datetime.fromtimestamp(at)  # noqa: DTZ006  (the person's own time)
    day = "" if clock.date() == datetime.fromtimestamp(now).date() else f"{clock:%Y-%m-%d} "  # noqa: DTZ006
    return f"It expires in {count(number, unit)}, at {day}{clock:%H:%M}."


def _keys(view: AskView, *, has_others: bool) -> Iterator[_Key]:
    choices = dict(_CHOICES)
    if view.kind == "link" and "run" in view.choices:
        yield _DONE
    if view.kind == "form" and view.form_target:
        yield _FILL_IN
    for choice in view.choices:
        if not (view.kind == "link" and choice == "run"):
            yield choices[choice]
        if view.kind == "approval" and view.form_target and choice == _last_run(view):
            yield _EDIT
    yield _DETAILS
    if has_others:
        yield _NEXT


def _last_run(view: AskView) -> Choice:
    return "run_for_an_hour" if "run_for_an_hour" in view.choices else "run"
