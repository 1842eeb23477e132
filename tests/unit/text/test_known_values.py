"""Known values: hidden in each of their forms, and ordinary words are none."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text.known_values import KnownValues, is_keepable, known
from bot.text.redaction import redact, redact_always, redact_prose
from tests.attacks.corpus import leaks

VALUE = 'p"ss/w0rd+ü='


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
def test_a_value_is_hidden_in_every_form(before: str) -> None:
    values = KnownValues()
    values.keep("test", [VALUE], mode="on")
    encoded = base64.b64encode(f"{before}{VALUE}{before}".encode()).decode()
    for text in (VALUE, json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), quote_plus(VALUE), encoded):
        assert "[hidden]" in values.hide(f"it is {text}!")
        assert base64.b64encode(VALUE.encode()).decode()[4:-4] not in values.hide(text)


@settings(max_examples=60)
@given(st.text(min_size=6, max_size=30).filter(is_keepable), st.text(max_size=20), st.text(max_size=20))
def test_no_value_is_left_in_any_text(value: str, before: str, after: str) -> None:
    values = KnownValues()
    values.keep("test", [value], mode="on")
    assert value not in values.hide(before + value + after).replace("[hidden]", "\0")


@pytest.mark.parametrize("value", ["", "true", "12345", "prod", "production", "letters", "application/json", "8080808"])
def test_short_values_and_words_are_no_known_secrets(value: str) -> None:
    assert not is_keepable(value)


def test_values_are_known_while_their_part_is_open_and_the_strictest_mode_counts() -> None:
    values = KnownValues()
    with values.hiding(["s3cret-one"], mode="off"):
        assert values.mode == "off"
        with values.hiding(["s3cret-two"], mode="trace"):
            assert values.hide("s3cret-one s3cret-two") == "[hidden] [hidden]"
            assert values.mode == "trace"
        assert values.hide("s3cret-one s3cret-two") == "[hidden] s3cret-two"
    assert values.hide("s3cret-one") == "s3cret-one"
    assert values.mode == "on"


def test_what_else_is_hidden_is_a_setting_and_logs_hide_all_with_any() -> None:
    [leak] = leaks("npm", 1, seed=1)
    for mode, seen_of_tools, answers in (("on", False, False), ("trace", False, True), ("off", True, True)):
        with known.hiding(["s3cret-one"], mode=mode):  # pyright: ignore[reportArgumentType]
            text = f"{leak.secret} s3cret-one"
            assert (leak.secret in redact(text), leak.secret in redact_prose(text)) == (seen_of_tools, answers)
            assert leak.secret not in redact_always(text)
            assert "s3cret-one" not in redact(text) + redact_prose(text) + redact_always(text)
