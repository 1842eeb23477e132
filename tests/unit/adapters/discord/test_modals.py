"""Forms as Discord's modals: within its limits, whatever a schema asks for, and read back as they were filled in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.discord.modals import MAX_FIELDS, Filled, fits, is_of, modal, values_of
from bot.domain.forms import Field, FieldKind, Form, Option
from bot.forms.folding import fold
from bot.forms.making import form_of
from tests.fakes.discord.modals import check_modal, filled, labels

SIZES = (Option(value="s", label="Small"), Option(value="l", label="Large"))
FORM = Form(
    target="answer:7",
    title="deploys asks",
    fields=(
        Field(name="branch", label="Branch", kind="text", hint="Which one", is_required=True, max_length=40),
        Field(name="count", label="Count", kind="integer", value="3"),
        Field(name="force", label="Force", kind="checkbox", value="false"),
        Field(name="size", label="Size", kind="choice", options=SIZES, value="s", is_required=True),
        Field(name="tags", label="Tags", kind="choices", options=SIZES, value="s\nl"),
    ),
)


def sent(form: Form, values: dict[str, Any], shown: dict[str, Any] | None = None) -> dict[str, str]:
    """What is read of the form once a person sent it with these values, by label."""
    shown = shown or modal(form)
    check_modal(shown)
    known = labels(shown)
    data = {"components": filled(shown, {known[label]: value for label, value in values.items()})}
    assert is_of(data, form)
    return values_of(data, form)


def test_a_form_is_filled_in_with_text_boxes_and_choices() -> None:
    values = sent(FORM, {"Branch": "main", "Force": True, "Size": "Large", "Tags": []})
    assert values == {"branch": "main", "count": "3", "force": "true", "size": "l", "tags": ""}


def test_what_is_left_as_it_is_comes_back_as_it_was() -> None:
    assert sent(FORM, {"Branch": "main"}) == {
        "branch": "main",
        "count": "3",
        "force": "false",
        "size": "s",
        "tags": "s\nl",
    }


def test_a_hint_stands_below_the_label_and_an_error_takes_its_place() -> None:
    assert modal(FORM)["components"][0]["description"] == "Which one"
    again = modal(FORM, Filled(values={"branch": "nope"}, errors={"branch": "There is no such branch."}))
    check_modal(again)
    assert again["components"][0]["description"] == "There is no such branch."
    assert again["components"][0]["component"]["value"] == "nope"


def test_the_servers_words_stand_above_the_fields_where_there_is_room() -> None:
    short = replace(FORM, fields=FORM.fields[:1], message="Deploy **now**?")
    shown = modal(short)
    check_modal(shown)
    assert shown["components"][0] == {"type": 10, "content": r"Deploy \*\*now\*\*?"}
    assert len(modal(replace(FORM, message="Deploy?"))["components"]) == MAX_FIELDS


def test_a_value_that_no_input_can_hold_stays_as_it_is() -> None:
    long = Field(name="body", label="Body", kind="long_text", value="x" * 4_001)
    form = replace(FORM, fields=(FORM.fields[0], long))
    assert "too long to be changed here" in modal(form)["components"][1]["content"]
    assert sent(form, {"Branch": "main"}) == {"branch": "main", "body": "x" * 4_001}
    assert not fits(replace(form, fields=(long,)))


def test_more_choices_than_a_select_takes_are_written() -> None:
    many = tuple(Option(value=f"v{number}", label=f"V{number}") for number in range(26))
    form = replace(FORM, fields=(Field(name="one", label="One", kind="choice", options=many),))
    assert sent(form, {"One": "v25"}) == {"one": "v25"}
    assert modal(form)["components"][0]["description"].startswith("One of v0, v1")


def test_a_form_that_was_made_anew_from_another_schema_does_not_take_what_was_filled_in() -> None:
    data = {"components": filled(modal(FORM), {labels(modal(FORM))["Branch"]: "main"})}
    assert not is_of(data, replace(FORM, fields=FORM.fields[1:]))


def test_a_schema_of_any_size_becomes_a_form_that_discord_takes() -> None:
    properties = {f"p{number}": {"type": "string"} for number in range(12)}
    form = fold(form_of({"type": "object", "properties": properties}, target="run:a__b", title="t"), MAX_FIELDS)
    values = sent(form, {form.fields[0].label: "first", form.fields[-1].label: '{"p9": "ninth"}'})
    assert values[form.fields[0].name] == "first" and values[form.fields[-1].name] == '{"p9": "ninth"}'


words = st.text(max_size=200)
options = st.lists(st.builds(Option, value=words, label=words), max_size=30, unique_by=lambda each: each.value)
fields = st.builds(
    Field,
    name=words,
    label=words,
    kind=st.sampled_from(get_args(FieldKind)),
    hint=words,
    is_required=st.booleans(),
    value=words | st.just("x" * 5_000) | st.sampled_from(["true", "false", "a\nb"]),
    options=options.map(tuple),
    min_length=st.none() | st.integers(0, 10_000),
    max_length=st.none() | st.integers(0, 10_000),
    min_choices=st.integers(0, 40),
    max_choices=st.none() | st.integers(0, 40),
)
forms = st.builds(
    Form,
    target=st.just("run:" + "n" * 64),
    title=words,
    fields=st.lists(fields, min_size=1, max_size=5, unique_by=lambda each: each.name).map(tuple),
    message=words,
)


@settings(max_examples=100, deadline=None)
@given(forms)
def test_discord_takes_any_form(form: Form) -> None:
    check_modal(modal(form))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "component", "components", "custom_id", "value", "values"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["components", "custom_id"]), json))
def test_whatever_is_sent_as_a_form_can_be_read(data: dict[str, Any]) -> None:
    assert set(values_of(data, FORM)) <= {each.name for each in FORM.fields}


@pytest.mark.parametrize("value", [None, 1, [], "yes", {}])
def test_a_box_is_checked_only_where_discord_says_so(value: object) -> None:
    shown = modal(FORM)
    data = {
        "components": [{"type": 18, "component": {"custom_id": labels(shown)["Force"], "type": 23, "value": value}}]
    }
    assert values_of(data, FORM) == {"force": "false"}
