"""Which schema of a tool is sent."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bot.models.schemas import fit_schema

NAMED_LIKE_KEYWORDS: dict[str, Any] = {"type": "object", "properties": {"type": {"type": "string"}, "items": {}}}


def test_objects_get_properties_and_arrays_get_items_at_every_depth() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "tags": {"type": "array"},
            "filter": {"anyOf": [{"type": "null"}, {"type": "object"}]},
            "rows": {"type": ["array", "null"], "items": {"type": "array"}},
        },
        "additionalProperties": False,
        "$defs": {"Any": {"type": "object", "additionalProperties": {"type": "array"}}},
    }
    before = deepcopy(schema)
    assert fit_schema(schema) == {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {}},
            "filter": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {}}]},
            "rows": {"type": ["array", "null"], "items": {"type": "array", "items": {}}},
        },
        "additionalProperties": False,
        "$defs": {
            "Any": {"type": "object", "additionalProperties": {"type": "array", "items": {}}, "properties": {}},
        },
    }
    assert schema == before


def test_values_that_only_look_like_schemas_stay_as_they_are() -> None:
    schema = {**NAMED_LIKE_KEYWORDS, "default": {"type": "object"}, "examples": [{"type": "array"}]}
    assert fit_schema(schema) == schema


def test_a_tool_without_parameters_has_empty_properties() -> None:
    assert fit_schema({"type": "object"}) == {"type": "object", "properties": {}}
