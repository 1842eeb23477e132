"""Forms made from JSON schemas: of tool servers that ask something, and of tools whose arguments people write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.domain.forms import Field, FieldKind, Form, Option
from bot.forms.schemas import MISSING, OTHER, Alternative, Bounds, Property, dumped, read_schema
from bot.forms.values import FORMATS, json_sentence, number_sentence, to_text
from bot.text.cleaning import clean
from bot.text.lines import one_line
from bot.text.redaction import hide_known
from bot.text.split import cut

_MAX_TITLE_CHARS = 150
_MAX_LABEL_CHARS = 150
_MAX_HINT_CHARS = 300
_MAX_MESSAGE_CHARS = 2_000
_LONG_CHARS = 150  # a text that may be longer wants more than one line
_LONG_NAMES = frozenset(
    {"body", "code", "comment", "comments", "content", "description", "details", "html", "markdown", "message"}
    | {"notes", "prompt", "script", "sql", "text"}
)
_YES_OR_NO = (Option(value="true", label="Yes"), Option(value="false", label="No"))


def form_of(
    schema: object,
    *,
    target: str,
    title: str,
    message: str = "",
    values: Mapping[str, Any] | None = None,
    submit: str = "Send",
    may_decline: bool = False,
) -> Form:
    """Return a form with one field for each prop of a JSON schema, filled in with values or else with defaults.

    Values that no field can hold as they are (unknown properties, empty texts, wrong types) are in one more field,
    `OTHER`, as a JSON object. A form of nothing that was changed gives the same values back (`read_form`).
    """
    read, given = read_schema(schema), dict(values or {})
    fields: list[Field] = []
    for name, prop in read.properties.items():
        text = to_text(prop, given[name]) if name in given else _default(prop)
        if name.startswith(OTHER) or text is None:
            continue
        fields.append(_field(prop, text))
        given.pop(name, None)
    hidden = [name for name in read.properties if name.startswith(OTHER)]
    if given or hidden or read.takes_others:
        fields.append(_other(given, hidden))
    return Form(
        target=target,
        title=one_line(hide_known(title), max_chars=_MAX_TITLE_CHARS),
        fields=tuple(fields),
        message=_lines(message),
        submit=submit,
        may_decline=may_decline,
    )


def _default(prop: Property) -> str:
    return "" if prop.default is MISSING else hide_known(to_text(prop, prop.default) or "")


def _field(prop: Property, text: str) -> Field:
    kind = _kind(prop, text)
    options = _YES_OR_NO if prop.kind == "boolean" else tuple(map(_option, prop.alternatives))
    is_text, is_many = prop.kind == "string", prop.kind == "many"
    return Field(
        name=prop.name,
        label=_label(prop.title) or _label(prop.name) or "?",
        kind=kind,
        hint=_hint(prop),
        is_required=prop.is_required and not _may_stay_empty(prop),
        value=text or ("false" if kind == "checkbox" else ""),
        options=options if kind in ("choice", "choices") else (),
        min_length=prop.min_size if is_text else None,
        max_length=prop.max_size if is_text else None,
        min_choices=(prop.min_size or 0) if is_many else 0,
        max_choices=prop.max_size if is_many else None,
    )


def _may_stay_empty(prop: Property) -> bool:
    return prop.is_nullable or prop.kind == "boolean" or (prop.kind == "many" and not prop.min_size)


def _kind(prop: Property, text: str) -> FieldKind:
    match prop.kind:
        case "string":
            return _text_kind(prop, text)
        case "boolean":
            # A checkbox cannot say that nothing was chosen, which an optional one without a default leaves out.
            return "checkbox" if text or (prop.is_required and not prop.is_nullable) else "choice"
        case "one":
            return "choice"
        case "many":
            return "choices"
        case "number" | "integer" | "json":
            return prop.kind


def _text_kind(prop: Property, text: str) -> FieldKind:
    if prop.format == "date":
        return "date"
    if prop.format:
        return "text"
    is_long = max(prop.max_size or 0, prop.min_size or 0, len(text)) > _LONG_CHARS
    is_open = prop.max_size is None and prop.name.casefold() in _LONG_NAMES
    return "long_text" if is_long or is_open or "\n" in text else "text"


def _option(alternative: Alternative) -> Option:
    return Option(value=alternative.text, label=_label(alternative.label) or alternative.text)


def _hint(prop: Property) -> str:
    said = one_line(hide_known(prop.description), max_chars=_MAX_HINT_CHARS)
    match prop.kind:
        case "json":
            return f"{said} {json_sentence(prop)}".strip()
        case "string" if prop.format == "date-time":
            return f"{said} {FORMATS[prop.format]}".strip()
        case "number" | "integer" if prop.bounds != Bounds():
            return f"{said} {number_sentence(prop)}".strip()
        case _:
            return said


def _other(given: Mapping[str, Any], hidden: list[str]) -> Field:
    try:
        value = dumped(given) if given else ""
    except (ValueError, TypeError, RecursionError):
        value = ""  # no JSON at all: nothing that a server could have been sent
    hint = "One JSON object, for what has no field of its own."
    named = f" It takes {cut(', '.join(map(repr, hidden)), _MAX_HINT_CHARS)}." if hidden else ""
    return Field(name=OTHER, label="More, as JSON", kind="json", hint=hint + named, value=value)


def _label(text: str) -> str:
    return one_line(hide_known(text), max_chars=_MAX_LABEL_CHARS)


def _lines(text: str) -> str:
    cleaned = hide_known(clean(text))
    return cleaned if len(cleaned) <= _MAX_MESSAGE_CHARS else f"{cleaned[: _MAX_MESSAGE_CHARS - 1]}…"
