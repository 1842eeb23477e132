"""Forms as Slack's modals, and what people filled in, read back. Pure; limits: https://docs.slack.dev/reference/block-kit

All that a window has to know is in itself, so that a restart of the bot loses none: its note (`private_metadata`) has
the form's target and the conversation, the ids of its inputs have the names of the fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.slack import kit
from adapters.slack.kit import Blocks
from adapters.slack.parse import conversation_key, team_of
from adapters.slack.payloads import text_at
from adapters.slack.presses import json_value
from bot.domain.events import ConversationKey
from bot.domain.forms import Field, Form, Invalid, Option
from bot.forms.folding import fold
from bot.text.lines import flat
from bot.text.split import cut

FORM, DECLINE = "tb:form", "tb:decline"  # callback id of the windows; action id of the button in them
MAX_FIELDS = 90  # of a window's 100 blocks
MAX_ID_CHARS = 255
INPUT_CHARS = 3_000
LABEL_CHARS = 150
HINT_CHARS = 1_000
MESSAGE_CHARS = 2_000
MAX_VIEW_BYTES = 240_000  # https://docs.slack.dev/reference/methods/views.open: 250 kB
MAX_BUTTONS = 5  # options that are all shown at once, where one is chosen
MAX_BOXES = 10  # of checkboxes: https://docs.slack.dev/reference/block-kit/block-elements/checkboxes-element
OPTIONS_IN_GROUP = 100
MAX_OPTIONS = 1_000
OPTION_CHARS = 75
OPTION_VALUE_CHARS = 150
ERROR_CHARS = 300

_FIELD = "field:"
_CHECK, _VALUE = "tb:check", "tb:value"  # action ids of inputs


class NoRoomError(Exception):
    """Slack's windows have no room for the form; the text is a sentence for the person."""


# --- the window ------------------------------------------------------------------------------------------------


def form_view(form: Form, place: ConversationKey, *, notice: str = "") -> dict[str, Any]:
    """Return the window of a form that was opened in `place`; `notice` is what was wrong with it as a whole.

    Raises:
        NoRoomError: Slack's windows cannot hold it without losing a part.
    """
    folded = fold(form, MAX_FIELDS)
    blocks: Blocks = [kit.section(f"*{kit.literal(notice)}*")] if notice else []
    blocks += [*_message(form.message), *(_input(field) for field in folded.fields)]
    if form.may_decline:
        decline = kit.button("Decline", action_id=DECLINE, value="decline", style="danger")
        blocks.append(kit.actions(decline))
    view = kit.modal(
        form.title,
        blocks or [kit.section("There is nothing to fill in.")],
        submit=kit.plain(cut(flat(form.submit), kit.TITLE_CHARS) or "Send"),
        callback_id=FORM,
        private_metadata=_note(form.target, place),
    )
    if len(json.dumps(view)) > MAX_VIEW_BYTES:
        raise NoRoomError("This form is larger than Slack's windows can be.")
    return view


def _note(target: str, place: ConversationKey) -> str:
    return kit.compact({"form": target, "channel": place.channel, "thread": place.thread})


def _message(text: str) -> Blocks:
    shown = {"type": "text", "text": text.strip()[:MESSAGE_CHARS]}
    section = {"type": "rich_text_section", "elements": [shown]}
    return [{"type": "rich_text", "elements": [section]}] if shown["text"] else []


def _input(field: Field) -> dict[str, Any]:
    block_id = f"{_FIELD}{field.name}"
    if len(block_id) > MAX_ID_CHARS:
        raise NoRoomError(f"The name of a field is longer than Slack allows: “{cut(flat(field.name), 60)}”.")
    if len(field.value) > INPUT_CHARS:
        raise NoRoomError(
            f"The value of “{cut(flat(field.label), 60)}” is longer than the {INPUT_CHARS:,} characters that a "
            f"field takes in Slack, so it cannot be changed here."
        )
    hint = cut(flat(field.hint), HINT_CHARS)
    return {
        "type": "input",
        "block_id": block_id,
        "label": kit.plain(cut(flat(field.label), LABEL_CHARS) or "(no name)"),
        "optional": not field.is_required or field.kind == "checkbox",
        "element": _element(field),
        **({"hint": kit.plain(hint)} if hint else {}),
    }


def _element(field: Field) -> dict[str, Any]:
    match field.kind:
        case "checkbox":
            return _checkbox(field)
        case "choice" | "choices" if _fits(field.options):
            return _choices(field) if field.kind == "choices" else _choice(field)
        case "number" | "integer" if re.fullmatch(r"(-?\d{1,15}(\.\d{1,15})?)?", field.value):
            return _number(field)
        case "date" if not field.value or _is_date(field.value):
            initial = {"initial_date": field.value} if field.value else {}
            return {"type": "datepicker", "action_id": _VALUE, **initial}
        case _:
            return _writing(field)


def _writing(field: Field) -> dict[str, Any]:
    """Return an input for text, which also takes what another kind of input has no room for."""
    element: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": _VALUE,
        "multiline": field.kind in ("long_text", "json", "choices"),
    }
    if field.kind == "json":
        element["placeholder"] = kit.plain("JSON")
    if field.kind in ("text", "long_text"):
        least, most = field.min_length or 0, field.max_length or INPUT_CHARS
        element |= {"min_length": least} if 0 < least <= INPUT_CHARS and least <= most else {}
        element |= {"max_length": most} if max(len(field.value), 1) <= most < INPUT_CHARS else {}
    return element | ({"initial_value": field.value} if field.value else {})


def _number(field: Field) -> dict[str, Any]:
    is_decimal = field.kind == "number"
    if not is_decimal and "." in field.value:
        return _writing(field)
    initial = {"initial_value": field.value} if field.value else {}
    return {"type": "number_input", "action_id": _VALUE, "is_decimal_allowed": is_decimal, **initial}


def _checkbox(field: Field) -> dict[str, Any]:
    yes = {"text": kit.plain("Yes"), "value": "true"}
    initial = {"initial_options": [yes]} if field.value.lower() == "true" else {}
    return {"type": "checkboxes", "action_id": _CHECK, "options": [yes], **initial}


def _choice(field: Field) -> dict[str, Any]:
    options = [_option(option) for option in field.options]
    initial = [shown for shown, option in zip(options, field.options, strict=True) if option.value == field.value]
    given = {"initial_option": initial[0]} if initial else {}
    # What is not required can be left empty again in a menu, not among buttons.
    if field.is_required and len(options) <= MAX_BUTTONS:
        return {"type": "radio_buttons", "action_id": _VALUE, "options": options, **given}
    return {"type": "static_select", "action_id": _VALUE, **_grouped(options), **given}


def _choices(field: Field) -> dict[str, Any]:
    options = [_option(option) for option in field.options]
    chosen = set(field.value.split("\n")) if field.value else set[str]()
    initial = [shown for shown, option in zip(options, field.options, strict=True) if option.value in chosen]
    given: dict[str, Any] = {"initial_options": initial} if initial else {}
    if len(options) <= MAX_BOXES:
        return {"type": "checkboxes", "action_id": _VALUE, "options": options, **given}
    if field.max_choices and field.max_choices >= max(1, len(initial)):
        given["max_selected_items"] = field.max_choices
    return {"type": "multi_static_select", "action_id": _VALUE, **_grouped(options), **given}


def _fits(options: Sequence[Option]) -> bool:
    values = [option.value for option in options]
    is_short = all(len(value) < OPTION_VALUE_CHARS for value in values)
    return 0 < len(values) <= MAX_OPTIONS and is_short and len(set(values)) == len(values)


def _option(option: Option) -> dict[str, Any]:
    # A value must not be empty, which one of a schema may be.
    label = cut(flat(option.label), OPTION_CHARS) or cut(flat(option.value), OPTION_CHARS) or "(empty)"
    return {"text": kit.plain(label), "value": f"={option.value}"}


def _grouped(options: Blocks) -> dict[str, Any]:
    if len(options) <= OPTIONS_IN_GROUP:
        return {"options": options}
    groups = [options[at : at + OPTIONS_IN_GROUP] for at in range(0, len(options), OPTIONS_IN_GROUP)]
    ends = [min(len(options), (at + 1) * OPTIONS_IN_GROUP) for at in range(len(groups))]
    return {
        "option_groups": [
            {"label": kit.plain(f"{end - len(group) + 1:,} to {end:,}"), "options": group}
            for group, end in zip(groups, ends, strict=True)
        ]
    }


def _is_date(text: str) -> bool:
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat() == text
    return False


# --- what was filled in ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A person sent a window's form off."""

    team: str
    user: str
    home: str  # as of `Pressed`
    target: str
    place: ConversationKey  # where the window was opened
    values: Mapping[str, str]
    view_id: str
    inputs: tuple[str, ...]  # names of the fields that the window has
    key: str


def parse_submission(body: Payload) -> Submission | None:
    """Return the form that a `view_submission` sends off; None for anything else, and for a form without a target.

    https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
    """
    view, user = dict_of(body.get("view")), dict_of(body.get("user"))
    if body.get("type") != "view_submission" or view.get("callback_id") != FORM:
        return None
    note, team = noted_form(text_at(view, "private_metadata")), team_of(body)
    if note is None:
        return None
    target, channel, thread = note
    blocks = dicts_of(view.get("blocks"))
    return Submission(
        team=team,
        user=text_at(user, "id"),
        home=text_at(user, "team_id"),
        target=target,
        place=conversation_key(team, channel, thread),
        values=dict(_values(dict_of(dict_of(view.get("state")).get("values")))),
        view_id=text_at(view, "id"),
        inputs=tuple(
            text_at(block, "block_id").removeprefix(_FIELD) for block in blocks if block.get("type") == "input"
        ),
        key=f"slack:{text_at(user, 'id')}:{text_at(view, 'id')}:{text_at(body, 'trigger_id')}",
    )


def noted_form(note: str) -> tuple[str, str, str] | None:
    """Return target, channel and thread in a window's note; None where it has no form."""
    noted = json_value(note)
    target = text_at(noted, "form")
    return (target, text_at(noted, "channel"), text_at(noted, "thread")) if target else None


def _values(state: Payload) -> Iterator[tuple[str, str]]:
    for block_id, actions in state.items():
        if not block_id.startswith(_FIELD):
            continue
        for action_id, held in dict_of(actions).items():
            chosen = [text_at(option, "value") for option in dicts_of(dict_of(held).get("selected_options"))]
            name = block_id.removeprefix(_FIELD)
            if action_id == _CHECK:
                yield name, "true" if chosen else "false"
            elif action_id == _VALUE:
                yield name, _value(dict_of(held), chosen)


def _value(held: Payload, chosen: Sequence[str]) -> str:
    if chosen:
        return "\n".join(value.removeprefix("=") for value in chosen)
    one = text_at(dict_of(held.get("selected_option")), "value").removeprefix("=")
    return one or text_at(held, "selected_date") or text_at(held, "value")


def errors_answer(invalid: Invalid, inputs: Sequence[str]) -> dict[str, Any] | None:
    """Return the answer that shows what is wrong at the fields; None where the window has none to show it at.

    https://docs.slack.dev/surfaces/modals#displaying_errors
    """
    if not inputs:
        return None
    errors: dict[str, str] = {}
    for name, sentence in invalid.errors.items():
        place = name if name in inputs else inputs[-1]
        said = sentence if name in inputs else f"{cut(flat(name), 60)}: {sentence}"
        errors[f"{_FIELD}{place}"] = _both(errors.get(f"{_FIELD}{place}", ""), said)
    if invalid.notice or not errors:
        first = f"{_FIELD}{inputs[0]}"
        errors[first] = _both(invalid.notice or "This cannot be taken.", errors.get(first, ""))
    return {"response_action": "errors", "errors": errors}


def _both(one: str, other: str) -> str:
    return cut(f"{one} {other}".strip(), ERROR_CHARS) or "This cannot be taken."
