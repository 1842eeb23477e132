"""Values of properties: as texts in fields, back from them, and checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from bot.forms.schemas import MISSING, Bounds, Property, dumped, is_number, is_same
from bot.text.cleaning import clean

_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")  # Python reads no more digits
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_DATE.pattern + r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(?:\.[^\s@.]+)*")  # no part can begin again within another
_MAX_EMAIL_CHARS = 254
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
FORMATS = {
    "email": "Give an email address such as name@example.com.",
    "uri": "Give a complete address such as https://example.com.",
    "date": "Give a date such as 2026-11-29.",
    "date-time": "Give a date and time such as 2026-11-29T14:30:00Z.",
}
_JSON_TYPES: dict[str, tuple[type, str]] = {
    "object": (dict, 'Write one JSON object, such as {"key": "value"}.'),
    "array": (list, 'Write a JSON list, such as ["a", "b"].'),
}
_CHOOSE = "Choose one of the options."
_NEEDED = "Fill this in: it is required."


class FieldError(Exception):
    """What a field holds cannot be taken; `str()` is a sentence for the person who filled it in."""


def to_text(prop: Property, value: object) -> str | None:
    """Return the text from which `from_text` makes the same value; None where there is none."""
    try:
        text = _shown(prop, value)
        returned = from_text(prop, text)
    except (FieldError, ValueError, TypeError, RecursionError):
        return None
    return text if is_same(returned, value) else None


def from_text(prop: Property, text: str) -> Any:
    """Return the value that a field's text means; `MISSING` where an optional field was left empty.

    Raises FieldError.
    """
    if not text.strip():
        return _empty(prop)
    value = _read(prop, text)
    check(prop, value)
    return value


def check(prop: Property, value: object) -> None:
    """Raise FieldError where the prop cannot have this value."""
    if value is None and prop.is_nullable:
        return
    match prop.kind:
        case "string":
            _check_string(prop, value)
        case "number" | "integer":
            _check_number(prop, value)
        case "boolean":
            _need(isinstance(value, bool), "Answer yes or no.")
        case "one":
            _need(any(is_same(value, one.value) for one in prop.alternatives), _CHOOSE)
        case "many":
            _check_many(prop, value)
        case "json":
            _check_json(prop, value)


def parse_json(text: str, sentence: str) -> Any:
    """Return what JSON says strictly. Raises FieldError with that sentence."""
    try:
        value = json.loads(text, parse_constant=_no_number)
        dumped(value)  # a number that is too large is read as infinity
    except (ValueError, RecursionError):
        raise FieldError(sentence) from None
    return value


def json_sentence(prop: Property) -> str:
    """Return what to write for a prop that is written as JSON."""
    known = _JSON_TYPES.get(prop.json_type)
    return known[1] if known else 'Write JSON, such as "text", 5, ["a", "b"] or {"key": "value"}.'


def number_sentence(prop: Property) -> str:
    """Return what to write for a number."""
    noun = "a whole number" if prop.kind == "integer" else "a number"
    return f"Give {noun}{_range(prop.bounds)}."


def _range(bounds: Bounds) -> str:
    if bounds.low is not None and bounds.high is not None:
        return f" from {bounds.low} to {bounds.high}"
    said = (("of at least", bounds.low), ("of at most", bounds.high), ("above", bounds.above), ("below", bounds.below))
    parts = [f"{words} {value}" for words, value in said if value is not None]
    return f" {' and '.join(parts)}" if parts else ""


def _shown(prop: Property, value: object) -> str:
    if value is None and prop.kind != "json":
        return ""
    match prop.kind:
        case "string":
            return value if isinstance(value, str) and _is_typable(value) else ""
        case "one":
            return _text_of(prop, value)
        case "many":
            chosen = cast("Sequence[object]", value) if isinstance(value, list) else ()
            return "\n".join(_text_of(prop, one) for one in chosen)
        case _:
            return dumped(value)


def _text_of(prop: Property, value: object) -> str:
    found = [one.text for one in prop.alternatives if is_same(one.value, value)]
    _need(found != [], _CHOOSE)
    return found[0]


def _is_typable(value: str) -> bool:
    marked = f".{value}."  # outer white space is part of the value
    return clean(marked) == marked


def _empty(prop: Property) -> Any:
    if not prop.is_required:
        return MISSING
    if prop.kind == "many" and not prop.min_size:
        return []
    if prop.is_nullable:
        return None
    raise FieldError(_NEEDED)


def _read(prop: Property, text: str) -> Any:
    match prop.kind:
        case "string":
            return text.strip() if prop.format in FORMATS else text.replace("\r\n", "\n")
        case "number" | "integer":
            return _read_number(prop, text.strip())
        case "boolean":
            truth = _TRUTHS.get(text.strip().casefold())
            _need(truth is not None, "Answer yes or no.")
            return truth
        case "one":
            return choose(prop, text.strip())
        case "many":
            chosen = [choose(prop, line.strip()) for line in text.split("\n") if line.strip()]
            return [one for at, one in enumerate(chosen) if not any(is_same(one, before) for before in chosen[:at])]
        case "json":
            return parse_json(text, json_sentence(prop))


def choose(prop: Property, text: str) -> Any:
    """Return the alternative that a text names: by its text, else by its label, in any case. Raises FieldError."""
    for one in prop.alternatives:
        if one.text == text:
            return one.value
    named = [one.value for one in prop.alternatives if one.label.casefold() == text.casefold()]
    _need(len(named) == 1, _CHOOSE)
    return named[0]


def _read_number(prop: Property, text: str) -> int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    _need(prop.kind == "number" and _DECIMAL.fullmatch(text) is not None, number_sentence(prop))
    value = float(text)
    _need(math.isfinite(value), number_sentence(prop))
    return value


def _check_string(prop: Property, value: object) -> None:
    if not isinstance(value, str):
        raise FieldError("Give a text.")
    size, low, high = len(value), prop.min_size, prop.max_size
    _need(low is None or size >= low, f"Write at least {_counted(low, 'character')}.")
    _need(high is None or size <= high, f"Write at most {_counted(high, 'character')}.")
    _need(_has_format(prop.format, value), FORMATS.get(prop.format, ""))


def _has_format(name: str, value: str) -> bool:
    try:
        match name:
            case "email":
                return len(value) <= _MAX_EMAIL_CHARS and _EMAIL.fullmatch(value) is not None
            case "uri":
                parts = urlsplit(value)
                return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", value)
            case "date":
                return _DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
            case "date-time":
                return _TIME.fullmatch(value) is not None and bool(datetime.fromisoformat(value.upper()))
            case _:
                return True
    except ValueError:
        return False


def _check_number(prop: Property, value: object) -> None:
    sentence = number_sentence(prop)
    _need(is_number(value), sentence)
    number, bounds = cast("int | float", value), prop.bounds
    _need(prop.kind == "number" or isinstance(number, int) or number.is_integer(), sentence)
    _need(bounds.low is None or number >= bounds.low, sentence)
    _need(bounds.high is None or number <= bounds.high, sentence)
    _need(bounds.above is None or number > bounds.above, sentence)
    _need(bounds.below is None or number < bounds.below, sentence)


def _check_many(prop: Property, value: object) -> None:
    if not isinstance(value, list):
        raise FieldError("Choose among the options.")
    chosen, low, high = cast("list[object]", value), prop.min_size, prop.max_size
    known = [one.value for one in prop.alternatives]
    _need(all(any(is_same(one, each) for each in known) for one in chosen), "Choose among the options.")
    _need(low is None or len(chosen) >= low, f"Choose at least {low}.")
    _need(high is None or len(chosen) <= high, f"Choose at most {high}.")


def _check_json(prop: Property, value: object) -> None:
    known = _JSON_TYPES.get(prop.json_type)
    _need(known is None or isinstance(value, known[0]), json_sentence(prop))
    if isinstance(value, list) and prop.json_type == "array":
        size, low, high = len(cast("list[object]", value)), prop.min_size, prop.max_size
        _need(low is None or size >= low, f"List at least {_counted(low, 'item')}.")
        _need(high is None or size <= high, f"List at most {_counted(high, 'item')}.")


def _counted(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _need(holds: bool, sentence: str) -> None:
    if not holds:
        raise FieldError(sentence)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
