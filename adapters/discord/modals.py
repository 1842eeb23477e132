"""Forms as Discord's modals, and what people filled in. Pure.

https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-modal
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, assert_never

from adapters.discord.ask_marks import modal_id
from adapters.discord.markdown import escape, visible
from adapters.discord.payloads import text_at
from adapters.shared.payloads import Payload, dict_of, dicts_of, list_of
from bot.domain.forms import Field, Form
from bot.text.split import cut

MAX_FIELDS = 5  # of the top level of a modal, texts among them
TITLE_CHARS = 45
# https://docs.discord.com/developers/components/reference#label, #text-input, #string-select
LABEL_CHARS, DESCRIPTION_CHARS, INPUT_CHARS, OPTION_CHARS, MAX_OPTIONS = 45, 100, 4_000, 100, 25
MESSAGE_CHARS = 1_000
_SELECT, _TEXT_INPUT, _TEXT, _LABEL, _CHECKBOX = 3, 4, 10, 18, 23
_SHORT, _PARAGRAPH = 1, 2
_LABELLED_KINDS = {"checkbox", "choice", "choices"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was filled in, by the names of fields, and what is wrong with it, a sentence for each."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    errors: Mapping[str, str] = field(default_factory=dict[str, str])


def fits(form: Form) -> bool:
    """Return whether a modal can show something of the form to fill in; `form` is folded to MAX_FIELDS."""
    return any(not _is_too_long(each, each.value) for each in form.fields)


def modal(form: Form, filled: Filled | None = None) -> dict[str, Any]:
    """Return the form as a modal; with `filled`, as it was filled in, with the errors in place of the hints.

    A value that no input can hold is not shown, and stays as it is: see `values_of`.
    """
    filled = filled or Filled()
    rows = [_row(each, filled) for each in form.fields[:MAX_FIELDS]]
    message = escape(cut(visible(form.message), MESSAGE_CHARS // 2))
    if message and len(rows) < MAX_FIELDS:
        rows.insert(0, _text(message))
    title = cut(visible(form.title), TITLE_CHARS) or "Form"
    return {"custom_id": modal_id(form.target), "title": title, "components": rows}


def values_of(data: Payload, form: Form) -> dict[str, str]:
    """Return what a sent modal says of the form's fields; a field that it does not show has its first value."""
    sent = _sent(data)
    return {
        each.name: _value(each, sent[_id(each.name)]) if _id(each.name) in sent else each.value
        for each in form.fields
        if _id(each.name) in sent or _is_too_long(each, each.value)
    }


def is_of(data: Payload, form: Form) -> bool:
    """Return whether all that a sent modal says is about fields of this form."""
    return _sent(data).keys() <= {_id(each.name) for each in form.fields}


# --- the fields ------------------------------------------------------------------------------------------------


def _row(each: Field, filled: Filled) -> dict[str, Any]:
    value = filled.values.get(each.name, each.value)
    label = cut(visible(each.label), LABEL_CHARS) or cut(visible(each.name), LABEL_CHARS) or "Value"
    if _is_too_long(each, value):
        return _text(f"**{escape(label)}** is too long to be changed here and stays as it is.")
    hint = filled.errors.get(each.name) or _hint(each)
    shape: dict[str, Any] = {"type": _LABEL, "label": label, "component": _component(each, value)}
    return {**shape, "description": cut(visible(hint), DESCRIPTION_CHARS)} if visible(hint) else shape


def _hint(each: Field) -> str:
    match each.kind:
        case "date":
            return " ".join(filter(None, (each.hint, "A date: YYYY-MM-DD.")))
        case "choice" | "choices" if not _has_select(each):
            names = ", ".join(option.value for option in each.options)
            return f"{each.hint} {'One' if each.kind == 'choice' else 'One a line'} of {names}".strip()
        case _:
            return each.hint


def _component(each: Field, value: str) -> dict[str, Any]:
    match each.kind:
        case "checkbox":
            return {"type": _CHECKBOX, "custom_id": _id(each.name), "default": value == "true"}
        case "choice" | "choices" if _has_select(each):
            return _select(each, value)
        case "long_text" | "json" | "choices":
            return _input(each, value, style=_PARAGRAPH)
        case "text" | "number" | "integer" | "date" | "choice":
            return _input(each, value, style=_PARAGRAPH if "\n" in value else _SHORT)
        case _:
            assert_never(each.kind)


def _input(each: Field, value: str, *, style: int) -> dict[str, Any]:
    # Discord refuses a value beyond the limits that come with it, and an empty optional one may be below them.
    longest = min(max(1, each.max_length or INPUT_CHARS), INPUT_CHARS)
    shortest = min(each.min_length or 0, longest) if each.is_required else 0
    shape: dict[str, Any] = {
        "type": _TEXT_INPUT,
        "custom_id": _id(each.name),
        "style": style,
        "required": each.is_required,
        "max_length": longest if len(value) <= longest else INPUT_CHARS,
    }
    if value:
        shape["value"] = value
    if shortest and (not value or len(value) >= shortest):
        shape["min_length"] = shortest
    return shape


def _select(each: Field, value: str) -> dict[str, Any]:
    chosen = set(value.split("\n")) if each.kind == "choices" else {value}
    options = [_option(option.value, option.label, is_chosen=option.value in chosen) for option in each.options]
    most = min(each.max_choices or len(options), len(options)) if each.kind == "choices" else 1
    least = (max(each.min_choices, 1) if each.kind == "choices" else 1) if each.is_required else 0
    shape: dict[str, Any] = {"type": _SELECT, "custom_id": _id(each.name), "options": options}
    # https://docs.discord.com/developers/components/reference#string-select: `min_values` is 0 only where not required
    shape |= {"required": least > 0, "min_values": min(least, most), "max_values": max(most, 1)}
    if sum(option["default"] for option in options) > max(most, 1):
        shape["options"] = [{**option, "default": False} for option in options]
    return shape


def _option(value: str, label: str, *, is_chosen: bool) -> dict[str, Any]:
    label = cut(visible(label), OPTION_CHARS) or cut(visible(value), OPTION_CHARS) or "(empty)"
    return {"label": label, "value": _id(value), "default": is_chosen}


def _text(text: str) -> dict[str, Any]:
    return {"type": _TEXT, "content": text}


def _has_select(each: Field) -> bool:
    values = {option.value for option in each.options}
    return 1 <= len(each.options) <= MAX_OPTIONS and len(values) == len(each.options)


def _is_too_long(each: Field, value: str) -> bool:
    is_written = each.kind != "checkbox" and not (each.kind in _LABELLED_KINDS and _has_select(each))
    return is_written and len(value) > INPUT_CHARS


def _id(name: str) -> str:
    """Return a short word for a name of any length, which may come from a schema: always the same one."""
    return sha256(name.encode(errors="replace")).hexdigest()[:24]


# --- what was filled in ----------------------------------------------------------------------------------------


def _sent(data: Payload) -> dict[str, Payload]:
    """Return the components of a sent modal by their custom ids; deprecated rows have several."""
    tops = dicts_of(data.get("components"))
    inner: list[Payload] = [part for top in tops for part in (dict_of(top.get("component")), *_inner(top)) if part]
    return {text_at(each, "custom_id"): each for each in inner if text_at(each, "custom_id")}


def _inner(top: Payload) -> Sequence[Payload]:
    return dicts_of(top.get("components"))


def _value(each: Field, sent: Payload) -> str:
    if each.kind == "checkbox":
        return "true" if sent.get("value") is True else "false"
    if each.kind in _LABELLED_KINDS and _has_select(each):
        chosen = {value for value in list_of(sent.get("values")) if isinstance(value, str)}
        return "\n".join(option.value for option in each.options if _id(option.value) in chosen)
    return text_at(sent, "value")
