"""Discord's refusals as sentences: what is wrong in a form, and what an answer of any shape can be read as."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.errors import DiscordRefusedError, FormError, read_form_errors

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("_errors"), inner),
)


def test_errors_are_named_by_field_and_reason() -> None:
    nested = {
        "content": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]},
        "components": {"0": {"components": {"1": {"_errors": [{"code": "BUTTON_COMPONENT_MISSING_CONTENT"}]}}}},
    }
    assert read_form_errors(nested) == (
        FormError("content", "BASE_TYPE_MAX_LENGTH"),
        FormError("components.0.components.1", "BUTTON_COMPONENT_MISSING_CONTENT"),
    )


def test_values_of_the_request_are_not_repeated() -> None:
    nested = {"what Ada wrote": {"_errors": [{"code": "what Ada wrote", "message": 'Value "what Ada wrote"'}]}}
    assert read_form_errors(nested) == (FormError("?", "?"),)


@given(JSON)
def test_an_answer_of_any_shape_is_read(errors: Any) -> None:
    for error in read_form_errors(errors):
        assert str(error).isascii()


def test_an_answer_without_an_end_is_read() -> None:
    errors: dict[str, Any] = {}
    errors["again"] = errors
    assert read_form_errors(errors) == ()


@pytest.mark.parametrize("code", [0, 10003, 30007, 50007, 50013, 50035, 200000, 240000, 999_999])
def test_each_refusal_is_a_sentence_without_a_word_of_the_api(code: int) -> None:
    sentence = str(DiscordRefusedError(what="POST /channels/{channel_id}/messages", status=400, code=code))
    assert sentence.endswith(".") and "_" not in sentence and "/" not in sentence
