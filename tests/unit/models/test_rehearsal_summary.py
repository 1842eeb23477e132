"""The summary by the rehearsal model's rules."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bot.models.rehearsal.summary import sum_up


def asked(*lines: object, before: str = "") -> str:
    return "\n".join([before, *(json.dumps(line) for line in lines)])


def test_it_keeps_what_people_state_with_who_did_and_the_files_that_were_written() -> None:
    said = [
        {"user": "Ann", "said": "The deploy is\non Friday"},
        {"user": "Ben", "said": "What is the time?"},
        {"user": "", "said": "greet Ada"},
        {"assistant": "It is noon."},
        {"tool": "toolbridge__save_text_file", "arguments": '{"filename": "plan.txt", "content": "x"}'},
        {"result of": "toolbridge__save_text_file", "text": "The file is saved."},
    ]
    assert sum_up(asked(*said)) == "- Ann said: The deploy is on Friday\n- File written: plan.txt"


def test_it_goes_on_from_the_summary_so_far_and_repeats_nothing() -> None:
    first = sum_up(asked({"user": "Ann", "said": "My name is Ann"}))
    again = sum_up(asked({"user": "Ann", "said": "My name is Ann"}, {"user": "", "said": "It is late"}, before=first))
    assert again == "- Ann said: My name is Ann\n- The user said: It is late"


def test_nothing_that_was_stated_is_said_to_be_so_until_something_is() -> None:
    empty = sum_up(asked({"user": "", "said": "What is new?"}))
    assert empty == "- Nothing was stated so far."
    assert sum_up(asked({"user": "", "said": "It is late"}, before=empty)) == "- The user said: It is late"


def test_it_is_bounded_and_keeps_the_oldest_and_the_newest() -> None:
    summary = ""
    for number in range(300):
        summary = sum_up(asked({"user": "", "said": f"Fact {number} is {'x' * 500}"}, before=summary))
    assert len(summary) < 40 * 230
    assert "Fact 0 is" in summary and "Fact 299 is" in summary


@given(st.text() | st.lists(st.text() | st.dictionaries(st.text(), st.text() | st.none())).map(json.dumps))
def test_whatever_it_is_given_it_gives_a_summary(text: str) -> None:
    assert sum_up(text)
    assert sum_up("{" + text)
