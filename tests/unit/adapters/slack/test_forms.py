"""Forms as Slack's windows, and what people filled in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.slack.forms import FORM, NoRoomError, errors_answer, form_view, parse_submission
from bot.domain.events import ConversationKey
from bot.domain.forms import Field, Form, Invalid, Option
from tests.fakes.slack.blocks import check_view
from tests.fakes.slack.inputs import filled_in

PLACE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.5")
COLOURS = tuple(Option(value=value, label=value.title()) for value in ("", "red", "blue"))
MANY = tuple(Option(value=f"v{number}", label=f"Value {number}") for number in range(250))
KINDS = ("text", "long_text", "number", "integer", "checkbox", "choice", "choices", "date", "json")
TEXTS = st.text(max_size=200) | st.sampled_from(["", "7", "1e99", "2026-02-30", "2026-12-01", "true", "red\nblue"])
OPTIONS = st.lists(st.builds(Option, value=TEXTS, label=TEXTS), max_size=12).map(tuple) | st.just(MANY)
FIELDS = st.builds(
    Field,
    name=st.text(max_size=260),
    label=TEXTS,
    kind=st.sampled_from(KINDS),
    hint=TEXTS,
    is_required=st.booleans(),
    value=TEXTS,
    options=OPTIONS,
    min_length=st.none() | st.integers(0, 10_000),
    max_length=st.none() | st.integers(0, 10_000),
    max_choices=st.none() | st.integers(0, 300),
)


def form(*fields: Field, **details: Any) -> Form:
    return Form(target="run:shop__buy", title="Buy", fields=fields, **details)


def sent(view: dict[str, Any], values: dict[str, Any]) -> Any:
    """Return what arrives once these labels were filled in."""
    shown = {**view, "id": "V1", "state": {"values": filled_in(view["blocks"], values)}}
    user = {"id": "U1", "team_id": "T1"}
    return parse_submission({"type": "view_submission", "team": {"id": "T1"}, "user": user, "view": shown})


@settings(max_examples=100)
@given(st.lists(FIELDS, max_size=6, unique_by=lambda field: field.name), st.booleans(), TEXTS)
def test_slack_takes_every_form_that_it_has_room_for(fields: list[Field], may_decline: bool, text: str) -> None:
    with suppress(NoRoomError):
        check_view(form_view(form(*fields, may_decline=may_decline, message=text, submit=text), PLACE, notice=text))


def test_each_kind_of_field_comes_back_as_it_was_filled_in() -> None:
    fields = (
        Field(name="title", label="Title", kind="text", value="Old", max_length=20),
        Field(name="amount", label="Amount", kind="number", value="1.5"),
        Field(name="gift", label="Gift", kind="checkbox", value="true", is_required=True),
        Field(name="colour", label="Colour", kind="choice", options=COLOURS, value="red", is_required=True),
        Field(name="tags", label="Tags", kind="choices", options=COLOURS, value="red\nblue"),
        Field(name="codes", label="Codes", kind="choices", options=MANY, max_choices=2),
        Field(name="day", label="Day", kind="date", value="2026-12-01"),
        Field(name="more", label="More", kind="json", value='{"a": 1}'),
    )
    view = form_view(form(*fields), PLACE)
    check_view(view)
    as_it_was = {field.name: field.value for field in fields}
    assert sent(view, {}).values == as_it_was
    changed = sent(
        view,
        {
            "Title": "New",
            "Amount": "2",
            "Gift": [],
            "Colour": "(empty)",
            "Tags": ["Blue"],
            "Codes": ["Value 3", "Value 249"],
            "Day": "",
            "More": "{}",
        },
    )
    assert changed.values == {
        "title": "New",
        "amount": "2",
        "gift": "false",
        "colour": "",
        "tags": "blue",
        "codes": "v3\nv249",
        "day": "",
        "more": "{}",
    }
    assert (changed.target, changed.place, changed.user) == ("run:shop__buy", PLACE, "U1")


@pytest.mark.parametrize(
    "field",
    [
        Field(name="n", label="Number", kind="integer", value="12345678901234567890123"),
        Field(name="d", label="Day", kind="date", value="tomorrow"),
        Field(name="c", label="Choice", kind="choice", options=(Option(value="x" * 200, label="X"),), value="x" * 200),
    ],
)
def test_what_an_input_of_its_kind_cannot_hold_is_written_as_text(field: Field) -> None:
    view = form_view(form(field), PLACE)
    check_view(view)
    assert view["blocks"][0]["element"]["type"] == "plain_text_input"
    assert sent(view, {}).values == {field.name: field.value}


def test_a_value_is_never_cut_to_fit() -> None:
    with pytest.raises(NoRoomError, match="longer than the 3,000 characters"):
        form_view(form(Field(name="text", label="Text", kind="long_text", value="x" * 3_001)), PLACE)


def test_very_many_fields_share_one() -> None:
    fields = [Field(name=f"f{number}", label=f"Field {number}", kind="text") for number in range(150)]
    view = form_view(form(*fields, may_decline=True), PLACE)
    check_view(view)
    assert view["blocks"][-2]["label"]["text"] == "More, as JSON"


def test_errors_are_shown_at_their_fields_and_others_at_one_that_the_window_has() -> None:
    invalid = Invalid(errors={"a": "Too long.", "gone": "Missing."}, notice="Look again.")
    assert errors_answer(invalid, ("a", "b")) == {
        "response_action": "errors",
        "errors": {"field:a": "Look again. Too long.", "field:b": "gone: Missing."},
    }
    assert errors_answer(Invalid(), ("a",)) == {
        "response_action": "errors",
        "errors": {"field:a": "This cannot be taken."},
    }
    assert errors_answer(invalid, ()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["view", "state", "values", "field:a", "tb:value", "selected_options"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(JSON, JSON, JSON)
def test_a_submission_of_any_shape_is_a_form_or_is_not(values: Any, blocks: Any, user: Any) -> None:
    note = '{"form":"edit:7","channel":[],"thread":7}'
    view = {"callback_id": FORM, "private_metadata": note, "state": {"values": values}, "blocks": blocks}
    read = parse_submission({"type": "view_submission", "view": view, "user": user, "team": user})
    assert read is not None and read.target == "edit:7"
    assert parse_submission({"type": "view_submission", "view": values, "user": user}) is None
