"""Forms at a terminal: one question for each field, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.domain.answers import Done, Ready, Refused, Submitted
from bot.domain.forms import Field, Form, Invalid
from bot.text.terminal import flat, visible

CLOSED = "Nothing was sent."
_HINTS = {
    "json": "JSON",
    "date": "YYYY-MM-DD",
    "checkbox": "y or n",
    "integer": "a whole number",
    "number": "a number",
    "choice": "a number of these",
    "choices": "numbers of these, with commas between",
}
_CHECKED = {"y": "true", "yes": "true", "true": "true", "n": "false", "no": "false", "false": "false"}

Action = Literal["accept", "decline", "cancel"]
Submit = Callable[[Mapping[str, str], Action], Awaitable[Submitted]]


class Questions(Protocol):
    """Where fields are asked for."""

    async def question(self, text: str) -> str | None:
        """Return what is typed after the text; None after Ctrl-C or Ctrl-D."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        ...


@dataclass(frozen=True, slots=True)
class _Wrong:
    sentence: str


async def fill_in(form: Form, *, at: Questions, submit: Submit) -> Done | Ready | Refused | None:
    """Ask for each field and send the form off; what cannot be taken is asked for again. None: it was closed.

    Ctrl-C closes the form and nothing is submitted: it can be opened again. `cancel` submits that it is cancelled,
    where a server asks.
    """
    at.say(_heading(form))
    values = {field.name: field.value for field in form.fields}
    todo: Sequence[Field] = form.fields
    while True:
        action = await (_ask_all(todo, values, form=form, at=at) if form.fields else _confirm(form, at=at))
        if action == "close" or (action == "cancel" and not form.may_decline):
            at.say(CLOSED)
            return None
        outcome = await submit(values if action == "accept" else {}, action)
        if not isinstance(outcome, Invalid):
            return outcome
        todo = _at_fault(form, outcome, at=at)
        if action != "accept" or not form.fields:
            return None


def missing(form: Form) -> Sequence[str]:
    """Return the labels of the fields that have to be filled in and are not."""
    return [flat(field.label or field.name) for field in form.fields if field.is_required and not field.value]


def _heading(form: Form) -> str:
    closing = "Ctrl-C or `cancel` closes the form"
    if form.may_decline:
        closing = "Ctrl-C closes the form for now, `cancel` takes the request back, `decline` refuses it"
    message = [f"  | {line}" for line in visible(form.message).splitlines()]
    keeps = " An empty line keeps the value in brackets." if any(field.value for field in form.fields) else ""
    return "\n".join([flat(form.title), *message, f"{closing}.{keeps}"])


async def _confirm(form: Form, *, at: Questions) -> Action | Literal["close"]:
    answer = await at.question(f"{flat(form.submit)}? [y/N] ")
    if answer is None:
        return "close"
    word = answer.strip().lower()
    if word == "decline" and form.may_decline:
        return "decline"
    return "accept" if _CHECKED.get(word) == "true" else "cancel"


async def _ask_all(
    fields: Sequence[Field], values: dict[str, str], *, form: Form, at: Questions
) -> Action | Literal["close"]:
    """Put what is typed into `values`, until all fields are asked for or the form is closed."""
    for field in fields:
        for line in _options(field):
            at.say(line)
        while True:
            typed = await at.question(_label(field, values[field.name]))
            if typed is None:
                return "close"
            if typed.strip() == "cancel":
                return "cancel"
            if typed.strip() == "decline" and form.may_decline:
                return "decline"
            value = _value(field, typed.strip(), before=values[field.name])
            if not isinstance(value, _Wrong):
                values[field.name] = value
                break
            at.say(value.sentence)
    return "accept"


def _at_fault(form: Form, invalid: Invalid, *, at: Questions) -> Sequence[Field]:
    """Say what is wrong, and return the fields to ask for again: those at fault, or all where none is named."""
    if invalid.notice:
        at.say(invalid.notice)
    wrong = [field for field in form.fields if field.name in invalid.errors]
    for field in wrong:
        at.say(flat(f"{field.label or field.name}: {invalid.errors[field.name]}"))
    for name, sentence in invalid.errors.items():
        if name not in {field.name for field in wrong}:
            at.say(flat(f"{name}: {sentence}"))
    return wrong or form.fields


# --- one field -------------------------------------------------------------------------------------------------


def _label(field: Field, value: str) -> str:
    said, kind = flat(field.hint).rstrip("."), _HINTS.get(field.kind, "")
    hints = [hint for hint in (said, "" if kind in said else kind) if hint]
    hints += [] if field.is_required else ["optional, - leaves it empty" if value else "optional"]
    about = f" ({'; '.join(hints)})" if hints else ""
    return f"  {flat(field.label or field.name)}{about}{f' [{_shown(field, value)}]' if value else ''}: "


def _shown(field: Field, value: str) -> str:
    if field.kind == "checkbox":
        return "y" if value == "true" else "n"
    labels = {option.value: option.label for option in field.options}
    return ", ".join(flat(labels.get(part, part)) for part in value.split("\n"))


def _options(field: Field) -> Iterator[str]:
    for number, option in enumerate(field.options, start=1):
        yield f"    {number}. {flat(option.label or option.value)}"


def _value(field: Field, typed: str, *, before: str) -> str | _Wrong:
    if not typed:
        return _Wrong("This is needed.") if field.is_required and not before else before
    if typed == "-" and before and not field.is_required:
        return ""
    match field.kind:
        case "checkbox":
            return _CHECKED.get(typed.lower()) or _Wrong("Type y or n.")
        case "choice":
            return _option(field, typed)
        case "choices":
            picked = [_option(field, part.strip()) for part in typed.split(",") if part.strip()]
            wrong = next((part for part in picked if isinstance(part, _Wrong)), None)
            return wrong or "\n".join(dict.fromkeys(part for part in picked if isinstance(part, str)))
        case _:
            return typed[1:-1] if typed in ('"cancel"', '"decline"') else typed


def _option(field: Field, typed: str) -> str | _Wrong:
    """Return the value that was picked, by its number, its label or itself."""
    if typed.isdecimal() and len(typed) < 6 and 1 <= int(typed) <= len(field.options):
        return field.options[int(typed) - 1].value
    found = [option.value for option in field.options if typed.lower() in (option.label.lower(), option.value.lower())]
    return found[0] if found else _Wrong(f"Type a number from 1 to {len(field.options)}.")
