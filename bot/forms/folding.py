"""Forms for platforms that have room for a few fields only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from bot.domain.forms import Field, Form
from bot.forms.schemas import OTHER, dumped
from bot.forms.values import FieldError, parse_json
from bot.text.split import cut

_MAX_HINT_CHARS = 1_000
_SHOWN_OPTIONS = 8  # of each field that has options
_TYPES: Mapping[str, str] = {"integer": "a whole number", "number": "a number", "checkbox": "true or false"}


def fold(form: Form, max_fields: int) -> Form:
    """Return the form with at most that many fields (at least one); `read_form` reads it all the same.

    What does not fit, optional fields first, shares one JSON object in the field `OTHER`, which is the last one.
    """
    if len(form.fields) <= max_fields:
        return form
    own = [field for field in form.fields if field.name != OTHER]
    by_need = sorted(own, key=lambda field: not field.is_required)
    kept = {field.name for field in by_need[: max(max_fields - 1, 0)]}
    folded = [field for field in own if field.name not in kept]
    shared = next((field for field in form.fields if field.name == OTHER), None)
    fields = (*(field for field in own if field.name in kept), _shared(folded, shared))
    return replace(form, fields=fields)


def _shared(folded: Iterable[Field], shared: Field | None) -> Field:
    fields = list(folded)
    others = cast("dict[str, Any]", _json(shared.value, {})) if shared else {}
    values = {field.name: _value(field) for field in fields if field.value} | others
    return Field(
        name=OTHER,
        label="More, as JSON",
        kind="json",
        hint=cut(f"One JSON object with {', '.join(map(_said, fields))}.", _MAX_HINT_CHARS),
        is_required=any(field.is_required for field in fields),
        value=dumped(values) if values else "",
    )


def _said(field: Field) -> str:
    notes = [_TYPES.get(field.kind, ""), _options(field), "required" if field.is_required else ""]
    said = ", ".join(note for note in notes if note)
    return f"“{field.name}” ({said})" if said else f"“{field.name}”"


def _options(field: Field) -> str:
    if not field.options:
        return ""
    shown = [option.value for option in field.options[:_SHOWN_OPTIONS]]
    more = [f"{len(field.options) - len(shown)} more"] if len(field.options) > len(shown) else []
    return f"{'some' if field.kind == 'choices' else 'one'} of {' | '.join(shown + more)}"


def _value(field: Field) -> Any:
    match field.kind:
        case "number" | "integer" | "checkbox" | "json":
            return _json(field.value, field.value)
        case "choices":
            return field.value.split("\n")
        case "text" | "long_text" | "choice" | "date":
            return field.value


def _json(text: str, instead: Any) -> Any:
    try:
        return parse_json(text, "no JSON")
    except FieldError:
        return instead
