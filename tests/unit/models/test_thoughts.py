"""Thoughts in an answer, however the endpoint cuts it into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.models.thoughts import ThoughtFilter


def split(text: str, *, size: int) -> tuple[str, str]:
    """Return what the answer says and what was thought, for pieces of that size."""
    parts, said = ThoughtFilter(), ""
    for at in range(0, len(text), size):
        piece = parts.add(text[at : at + size])
        said = piece.text if piece.takes_back else said + piece.text
    return said + parts.end(), parts.thoughts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("plain", "plain", ""),
        ("<think>\nhm <b>\n</think>\n\nYes.", "Yes.", "\nhm <b>\n"),
        ("<THINKING>hm</THINKING>Yes.", "Yes.", "hm"),
        ("<think>a</think>\n<think>b</think>Yes.", "Yes.", "ab"),
        ("Let me see.\n<thought>hm</thought>Yes.", "Let me see.\nYes.", "hm"),
        ("hm\n</think>\n\nYes.", "Yes.", "hm\n"),
        ("<think>never ends", "", "never ends"),
        ("The tag <think> opens.", "The tag <think> opens.", ""),
        ("```\n<think>\nx\n</think>\n```\nok", "```\n<think>\nx\n</think>\n```\nok", ""),
        ("a < b\n<", "a < b\n<", ""),
        ("<thinker>", "<thinker>", ""),
    ],
)
def test_what_was_thought_is_not_said(text: str, said: str, thought: str, size: int) -> None:
    assert split(text, size=size) == (said, thought)


PIECES = st.sampled_from(["<think>", "</think>", "<", "thi", "nk>", "\n", "```", "word ", " ", "</"])


@given(st.lists(PIECES, max_size=12).map("".join), st.integers(1, 9))
def test_the_size_of_the_pieces_changes_nothing(text: str, size: int) -> None:
    assert split(text, size=size) == split(text, size=len(text) or 1)
