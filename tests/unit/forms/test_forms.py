"""What people see of a JSON schema, and what a server gets of what they filled in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.forms import Field, Form, Invalid, Option
from bot.forms.folding import fold
from bot.forms.making import form_of
from bot.forms.reading import read_form
from bot.forms.schemas import OTHER

TITLED = [{"const": "#f00", "title": "Red"}, {"const": "#0f0", "title": "Green"}]


def schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def made(wanted: object, values: dict[str, Any] | None = None) -> Form:
    return form_of(wanted, target="answer:1", title="A form", values=values)


def field(**described: Any) -> Field:
    (found,) = made(schema(it=described)).fields
    return found


def shown(form: Form) -> dict[str, str]:
    """Return what is sent off where nothing is changed."""
    return {each.name: each.value for each in form.fields}


def read(text: str, required: bool = True, **described: Any) -> Any:
    """Return the value that a field's text means, or the sentence against it."""
    found = read_form(schema(("it",) if required else (), it=described), {"it": text})
    return found.errors["it"] if isinstance(found, Invalid) else found.get("it", "(left out)")


# --- each type of schema that MCP's elicitation knows ----------------------------------------------------------
# https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#requested-schema


def test_a_text_is_a_field_with_its_label_hint_length_and_default() -> None:
    found = field(
        type="string", title="Name", description="As in\nyour passport", minLength=3, maxLength=50, default="Jo"
    )
    assert found == Field(
        name="it", label="Name", kind="text", hint="As in your passport", min_length=3, max_length=50, value=""
    )  # the default is too short to be one
    assert field(type="string", default="Jon").value == "Jon"


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ({"type": "string", "maxLength": 2000}, "long_text"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "text"),
        ({"type": "string", "default": "two\nlines"}, "long_text"),
        ({"type": "number"}, "number"),
        ({"type": "integer"}, "integer"),
        ({"type": "boolean", "default": False}, "checkbox"),
        ({"type": "boolean"}, "choice"),  # nothing chosen is another answer than no
        ({"type": "string", "enum": ["a"]}, "choice"),
        ({"const": "a"}, "choice"),
        ({"type": "string", "oneOf": TITLED}, "choice"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, "choices"),
        ({"type": "array", "items": {"anyOf": TITLED}}, "choices"),
        ({"type": "array", "items": {"type": "string"}}, "json"),
        ({"type": "object"}, "json"),
        ({"type": ["string", "integer"]}, "json"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"type": ["integer", "null"]}, "integer"),
        ({"$ref": "#/$defs/missing"}, "json"),
        ({"type": 5}, "json"),
    ],
)
def test_the_kind_of_a_field_follows_from_its_schema(described: dict[str, Any], kind: str) -> None:
    assert field(**described).kind == kind


def test_choices_have_the_titles_of_the_schema() -> None:
    titled = (Option(value="#f00", label="Red"), Option(value="#0f0", label="Green"))
    assert field(type="string", oneOf=TITLED, default="#0f0") == Field(
        name="it", label="it", kind="choice", options=titled, value="#0f0"
    )
    assert (
        field(type="string", enum=["#f00", "#0f0"], enumNames=["Red", "Green"]).options == titled
    )  # before 2025-11-25
    many = field(type="array", items={"anyOf": TITLED}, minItems=1, maxItems=2, default=["#0f0", "#f00"])
    assert (many.kind, many.options, many.value) == ("choices", titled, "#0f0\n#f00")
    assert (many.min_choices, many.max_choices) == (1, 2)


def test_references_of_the_schema_are_followed_but_not_in_circles() -> None:
    wanted = schema(color={"$ref": "#/$defs/Color"}, loop={"$ref": "#/$defs/Loop"})
    wanted["$defs"] = {"Color": {"enum": ["red"], "title": "Color"}, "Loop": {"$ref": "#/$defs/Loop"}}
    color, loop = made(wanted).fields
    assert (color.kind, color.label, loop.kind) == ("choice", "Color", "json")


@pytest.mark.parametrize(
    ("text", "described", "value"),
    [
        ("Jo", {"type": "string"}, "Jo"),
        ("  Jo\n", {"type": "string"}, "  Jo\n"),
        ("a@b.example ", {"type": "string", "format": "email"}, "a@b.example"),
        ("a@b@c", {"type": "string", "format": "email"}, "Give an email address such as name@example.com."),
        ("https://a.example/b?c", {"type": "string", "format": "uri"}, "https://a.example/b?c"),
        ("a.example", {"type": "string", "format": "uri"}, "Give a complete address such as https://example.com."),
        ("2026-02-28", {"type": "string", "format": "date"}, "2026-02-28"),
        ("2026-02-30", {"type": "string", "format": "date"}, "Give a date such as 2026-11-29."),
        ("2026-02-28T10:00:00+01:00", {"type": "string", "format": "date-time"}, "2026-02-28T10:00:00+01:00"),
        (
            "2026-02-28 10:00",
            {"type": "string", "format": "date-time"},
            "Give a date and time such as 2026-11-29T14:30:00Z.",
        ),
        ("ab", {"type": "string", "minLength": 3}, "Write at least 3 characters."),
        ("ab", {"type": "string", "maxLength": 1}, "Write at most 1 character."),
        ("5", {"type": "integer"}, 5),
        ("123456789012345678901234567890", {"type": "integer"}, 123456789012345678901234567890),
        ("5.0", {"type": "integer"}, "Give a whole number."),
        ("0", {"type": "integer", "minimum": 1}, "Give a whole number of at least 1."),
        ("x", {"type": "integer", "minimum": 1, "maximum": 9}, "Give a whole number from 1 to 9."),
        ("1e3", {"type": "number"}, 1000.0),
        ("1,5", {"type": "number"}, "Give a number."),  # it could mean one and a half, or fifteen
        ("1e999", {"type": "number"}, "Give a number."),
        ("5", {"type": "number", "exclusiveMinimum": 5}, "Give a number above 5."),
        ("true", {"type": "boolean"}, True),
        ("No", {"type": "boolean"}, False),
        ("perhaps", {"type": "boolean"}, "Answer yes or no."),
        ("#f00", {"type": "string", "oneOf": TITLED}, "#f00"),
        ("green", {"type": "string", "oneOf": TITLED}, "#0f0"),  # typed by hand
        ("blue", {"type": "string", "oneOf": TITLED}, "Choose one of the options."),
        ("2", {"enum": [1, 2]}, 2),
        ("a\nb", {"type": "array", "items": {"enum": ["a", "b"]}}, ["a", "b"]),
        ("a", {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}, "Choose at least 2."),
        ("", {"type": "array", "items": {"enum": ["a", "b"]}}, []),
        ("", {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}, "Fill this in: it is required."),
        ('["a", 1]', {"type": "array"}, ["a", 1]),
        ("{}", {"type": "array"}, 'Write a JSON list, such as ["a", "b"].'),
        ("[NaN]", {"type": "array"}, 'Write a JSON list, such as ["a", "b"].'),
        ("[" * 100_000, {"type": "array"}, 'Write a JSON list, such as ["a", "b"].'),
        ("  ", {"type": "string"}, "Fill this in: it is required."),
        ("", {"type": ["string", "null"]}, None),
    ],
)
def test_a_text_is_read_as_its_type_or_refused_in_one_sentence(
    text: str, described: dict[str, Any], value: object
) -> None:
    found = read(text, **described)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("kind", ["string", "integer", "boolean", "array", "object"])
def test_an_optional_field_that_is_left_empty_is_left_out(kind: str) -> None:
    assert read("", required=False, type=kind) == "(left out)"


def test_every_field_at_fault_has_its_own_sentence() -> None:
    wanted = schema(("name", "age"), name={"type": "string"}, age={"type": "integer"}, note={"type": "string"})
    assert read_form(wanted, {"age": "old"}) == Invalid(
        errors={"name": "Fill this in: it is required.", "age": "Give a whole number."}
    )


def test_texts_of_schemas_cannot_break_out_of_their_line() -> None:
    found = field(type="string", title="a\u202eb\n# c" + "x" * 500, description="d\x1b[31m\r\ne")
    assert found.label.startswith("a b # cxxx")
    assert len(found.label) == 150
    assert found.hint == "d [31m e"


# --- values that fields cannot hold ----------------------------------------------------------------------------


def test_arguments_without_a_field_are_kept_in_one_more() -> None:
    wanted = schema(env={"type": "string"}, count={"type": "integer"})
    form = made(wanted, {"env": "prod", "count": "many", "dry run": True})
    assert [(each.name, each.value) for each in form.fields] == [
        ("env", "prod"),
        (OTHER, '{"count": "many", "dry run": true}'),
    ]
    invalid = read_form(wanted, shown(form))
    assert invalid == Invalid(errors={OTHER: "“count”: Give a whole number."})
    assert read_form(wanted, {"env": "dev", OTHER: '{"count": 2, "dry run": false}'}) == {
        "env": "dev",
        "count": 2,
        "dry run": False,
    }


@pytest.mark.parametrize("text", ["[]", "{", '"text"', "5"])
def test_the_field_for_the_rest_takes_one_object(text: str) -> None:
    found = read_form(schema(), {OTHER: text})
    assert found == Invalid(errors={OTHER: 'Write one JSON object, such as {"key": "value"}.'})


def test_a_value_cannot_be_given_twice() -> None:
    found = read_form(schema(a={"type": "string"}), {"a": "x", OTHER: '{"a": "y"}'})
    assert found == Invalid(errors={"a": "It is filled in here and in the JSON field: remove one."})


def test_a_schema_that_takes_no_others_refuses_them() -> None:
    wanted = schema(a={"type": "string"}) | {"additionalProperties": False}
    assert read_form(wanted, {OTHER: '{"b": 1}'}) == Invalid(errors={OTHER: "There is no “b” here: remove it."})


UNREADABLE: list[Any] = [None, [], "text", {"properties": []}, {"anyOf": [{}, {}]}, True]


@pytest.mark.parametrize("wanted", UNREADABLE)
def test_a_schema_that_cannot_be_read_is_one_json_field(wanted: object) -> None:
    assert [each.name for each in made(wanted).fields] == [OTHER]
    assert read_form(wanted, {OTHER: '{"a": [1]}'}) == {"a": [1]}


def test_a_tool_without_arguments_has_nothing_to_fill_in() -> None:
    assert made({"type": "object"}).fields == made(schema()).fields == ()


# --- folding ---------------------------------------------------------------------------------------------------

WIDE = schema(
    ("must",),
    first={"type": "integer", "default": 3},
    second={"type": "string"},
    third={"type": "boolean", "default": True},
    must={"type": "string"},
)


def test_a_form_that_is_too_long_keeps_its_required_fields_and_folds_the_rest() -> None:
    folded = fold(made(WIDE), 3)
    assert [each.name for each in folded.fields] == ["first", "must", OTHER]
    assert folded.fields[-1].value == '{"third": true}'
    assert folded.fields[-1].hint == "One JSON object with “second”, “third” (true or false)."
    assert fold(made(WIDE), 4) == made(WIDE)


def test_what_can_be_chosen_is_said_of_fields_that_were_folded() -> None:
    many = {"type": "array", "items": {"enum": [f"tag {number}" for number in range(9)]}}
    folded = fold(made(schema(color={"oneOf": TITLED}, tags=many)), 1)
    assert folded.fields[0].hint == (
        "One JSON object with “color” (one of #f00 | #0f0), “tags” (some of "
        "tag 0 | tag 1 | tag 2 | tag 3 | tag 4 | tag 5 | tag 6 | tag 7 | 1 more)."
    )


def test_a_folded_form_is_read_as_the_whole_one() -> None:
    typed = {"first": "", "must": "x", OTHER: '{"third": false, "second": ""}'}
    assert read_form(WIDE, typed) == {"must": "x", "third": False, "second": ""}
    assert read_form(WIDE, {OTHER: "{}"}) == Invalid(errors={OTHER: "“must”: Fill this in: it is required."})


# --- what is shown comes back ----------------------------------------------------------------------------------

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
ENUM = st.lists(JSON, min_size=1, max_size=4)
KINDS = ["string", "number", "integer", "boolean", "array", "object"]


def described_as(key: str, values: st.SearchStrategy[Any], **others: Any) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {key: value, **others})


PROPERTIES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    described_as("type", st.sampled_from(KINDS)),
    described_as("type", st.sampled_from([["string", "null"], ["number", "null"], ["boolean", "null"]])),
    described_as("format", st.sampled_from(["email", "uri", "date", "date-time"]), type="string"),
    described_as("enum", ENUM),
    described_as("items", described_as("enum", ENUM), type="array"),
    st.just({}),
)
NAMES = st.text(max_size=4) | st.sampled_from(["a", "b", OTHER])


@st.composite
def filled_in(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a schema and values, some of which are as it says."""
    properties: dict[str, dict[str, Any]] = draw(st.dictionaries(NAMES, PROPERTIES, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    others = JSON.filter(lambda value: not isinstance(value, str))  # "5" is taken for 5 where that is asked for
    values: dict[str, Any] = draw(
        st.dictionaries(NAMES | st.sampled_from(sorted(properties) or ["a"]), others, max_size=4)
    )
    for name, described in properties.items():
        if name in required or draw(st.booleans()):
            values[name] = draw(fitting(described))
    return {"properties": properties, "required": required}, values


def fitting(described: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in described:
        return st.sampled_from(described["enum"])
    if "enum" in described.get("items", {}):
        return st.lists(st.sampled_from(described["items"]["enum"]), max_size=3)
    kinds = described.get("type", "any")
    texts: dict[str, st.SearchStrategy[Any]] = {
        "email": st.just("a@b.example"),
        "uri": st.just("https://a.example"),
        "date": st.dates().map(str),
        "date-time": st.just("2026-01-01T00:00:00Z"),
    }
    plain: dict[str, st.SearchStrategy[Any]] = {
        "string": texts.get(described.get("format", ""), st.text(max_size=8)),
        "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "integer": st.integers() | st.just(2.0),
        "boolean": st.booleans(),
        "array": st.lists(JSON, max_size=2),
        "object": st.dictionaries(st.text(max_size=3), JSON, max_size=2),
        "null": st.none(),
    }
    return st.one_of([plain[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind in plain]) | (
        JSON if kinds == "any" else st.nothing()
    )


@settings(max_examples=100, deadline=None)
@given(filled_in(), st.integers(1, 4))
def test_a_form_of_which_nothing_is_changed_gives_the_same_json_back(
    case: tuple[dict[str, Any], dict[str, Any]], room: int
) -> None:
    wanted, values = case
    form = made(wanted, values)
    for each in (form, fold(form, room)):
        found = read_form(wanted, shown(each))
        if isinstance(found, Invalid):  # only where a value is not as the schema says
            assert any(name in wanted["properties"] for name in values)
            assert OTHER in found.errors
        else:
            assert json.dumps(found, sort_keys=True) == json.dumps(values, sort_keys=True)


@settings(max_examples=100, deadline=None)
@given(JSON, JSON, st.dictionaries(NAMES, st.text(max_size=10), max_size=4))
def test_no_schema_and_no_text_raises(node: Any, other: Any, texts: dict[str, str]) -> None:
    keys = ("type", "enum", "oneOf", "anyOf", "items", "$ref", "default", "minimum", "minLength", "format", "const")
    nodes: list[Any] = [node, {"properties": node, "required": other}, {"properties": {"a": node, "b": {}}}]
    for wanted in nodes:
        fold(made(wanted), 1)
        read_form(wanted, texts)
    for key in keys:
        wanted = schema(a={"type": "array", key: node, "items": {key: other}}, b={"type": "string", key: other})
        fold(made(wanted, {"a": other, "b": node}), 1)
        read_form(wanted, {"a": "1", "b": "x", **texts})
