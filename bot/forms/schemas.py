"""JSON schemas of others, read for what a form needs; what cannot be read becomes a property written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

# A form's field for what has none of its own: one JSON object. Properties whose names begin so get none either.
OTHER: Final = "__other__"

PropertyKind = Literal["string", "number", "integer", "boolean", "one", "many", "json"]

_KINDS: Mapping[str, PropertyKind] = {
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
}
_MAX_BOUND = 1e300
_MAX_STEPS = 8  # of references and unions with one member, which may form a circle
_OPEN = ("anyOf", "oneOf", "allOf", "patternProperties", "additionalProperties", "unevaluatedProperties")
MISSING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One value that a property can have; fields hold it as `text`."""

    value: Any
    text: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a number must be; None where the schema says nothing."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property of an object's schema."""

    name: str
    kind: PropertyKind
    title: str = ""
    description: str = ""
    json_type: str = ""  # of a property of kind "json", where the schema says one
    format: str = ""
    is_required: bool = False
    is_nullable: bool = False
    default: Any = MISSING
    alternatives: tuple[Alternative, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    min_size: int | None = None  # characters of a string, items of a list
    max_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSchema:
    """An object's properties, in order, and whether it may have others."""

    properties: Mapping[str, Property]
    takes_others: bool  # the schema says so, or cannot be read
    refuses_others: bool  # the schema says so


def read_schema(schema: object) -> ObjectSchema:
    """Return the properties of a JSON schema; one that is none at all has no properties and takes any."""
    root = mapping(schema)
    node, _ = _resolved(root, root)
    described, required = node.get("properties"), _texts(node.get("required"))
    nodes = {**dict.fromkeys(required, cast("object", {})), **mapping(described)}
    ordered = [*mapping(described), *(name for name in required if name not in mapping(described))]
    is_readable = isinstance(schema, Mapping) and (described is None or isinstance(described, Mapping))
    return ObjectSchema(
        properties={name: _property(name, nodes[name], root, is_required=name in required) for name in ordered},
        takes_others=not is_readable or any(node.get(key) not in (None, False) for key in _OPEN),
        refuses_others=node.get("additionalProperties") is False,
    )


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value as an object of JSON; an empty one where it is none."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def is_number(value: object) -> bool:
    """Return whether JSON calls the value a number; Python counts truth values among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def dumped(value: object) -> str:
    """Return the value as JSON, without characters that nothing can store.

    Raises ValueError, TypeError or RecursionError where JSON cannot carry it.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    is_plain = text.isprintable() and "\x7f" not in text
    return text if is_plain else json.dumps(value, allow_nan=False)


def is_same(one: object, other: object) -> bool:
    """Return whether two values are the same JSON: 1, 1.0 and true are not."""
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        return False


def _property(name: str, node: object, root: Mapping[str, Any], *, is_required: bool) -> Property:
    schema, is_nullable = _resolved(mapping(node), root)
    items, _ = _resolved(mapping(schema.get("items")), root)
    kind, alternatives = _kind(schema, items)
    is_list = kind == "many" or schema.get("type") == "array"
    return Property(
        name=name,
        kind=kind,
        title=_text(schema.get("title")),
        description=_text(schema.get("description")),
        json_type=_text(schema.get("type")),
        format=_text(schema.get("format")),
        is_required=is_required,
        is_nullable=is_nullable,
        default=schema.get("default", MISSING),
        alternatives=alternatives,
        bounds=_bounds(schema),
        min_size=_size(schema.get("minItems" if is_list else "minLength")),
        max_size=_size(schema.get("maxItems" if is_list else "maxLength")),
    )


def _kind(schema: Mapping[str, Any], items: Mapping[str, Any]) -> tuple[PropertyKind, tuple[Alternative, ...]]:
    if alternatives := _alternatives(schema):
        return "one", alternatives
    if schema.get("type") == "array" and (alternatives := _alternatives(items)):
        return "many", alternatives
    return _KINDS.get(_text(schema.get("type")), "json"), ()


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return the schema with its reference or only member put in, and whether it takes null as well."""
    is_nullable = False
    for _ in range(_MAX_STEPS):
        plain, takes_null = _without_null(node)
        is_nullable = is_nullable or takes_null
        if (inner := _inner(plain, root)) is None:
            return plain, is_nullable
        node = {**inner[1], **{key: value for key, value in plain.items() if key != inner[0]}}
    return {}, is_nullable


def _inner(node: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return a keyword that another schema can take the place of, with that schema."""
    if isinstance(reference := node.get("$ref"), str):
        return "$ref", _referred(reference, root)
    for key in ("anyOf", "oneOf", "allOf"):
        members = _list(node.get(key))
        if len(members) == 1 and (member := mapping(members[0])):
            return key, member
    return None


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: object = root
    start, *steps = reference.split("/")
    for step in steps if start == "#" else ["?"]:
        found = mapping(found).get(step.replace("~1", "/").replace("~0", "~"))
    return mapping(found)


def _without_null(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    found = {
        "type": [one for one in _list(node.get("type")) if one != "null"],
        "enum": [one for one in _list(node.get("enum")) if one is not None],
        **{
            key: [one for one in _list(node.get(key)) if mapping(one).get("type") != "null"]
            for key in ("anyOf", "oneOf")
        },
    }
    changed: dict[str, Any] = {key: left for key, left in found.items() if 0 < len(left) < len(_list(node.get(key)))}
    types = found["type"]
    return {**node, **changed, **({"type": types[0]} if len(types) == 1 else {})}, bool(changed)


def _alternatives(schema: Mapping[str, Any]) -> tuple[Alternative, ...]:
    found = list(_titled(schema))
    values = [value for value, _ in found]
    try:
        is_plain = all(isinstance(value, str) and _is_showable(value) for value in values)
        texts = [value if is_plain else dumped(value) for value in values]
    except (ValueError, TypeError, RecursionError):
        return ()
    whole = zip(values, texts, [label for _, label in found], strict=True)
    unique = {text: Alternative(value=value, text=text, label=label or text) for value, text, label in whole}
    return tuple(unique.values())


def _is_showable(value: str) -> bool:
    return value == value.strip() != "" and value.isprintable()


def _titled(schema: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the values that the schema names, with their titles."""
    if "const" in schema:
        yield schema["const"], ""
        return
    if values := _list(schema.get("enum")):
        names = _list(schema.get("enumNames"))
        for at, value in enumerate(values):
            yield value, _text(names[at]) if at < len(names) else ""
        return
    for key in ("oneOf", "anyOf"):
        members = _list(schema.get(key))
        if members and all("const" in mapping(member) for member in members):
            yield from ((mapping(member)["const"], _text(mapping(member).get("title"))) for member in members)
            return


def _bounds(schema: Mapping[str, Any]) -> Bounds:
    named = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    low, high, above, below = (_bound(schema.get(name)) for name in named)
    return Bounds(low=low, high=high, above=above, below=below)


def _bound(value: object) -> float | None:
    return cast("float", value) if is_number(value) and abs(cast("float", value)) < _MAX_BOUND else None


def _size(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**31:
        return None
    return int(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return list(dict.fromkeys(one for one in _list(value) if isinstance(one, str)))


def _list(value: object) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
