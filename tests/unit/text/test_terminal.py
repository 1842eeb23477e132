"""What a terminal gets: nothing in a text steers it, nothing changes the order of what is read, in linear time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.console import render
from bot.intake.commands import phrases
from bot.text.cleaning import clean, clean_name
from bot.text.decoding import decode_text
from bot.text.marks import plain_name, unmarked
from bot.text.redaction import redact
from bot.text.split import split_markdown
from bot.text.terminal import flat, visible, visible_json

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
STEERING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}]")
BEGINNINGS = ("\x90", "\x9d\x98", "\x1b]", "\x1bP", "\x1b[", "\x9b0", "\x1b ", "\x9b;", "\x1b\x1b")
texts = st.text() | st.lists(st.sampled_from([*BEGINNINGS, *BIDI, "\x9c", "\x07", "a", "0m", "\n", "\r\n"])).map(
    "".join
)


@given(texts)
def test_no_text_keeps_what_a_terminal_obeys(text: str) -> None:
    assert not STEERING.search(visible(text)) and not STEERING.search(flat(text)) and "\n" not in flat(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_an_override_does_not_turn_a_file_name_around() -> None:
    assert visible("invoice\u202egpj.exe") == "invoicegpj.exe"
    assert visible("\u05e9\u05dc\u05d5\u05dd") == "\u05e9\u05dc\u05d5\u05dd"  # Hebrew needs none of the marks


@pytest.mark.parametrize("hidden", ["\x9d0;title\x9c", "\x1b]8;;http://x\x1b\\", "\x90q\x07", "\x9b1;31m", "\x1bc"])
def test_a_whole_sequence_goes(hidden: str) -> None:
    assert visible(f"a{hidden}b") == "ab"


@given(st.recursive(st.none() | texts, lambda inner: st.dictionaries(texts, inner, max_size=3), max_leaves=5))
def test_json_means_the_same_and_steers_nothing(value: object) -> None:
    shown = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value and not STEERING.search(shown)


# --- time --------------------------------------------------------------------------------------------------------


def decoded(text: str) -> object:
    return decode_text(text.encode("utf-8", "surrogatepass"))


FUNCTIONS: list[Callable[[str], object]] = [
    visible,
    flat,
    visible_json,
    clean,
    clean_name,
    plain_name,
    unmarked,
    redact,
    phrases.plain,
    phrases.code,
    decoded,
    lambda text: split_markdown(text, max_chars=200),
    render.markdown,
]
UNITS = [
    *BEGINNINGS,
    "<|a",
    "<|",
    "[INST",
    "⟦",
    "```\n",
    "[a](",
    "![",
    "<!--",
    "*a_",
    "> ",
    "a|b\n|-|-\n",
    'token="',
    "\u202e",
]
UNITS += ["\xe4", "://a:", "bearer a", " \n", "-----BEGIN PRIVATE KEY-----"]


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_that_is_four_times_as_long_takes_about_four_times_as_long(unit: str) -> None:
    """Quadratic time would be sixteen times; the best of some tries counts, because others use the machine too."""
    short = unit * (1_500 // len(unit))
    for function in FUNCTIONS:
        assert any(ratio(function, short) < 10 for _ in range(6)), function


def ratio(function: Callable[[str], object], text: str) -> float:
    function(text)  # what is made at the first call does not count
    begun = time.process_time_ns()
    function(text)
    middle = time.process_time_ns()
    function(text * 4)
    return (time.process_time_ns() - middle) / max(middle - begun, 100_000)
