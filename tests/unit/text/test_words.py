"""The words of names and texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text.words import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("get_user_info", ["get", "user", "info"]),
        ("getUserInfo", ["get", "user", "info"]),
        ("HTTPServer.listAll2", ["http", "server", "list", "all", "2"]),
        ("größe-ändern", ["grösse", "ändern"]),
        ("погода_время", ["погода", "время"]),
        ("天気予報", ["天", "気", "予", "報"]),
        ("show天気2", ["show", "天", "気", "2"]),
        ("__ - .", []),
        ("half \ud800 pair", ["half", "pair"]),
    ],
)
def test_a_text_is_split_where_people_see_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(st.text())
def test_words_are_the_same_once_they_are_split(text: str) -> None:
    found = words(text)
    assert words(" ".join(found)) == found
