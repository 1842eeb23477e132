"""Arguments of tool calls, read for what they plainly mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.models.arguments import read_arguments

OBJECTS = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.booleans()), max_size=4)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ('""', {}),
        ('"null"', {}),
        ('{"a": 1}', {"a": 1}),
        (json.dumps('{"a": 1}'), {"a": 1}),
        (json.dumps(json.dumps('{"a": 1}')), {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}```', {"a": 1}),
        ('```{"a": 1}```', {"a": 1}),
        ('{"a": 1}{"a": 1}', {"a": 1}),
        ('{}\n{"a": 1}', {"a": 1}),
    ],
)
def test_arguments_are_read_for_what_they_plainly_mean(written: str, meant: dict[str, int]) -> None:
    assert json.loads(read_arguments(written)) == meant


@pytest.mark.parametrize(
    "written", ['{"a": ', "[1]", "7", "```", "``````", '{"a": 1}{"b": 2}', "[" * 100_000, "{}" * 100_000, "1" * 5_000]
)
def test_what_means_nothing_plain_stays_as_it_was_written(written: str) -> None:
    assert read_arguments(written) == written


@given(OBJECTS)
def test_an_object_means_itself_however_it_is_wrapped(value: dict[str, object]) -> None:
    text = json.dumps(value)
    for written in (text, json.dumps(text), f"```json\n{text}\n```", text + text, f"  {text}\n"):
        assert json.loads(read_arguments(written)) == value


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(read_arguments(text), str)
