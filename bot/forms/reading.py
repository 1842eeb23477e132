"""What people filled in, as the JSON that a tool server gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bot.domain.forms import Invalid
from bot.forms.schemas import MISSING, OTHER, Property, read_schema
from bot.forms.values import FieldError, check, choose, from_text, parse_json

_ONE_OBJECT = 'Write one JSON object, such as {"key": "value"}.'


def read_form(schema: object, values: Mapping[str, str]) -> dict[str, Any] | Invalid:
    """Return the values of a form that `form_of` made of this schema, folded or not, checked and typed.

    Optional fields that were left empty are left out. `Invalid` has one sentence for each field that is wrong.
    """
    read = read_schema(schema)
    errors: dict[str, str] = {}
    try:
        others = _others(values.get(OTHER, ""))
    except FieldError as error:
        return Invalid(errors={OTHER: str(error)})
    content: dict[str, Any] = {}
    for name, prop in read.properties.items():
        in_field = name in values and not name.startswith(OTHER)
        try:
            value = _value(prop, values[name] if in_field else "", others.pop(name, MISSING))
        except FieldError as error:
            place = OTHER if not in_field and OTHER in values else name
            errors.setdefault(place, str(error) if place == name else f"“{name}”: {error}")
            continue
        if value is not MISSING:
            content[name] = value
    if read.refuses_others and others:
        errors.setdefault(OTHER, f"There is no “{next(iter(others))}” here: remove it.")
    return Invalid(errors=errors) if errors else {**content, **others}


def _value(prop: Property, text: str, other: object) -> Any:
    if other is MISSING:
        return from_text(prop, text)
    if text.strip():
        raise FieldError("It is filled in here and in the JSON field: remove one.")
    return _meant(prop, other)


def _meant(prop: Property, value: object) -> Any:
    """Return a value out of a JSON field, in which folded fields have their texts. Raises FieldError."""
    for attempt in (_as_choice, _as_is, _as_text):
        try:
            return attempt(prop, value)
        except FieldError:
            continue
    check(prop, value)
    return value


def _as_choice(prop: Property, value: object) -> Any:
    if prop.kind == "one" and isinstance(value, str):
        return choose(prop, value)
    if prop.kind == "many" and isinstance(value, list):
        chosen = [choose(prop, one) if isinstance(one, str) else one for one in cast("list[object]", value)]
        check(prop, chosen)
        return chosen
    raise FieldError


def _as_is(prop: Property, value: object) -> Any:
    check(prop, value)
    return value


def _as_text(prop: Property, value: object) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise FieldError
    return from_text(prop, value)


def _others(text: str) -> dict[str, Any]:
    value: object = parse_json(text, _ONE_OBJECT) if text.strip() else {}
    if not isinstance(value, dict):
        raise FieldError(_ONE_OBJECT)
    return cast("dict[str, Any]", value)
