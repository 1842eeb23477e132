"""Conditions on arguments: strict types, pointers, and the schema's defaults."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.rights.arguments import with_defaults
from bot.rights.policy import FilePolicy
from tests.unit.rights.parts import facts, policy_of

ODD = "odd"  # it cannot be compared: that matches where the rule asks or denies, and not where it allows


def matches(condition: str, arguments: Any, *, then: str, no_object: bool = False) -> bool:
    policy = policy_of(f'[[rule]]\nname = "r"\ntools = ["*/*"]\narguments = {{ {condition} }}\nthen = "{then}"')
    return policy.decide(facts(arguments=arguments, no_object=no_object)).rule == "r"


@pytest.mark.parametrize(
    ("condition", "arguments", "outcome"),
    [
        ('"/env" = { equals = "prod" }', {"env": "prod"}, True),
        ('"/env" = { equals = "prod" }', {"env": "Prod"}, False),
        ('"/env" = { equals = "prod", ignore_case = true }', {"env": "PROD"}, True),
        ('"/env" = { equals = "straße", ignore_case = true }', {"env": "STRASSE"}, True),
        ('"/env" = { equals = "prod" }', {}, False),
        ('"/env" = { equals = "prod" }', {"env": None}, ODD),
        ('"/env" = { equals = "prod" }', {"env": ["prod"]}, ODD),
        ('"/n" = { equals = 1 }', {"n": 1}, True),
        ('"/n" = { equals = 1 }', {"n": 1.0}, True),  # JSON has one type of numbers
        ('"/n" = { equals = 1 }', {"n": True}, ODD),
        ('"/n" = { equals = 1 }', {"n": "1"}, ODD),
        ('"/n" = { equals = true }', {"n": 1}, ODD),
        ('"/n" = { equals = true }', {"n": True}, True),
        ('"/n" = { equals = [1, "a"] }', {"n": [1.0, "a"]}, True),
        ('"/n" = { equals = [1, "a"] }', {"n": [True, "a"]}, False),
        ('"/n" = { equals = { a = 1 } }', {"n": {"a": 1}}, True),
        ('"/n" = { equals = { a = 1 } }', {"n": {"a": 1, "b": 2}}, False),
        ('"/n" = { in = ["a", 2] }', {"n": 2}, True),
        ('"/n" = { in = ["a", 2] }', {"n": "b"}, False),
        ('"/n" = { in = ["a", 2] }', {"n": False}, ODD),
        ('"/n" = { in = ["A"], ignore_case = true }', {"n": "a"}, True),
        ('"/p" = { glob = "/etc/*" }', {"p": "/etc/passwd\nx"}, True),
        ('"/p" = { glob = "/etc/*" }', {"p": "/ETC/passwd"}, False),
        ('"/p" = { glob = "/etc/*", ignore_case = true }', {"p": "/ETC/passwd"}, True),
        ('"/p" = { glob = "v[12].?" }', {"p": "v2.9"}, True),
        ('"/p" = { glob = "*" }', {"p": 5}, ODD),
        ('"/n" = { at_least = 2, at_most = 5 }', {"n": 5}, True),
        ('"/n" = { at_least = 2, at_most = 5 }', {"n": 5.1}, False),
        ('"/n" = { at_least = 2 }', {"n": "3"}, ODD),
        ('"/n" = { at_least = 0 }', {"n": False}, ODD),
        ('"/n" = { at_most = 5 }', {"n": math.nan}, ODD),
        ('"/n" = { at_most = 5.5 }', {"n": -(10**4_000)}, True),
        ('"/n" = { exists = true }', {"n": None}, True),
        ('"/n" = { exists = true }', {}, False),
        ('"/n" = { exists = false }', {}, True),
        ('"/n" = { exists = false }', {"n": 0}, False),
        ('"/n/m" = { exists = false }', {"n": {}}, True),
        ('"/n/m" = { exists = false }', {"n": "{}"}, ODD),  # some servers read texts as JSON
        ('"/n/m" = { equals = 1 }', {"n": {"m": 1}}, True),
        ('"/n/m" = { equals = 1 }', {"n": '{"m": 1}'}, ODD),
        ('"/n/m" = { equals = 1 }', {"n": {}}, False),
        ('"/n/0" = { equals = 1 }', {"n": [1]}, True),
        ('"/n/1" = { equals = 1 }', {"n": [1]}, False),
        ('"/n/00" = { equals = 1 }', {"n": [1]}, ODD),
        ('"/n/m" = { equals = 1 }', {"n": [1]}, ODD),
        ('"/n/*" = { equals = 1 }', {"n": [0, 1]}, True),
        ('"/n/*" = { equals = 1 }', {"n": {"x": 1}}, True),
        ('"/n/*" = { equals = 1 }', {"n": []}, False),
        ('"/n/*" = { equals = 1 }', {"n": [0, "1"]}, ODD),
        ('"/n/*/env" = { equals = "prod" }', {"n": [{"env": "dev"}, {"env": "prod"}]}, True),
        ('"/n/*/env" = { equals = "prod" }', {"n": [{"env": "dev"}, {}]}, False),
        ('"/n/*" = { at_least = 2, at_most = 3 }', {"n": [1, 4]}, False),  # one element has to pass all
        ('"/a~1b~0c" = { equals = 1 }', {"a/b~c": 1}, True),
        ('"/" = { equals = 1 }', {"": 1}, True),
        ('"/a" = { equals = 1 }, "/b" = { equals = 2 }', {"a": 1, "b": 2}, True),
        ('"/a" = { equals = 1 }, "/b" = { equals = 2 }', {"a": 1, "b": 3}, False),
    ],
)
def test_conditions(condition: str, arguments: dict[str, Any], outcome: bool | str) -> None:
    found = {then: matches(condition, arguments, then=then) for then in ("allow", "ask", "deny")}
    wanted = {"allow": False, "ask": True, "deny": True} if outcome == ODD else dict.fromkeys(found, outcome)
    assert found == wanted


@pytest.mark.parametrize(("then", "is_match"), [("allow", False), ("ask", True), ("deny", True)])
def test_arguments_that_are_no_object_cannot_be_compared(then: str, is_match: bool) -> None:
    assert matches('"/a" = { equals = 1 }', None, then=then, no_object=True) is is_match


# --- the schema's defaults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "arguments", "filled"),
    [
        ({"properties": {"env": {"default": "prod"}}}, {}, {"env": "prod"}),
        ({"properties": {"env": {"default": "prod"}}}, {"env": "dev"}, {"env": "dev"}),
        ({"properties": {"env": {"default": None}}}, {}, {}),
        ({"properties": {"env": {"default": False}}}, {}, {"env": False}),
        ({"properties": {"to": {"properties": {"env": {"default": "prod"}}}}}, {"to": {}}, {"to": {"env": "prod"}}),
        ({"properties": {"to": {"properties": {"env": {"default": "prod"}}}}}, {}, {}),
        (
            {
                "properties": {"to": {"items": {"$ref": "#/$defs/T"}}},
                "$defs": {"T": {"properties": {"n": {"default": 1}}}},
            },
            {"to": [{}, {"n": 2}, "x"]},
            {"to": [{"n": 1}, {"n": 2}, "x"]},
        ),
        (
            {
                "properties": {"to": {"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}], "default": None}},
                "$defs": {"T": {"properties": {"n": {"default": 1}}}},
            },
            {"to": {}},
            {"to": {"n": 1}},
        ),
        ({"allOf": [{"properties": {"a": {"default": 1}}}]}, {}, {"a": 1}),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": {}}, {"a": {}}),
        ({"properties": {"a": {"$ref": "https://example.com/x"}}}, {"a": {}}, {"a": {}}),
        ({"properties": []}, {"a": 1}, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_a_default_stands_in_for_what_is_left_out(schema: object, arguments: Any, filled: object) -> None:
    before = repr(arguments)
    assert with_defaults(arguments, schema) == filled
    assert repr(arguments) == before


def test_a_schema_or_arguments_beyond_all_measure_cannot_be_compared() -> None:
    looping = {"properties": {"a": {"$ref": "#"}}}
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"a": deep}
    assert with_defaults(deep, looping) is None
    wide = {"properties": {"a": {"items": {"properties": {str(n): {} for n in range(1_000)}}}}}
    assert with_defaults({"a": [{}] * 10_000}, wide) is None


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["a", "properties", "default", "$ref", "items", "anyOf", ""]), inner, max_size=4
        ),
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "properties"]), _JSON, max_size=3), _JSON)
@settings(max_examples=100, deadline=None)
def test_any_schema_leaves_what_is_given(arguments: dict[str, Any], schema: object) -> None:
    filled = with_defaults(arguments, schema)
    assert filled is not None and filled.keys() >= arguments.keys()


# --- a suggested rule ------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=6), _JSON, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_suggested_rule_is_valid_and_allows_the_call(arguments: dict[str, Any]) -> None:
    call = facts(arguments=arguments)
    text = FilePolicy.default().suggest_rule(call)
    assert policy_of(text).decide(call).verdict == "allow", text


def test_a_suggested_rule_names_what_the_call_was_and_no_secret() -> None:
    arguments = {"env": "dev", "replicas": 3, "token": "sk-live-0123456789abcdefghijklmnop", "tags": ["x"]}
    assert FilePolicy.default().suggest_rule(facts(arguments=arguments)) == (
        "# Put it last.\n"
        "[[rule]]\n"
        'name = "allow deploys/deploy"\n'
        'tools = ["deploys/deploy"]\n'
        'people = ["slack:T1:U1"]\n'
        'places = ["slack:T1:C042"]\n'
        'arguments = { "/env" = { equals = "dev" }, "/replicas" = { equals = 3 } }\n'
        'then = "allow"\n'
    )
