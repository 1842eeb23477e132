"""Discord's refusals as sentences: what is wrong in a form, and what an answer of any shape can be read as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.errors import OUT_OF_ORDER, RATES, DiscordRefusedError, FormError, read_form_errors
from tests.fakes.discord.errors import POSTING_CODES

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


# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json: all of them, by their beginnings.
_DOCUMENTED = {
    0: "0",
    10_000: "1-16 20 21 26-33 36 38 49 50 57 59-63 65-71 87 97 124 129",
    20_000: "1 2 9 12 15 16 18 22 24 28 29 31 35",
    30_000: "1-5 7 8 10 11 13 15 16 18 19 30-35 37-40 42 45-48 52 56 58 60 61",
    40_000: "1-7 9 12 18 19 32 33 41 43 58 60-62 66 67 74 94 333",
    50_000: "1-17 19-21 24-28 33-36 39 41 45 46 54 55 57 67 68 70 73 74 80 81 83-86 91 95 97 101 109 110 123 124 131 "
    "132 138 144-146 151 159-163 167 173 178 192 278 600",
    60_000: "3",
    80_000: "4",
    90_000: "1 2",
    110_000: "0 1",
    130_000: "0",
    150_000: "6",
    160_000: "2 4-7 14",
    170_000: "1-7",
    180_000: "0 2",
    200_000: "0 1",
    220_000: "1-4",
    240_000: "0",
    340_000: "15",
    350_000: "0 1",
    400_000: "1",
    500_000: "0",
    520_000: "0-4 6",
    530_000: "0-4 6 7",
}


def documented() -> Iterator[int]:
    for beginning, ends in _DOCUMENTED.items():
        for span in ends.split():
            first, _, last = span.partition("-")
            yield from range(beginning + int(first), beginning + int(last or first) + 1)


def test_every_documented_refusal_is_final_but_for_those_that_pass_by_themselves() -> None:
    refusals = [DiscordRefusedError(what="POST", status=400, code=code) for code in documented()]
    assert len(refusals) > 200
    assert {one.code for one in refusals if not one.is_permanent} == RATES | OUT_OF_ORDER
    assert set(POSTING_CODES) <= {one.code for one in refusals}
    for one in refusals:
        assert str(one).endswith(".") and "_" not in str(one) and "/" not in str(one)


@pytest.mark.parametrize("code", [0, 10003, 30007, 50007, 50013, 50035, 200000, 240000, 999_999])
def test_each_refusal_is_a_sentence_without_a_word_of_the_api(code: int) -> None:
    sentence = str(DiscordRefusedError(what="POST /channels/{channel_id}/messages", status=400, code=code))
    assert sentence.endswith(".") and "_" not in sentence and "/" not in sentence
