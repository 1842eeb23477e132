"""The schema of a tool's arguments, fitted to what strict endpoints take.

OpenAI and Azure refuse the whole request for one schema with an object without `properties`, an array without `items`,
a null where a schema belongs, or a combinator at the top: https://github.com/ogx-ai/ogx/issues/3602,
https://github.com/mark3labs/mcphost/issues/35.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from bot.text.cleaning import strip_surrogates
from bot.text.marks import unmarked
from bot.text.redaction import hide_known

Schema = Mapping[str, Any]

_MAX_DEPTH = 60  # deeper parts become `{}`, which accepts everything
_MAX_ALTERNATIVES = 6  # are described in words
# How deep combinators at the top are written out, and how many ways of each: a schema that refers to itself would grow
# without end.
_MAX_NESTED = 2
_MAX_WAYS, _MAX_WAYS_WITHIN = 300, 10
_BIGGEST_INT = 2**63

# Keywords whose value is a schema, a list of schemas, and keywords whose value holds a schema under each name.
_OF_SCHEMA = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"})
_OF_SCHEMAS = frozenset({"prefixItems", "anyOf", "oneOf", "allOf"})
_OF_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_MAY_BE_NULL = frozenset({"default", "const"})
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
# What the values of plain keywords have to be; another value (draft 4 has booleans for limits) is left out.
_TEXTS = frozenset({"title", "description", "format", "pattern", "$schema", "$ref", "$comment", "contentEncoding"})
_SAID = frozenset({"title", "description", "$comment"})  # to the model, in the server's own words
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTED = ("Length", "Items", "Properties", "Contains")
_COUNTS = frozenset({f"{end}{what}" for end in ("min", "max") for what in _COUNTED})
_SWITCHES = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly"})
# Of whole documents, and beyond what endpoints check
_LEFT_OUT = frozenset(
    {"$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary", "dependentRequired", "dependencies"}
)
_COMBINATORS = ("allOf", "anyOf", "oneOf")
_NOT_AT_THE_TOP = frozenset({*_COMBINATORS, "enum", "not", "const", "if", "then", "else"})


def fit_schema(schema: object) -> dict[str, Any]:
    """Return a schema that accepts all that `schema` accepts, in a form that OpenAI and Azure take.

    At the top it is an object without combinators: the properties of all alternatives stand side by side, and only
    what each of them requires is required. The tool's server checks the arguments against its own schema anyway.
    """
    fitted = _fit(schema, depth=0)
    top = _merged(fitted, fitted, depth=0)
    top = {name: value for name, value in top.items() if name not in _NOT_AT_THE_TOP and name != "$ref"}
    return {**top, "type": "object", "properties": top.get("properties", {})}


# --- every part of it --------------------------------------------------------------------------------------------


def _fit(schema: object, *, depth: int) -> dict[str, Any]:
    if schema is False:
        return {"not": {}}
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    fitted: dict[str, Any] = {}
    for keyword, value in cast("Schema", schema).items():
        fitted |= _fit_keyword(strip_surrogates(str(keyword)), value, depth=depth + 1)
    return _with_defaults(fitted)


def _fit_keyword(keyword: str, value: object, *, depth: int) -> dict[str, Any]:
    """Return the keyword with its fitted value; nothing where the value cannot be one of this keyword's."""
    if value is None:
        return {keyword: None} if keyword in _MAY_BE_NULL else {}
    if keyword == "items" and isinstance(value, list):  # the form for tuples of drafts before 2020-12
        return _fit_keyword("prefixItems", cast("list[object]", value), depth=depth)
    if keyword in _OF_SCHEMA:
        is_kept = isinstance(value, bool) and keyword == "additionalProperties"
        return {keyword: value if is_kept else _fit(value, depth=depth)}
    if keyword in _OF_SCHEMAS:
        several = [_fit(one, depth=depth) for one in _as_list(value)]
        return {keyword: several} if several else {}
    if keyword in _OF_NAMED_SCHEMAS:
        named = cast("Schema", value if isinstance(value, Mapping) else {})
        return {keyword: {strip_surrogates(str(name)): _fit(one, depth=depth) for name, one in named.items()}}
    if keyword == "required":
        return _fit_required(value)
    if keyword == "type":
        return _fit_type(value)
    if keyword in _SAID and isinstance(value, str):
        return {keyword: hide_known(unmarked(value))}
    return {keyword: _clean(value, depth=depth)} if _may_be(keyword, value) else {}


def _may_be(keyword: str, value: object) -> bool:
    """Return whether the value is of the kind that a plain keyword needs; any value is right for an unknown one."""
    if keyword in _LEFT_OUT:
        return False
    if keyword in _TEXTS:
        return isinstance(value, str)
    if keyword in _SWITCHES:
        return isinstance(value, bool)
    if keyword in ("enum", "examples"):
        return isinstance(value, list)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _BIGGEST_INT
    if keyword in _COUNTS:
        return is_number and value == int(cast("float", value)) and cast("float", value) >= 0
    if keyword in _NUMBERS:
        return is_number and (keyword != "multipleOf" or cast("float", value) > 0)
    return True


def _fit_type(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": value} if value in _TYPES else {}
    types = [one for one in _as_list(value) if isinstance(one, str) and one in _TYPES]
    return {"type": list(dict.fromkeys(types))} if types else {}


def _fit_required(value: object) -> dict[str, Any]:
    # A boolean here is the form of draft 3, which says nothing about the names.
    names = [strip_surrogates(name) for name in _as_list(value) if isinstance(name, str)]
    return {"required": list(dict.fromkeys(names))} if names else {}


def _with_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    types = [schema["type"]] if isinstance(schema.get("type"), str) else _as_list(schema.get("type"))
    if "object" in types:
        schema.setdefault("properties", {})
    if "array" in types:
        schema.setdefault("items", {})
    return schema


def _clean(value: object, *, depth: int) -> Any:
    """Return a plain value that every JSON writer takes: no halves of characters, no NaN, no endless number."""
    if depth > _MAX_DEPTH:
        return None
    match value:
        case str():
            return hide_known(strip_surrogates(value))
        case bool() | None:
            return value
        case int():
            return value if abs(value) < _BIGGEST_INT else None
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            named = cast("Schema", value)  # pyright: ignore[reportUnnecessaryCast]
            return {strip_surrogates(str(name)): _clean(one, depth=depth + 1) for name, one in named.items()}
        case list() | tuple():
            return [_clean(one, depth=depth + 1) for one in cast("Sequence[object]", value)]
        case _:
            return None


def _as_list(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()


# --- the top -----------------------------------------------------------------------------------------------------


def _merged(schema: Schema, whole: Schema, *, depth: int) -> dict[str, Any]:
    """Return the schema with its references and combinators written out as one object."""
    merged = {name: value for name, value in schema.items() if name not in _COMBINATORS and name != "$ref"}
    if depth > _MAX_NESTED:
        return merged
    max_ways = _MAX_WAYS if depth == 0 else _MAX_WAYS_WITHIN
    for part in list(_parts_of_all(schema, whole))[:max_ways]:
        _join(merged, _merged(part, whole, depth=depth + 1), all_hold=True)
    for keyword in ("anyOf", "oneOf"):
        offered: Sequence[Schema] = schema.get(keyword, ())
        ways = [_merged(way, whole, depth=depth + 1) for way in offered[:max_ways]]
        objects = [way for way in ways if way.get("type") != "null"]
        if objects:
            _join_alternatives(merged, objects, are_all=len(offered) <= max_ways)
    return merged


def _parts_of_all(schema: Schema, whole: Schema) -> Iterator[Schema]:
    if (referred := _referred(schema.get("$ref"), whole)) is not None:
        yield referred
    yield from schema.get("allOf", ())


def _referred(reference: object, whole: Schema) -> Schema | None:
    """Return the part of the schema that a reference such as `#/$defs/Name` names."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Schema | None = whole
    for step in reference.removeprefix("#/").split("/"):
        found = _as_schema(found.get(step)) if found is not None else None
    return found


def _as_schema(value: object) -> Schema | None:
    return cast("Schema", value) if isinstance(value, Mapping) else None


def _join(merged: dict[str, Any], part: Schema, *, all_hold: bool) -> None:
    """Add a part's properties, and all else that `merged` lacks; `all_hold`: what the part requires is required."""
    properties: dict[str, Any] = dict(merged.get("properties", {}))
    for name, schema in part.get("properties", {}).items():
        known = properties.get(name)
        if known is None or known == {} or all_hold:
            properties[name] = schema if not known else {**known, **schema}
        elif known != schema:
            known_ways = known["anyOf"] if set(known) == {"anyOf"} else [known]
            properties[name] = {"anyOf": known_ways if schema in known_ways else [*known_ways, schema]}
    if properties:
        merged["properties"] = properties
    if all_hold and (required := [*merged.get("required", ()), *part.get("required", ())]):
        merged["required"] = list(dict.fromkeys(required))
    for name, value in part.items():
        if name not in ("required", "additionalProperties", *_NOT_AT_THE_TOP):
            merged.setdefault(name, value)


def _join_alternatives(merged: dict[str, Any], ways: Sequence[Schema], *, are_all: bool) -> None:
    merged.pop("additionalProperties", None)  # it only counted the properties beside it
    for way in ways:
        _join(merged, {name: value for name, value in way.items() if name != "description"}, all_hold=False)
    shared = set(ways[0].get("required", ())).intersection(*(way.get("required", ()) for way in ways[1:]))
    of_all = [name for name in ways[0].get("required", ()) if are_all and name in shared]
    if required := [*merged.get("required", ()), *of_all]:
        merged["required"] = list(dict.fromkeys(required))
    choices = [", ".join(f"`{name}`" for name in way.get("required", ())) for way in ways[:_MAX_ALTERNATIVES]]
    if len(set(choices)) > 1:
        hint = f"Give one of these sets of arguments: {'; or '.join(choice or 'none' for choice in choices)}."
        merged["description"] = " ".join(filter(None, [str(merged.get("description") or ""), hint]))
