"""What Discord refuses in a form, and what its clients keep people from sending.

https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-modal,
https://docs.discord.com/developers/components/reference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.discord.bodies import MAX_CUSTOM_ID, SELECTS, check_select, check_unique_ids
from tests.fakes.discord.errors import Json, check_count, check_length, form_error
from tests.fakes.discord.world import walk

MAX_TITLE, MAX_COMPONENTS, MAX_TOTAL = 45, 5, 40
MAX_LABEL, MAX_DESCRIPTION = 45, 100
MAX_INPUT, MAX_PLACEHOLDER = 4000, 100
ROW, STRING_SELECT, TEXT_INPUT, TEXT_DISPLAY, LABEL = 1, 3, 4, 10, 18
FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 19, 21, 22, 23
IN_LABEL = {TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX}
# What a person fills in: a text, several choices, or whether a box is checked.
Filling = str | Sequence[str] | bool


def check_modal(modal: Json) -> None:
    """Refuse a form beyond its limits: a title of 45 characters, one to five components at the top."""
    check_length("data.custom_id", modal.get("custom_id"), least=1, most=MAX_CUSTOM_ID)
    check_length("data.title", modal.get("title"), least=1, most=MAX_TITLE)
    check_count("data.components", modal.get("components"), least=1, most=MAX_COMPONENTS)
    for number, top in enumerate(modal["components"]):
        _check_top(f"data.components.{number}", top)
    check_unique_ids(modal["components"])
    if len(list(walk(modal["components"]))) > MAX_TOTAL:
        raise form_error("data.components", "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", "At most 40 components.")


def _check_top(path: str, top: Json) -> None:
    match top.get("type"):
        case 18:  # label
            check_length(f"{path}.label", top.get("label"), least=1, most=MAX_LABEL)
            if top.get("description") is not None:
                check_length(f"{path}.description", top["description"], most=MAX_DESCRIPTION)
            _check_in_label(f"{path}.component", top.get("component"))
        case 10:  # text display
            check_length(f"{path}.content", top.get("content"), least=1, most=MAX_INPUT)
        case 1:  # a row: deprecated, for one text input with a label of its own
            check_count(f"{path}.components", top.get("components"), least=1, most=1)
            (inner,) = top["components"]
            if inner.get("type") != TEXT_INPUT:
                raise form_error(path, "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (4,).')
            check_length(f"{path}.label", inner.get("label"), least=1, most=MAX_LABEL)
            _check_text_input(path, inner)
        case _:
            raise form_error(f"{path}.type", "UNION_TYPE_CHOICES", "A form takes labels, texts and rows.")


def _check_in_label(path: str, each: Any) -> None:
    if not isinstance(each, dict) or each.get("type") not in IN_LABEL:  # pyright: ignore[reportUnknownMemberType]
        raise form_error(path, "UNION_TYPE_CHOICES", f"Value must be one of {sorted(IN_LABEL)}.")
    component: Json = each  # pyright: ignore[reportUnknownVariableType]
    if "disabled" in component:
        raise form_error(path, "MODAL_COMPONENT_DISABLED", "Modals can not have disabled components.")
    check_length(f"{path}.custom_id", component.get("custom_id"), least=1, most=MAX_CUSTOM_ID)
    match component["type"]:
        case 4:
            if component.get("label") is not None:
                raise form_error(f"{path}.label", "BASE_TYPE_BAD_VALUE", "A text input in a label has none of its own.")
            _check_text_input(path, component)
        case 3:
            check_select(path, component)
            _check_need(path, component)
            _check_defaults(path, component, most=component.get("max_values", 1))
        case 21:
            _check_options(path, component, least=2)
            _check_defaults(path, component, most=1)
        case 22:
            _check_options(path, component, least=1)
            _check_need(path, component)
            _check_defaults(path, component, most=component.get("max_values", len(component["options"])))
        case 23:
            if not isinstance(component.get("default", False), bool):
                raise form_error(f"{path}.default", "BOOLEAN_TYPE_CONVERT", "Must be true or false.")
            if "required" in component:
                raise form_error(f"{path}.required", "BASE_TYPE_BAD_VALUE", "A checkbox cannot be required.")
        case _:
            pass


def _check_text_input(path: str, each: Json) -> None:
    """https://docs.discord.com/developers/components/reference#text-input"""
    check_length(f"{path}.custom_id", each.get("custom_id"), least=1, most=MAX_CUSTOM_ID)
    if each.get("style") not in {1, 2}:
        raise form_error(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
    least, most = each.get("min_length", 0), each.get("max_length", MAX_INPUT)
    if not 0 <= least <= MAX_INPUT or not 1 <= most <= MAX_INPUT or least > most:
        raise form_error(f"{path}.max_length", "NUMBER_TYPE_MAX", "Lengths are between 0 and 4000.")
    if each.get("placeholder") is not None:
        check_length(f"{path}.placeholder", each["placeholder"], most=MAX_PLACEHOLDER)
    if each.get("value") is not None:
        check_length(f"{path}.value", each["value"], least=least, most=most)


def _check_need(path: str, each: Json) -> None:
    """`min_values` must be either omitted or at least 1 if `required` is omitted or true."""
    if each.get("required", True) and each.get("min_values", 1) < 1:
        raise form_error(f"{path}.min_values", "NUMBER_TYPE_MIN", "Must be at least 1 where it is required.")


def _check_options(path: str, each: Json, *, least: int) -> None:
    options: list[Json] = each.get("options") or []
    check_count(f"{path}.options", options, least=least, most=10)
    for number, option in enumerate(options):
        for name in ("label", "value"):
            check_length(f"{path}.options.{number}.{name}", option.get(name), least=1, most=100)
    values = [option["value"] for option in options]
    if len(values) != len(set(values)):
        raise form_error(f"{path}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Option values must differ.")


def _check_defaults(path: str, each: Json, *, most: int) -> None:
    if sum(bool(option.get("default")) for option in each["options"]) > most:
        raise form_error(f"{path}.options", "SELECT_COMPONENT_TOO_MANY_DEFAULTS", "More defaults than values.")


# --- what people fill in ---------------------------------------------------------------------------------------


def inputs(modal: Json) -> list[Json]:
    """Return what there is to fill in, in its order."""
    return [each for each in walk(modal["components"]) if "custom_id" in each]


def labels(modal: Json) -> dict[str, str]:
    """Return the custom ids of what there is to fill in, by the label above it."""
    return {top["label"]: top["component"]["custom_id"] for top in modal["components"] if top.get("type") == LABEL}


def filled(modal: Json, values: Mapping[str, Filling]) -> list[Json]:
    """Return the components as a client sends them; what is not in `values` (by custom id) keeps what it shows.

    Fails where the client would not let a person send it.
    """
    known = {each["custom_id"] for each in inputs(modal)}
    assert set(values) <= known, f"the form has {sorted(known)}"
    return [_filled_top(top, values) for top in modal["components"]]


def _filled_top(top: Json, values: Mapping[str, Filling]) -> Json:
    shape: Json = {"type": top["type"], "id": top.get("id", 0)}
    if top["type"] == TEXT_DISPLAY:
        return shape
    if "component" in top:
        return shape | {"component": _answer(top["component"], values)}
    return shape | {"components": [_answer(each, values) for each in top["components"]]}


def _answer(each: Json, values: Mapping[str, Filling]) -> Json:
    shape: Json = {"type": each["type"], "custom_id": each["custom_id"], "id": each.get("id", 0)}
    given = values.get(each["custom_id"])
    match each["type"]:
        case 4:
            return shape | {"value": _typed(each, each.get("value") or "" if given is None else given)}
        case 23:
            assert given is None or isinstance(given, bool), "a box is checked or not"
            return shape | {"value": bool(each.get("default")) if given is None else given}
        case 21:
            chosen = _chosen(each, given, least=int(each.get("required", True)), most=1)
            return shape | {"value": chosen[0] if chosen else None}
        case _:
            least = each.get("min_values", 1) if each.get("required", True) else 0
            return shape | {"values": _chosen(each, given, least=least, most=each.get("max_values", 1))}


def _typed(each: Json, value: Filling) -> str:
    assert isinstance(value, str), "people write text there"
    assert value or not each.get("required", True), f"{each['custom_id']} is required"
    assert len(value) <= each.get("max_length", MAX_INPUT), f"{each['custom_id']} takes less text"
    assert not value or len(value) >= each.get("min_length", 0), f"{each['custom_id']} takes more text"
    assert each["style"] == 2 or "\n" not in value, "it is one line"
    return value


def _chosen(each: Json, given: Filling | None, *, least: int, most: int) -> list[str]:
    """Return the values of the options that were chosen by their labels, or else those that are chosen at first."""
    assert not isinstance(given, bool), "people choose options there"
    if given is None:
        chosen = [option["value"] for option in each["options"] if option.get("default")]
    else:
        offered = {option["label"]: option["value"] for option in each["options"]}
        chosen = [offered[label] for label in ([given] if isinstance(given, str) else given)]
    assert least <= len(chosen) <= most, f"people choose {least} to {most} options here"
    return chosen
