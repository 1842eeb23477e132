"""Marks of speakers that a model copies into its answer: people never see them, at no time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text.echoes import Echoes, without_echoes

MARK = "⟦from U1: Ada L.⟧"
AT_ITS_HEAD = "⟦2026-11-30 08:15 UTC, from U2: Ben⟧"

ANSWERS = [
    (f"{MARK}\nHello.", "Hello."),
    (f"\n{MARK}\n\nHello.", "\n\nHello."),
    (f"{MARK} Hello.", "Hello."),
    (f"Hello.\n{MARK}\nAnd you?", "Hello.\nAnd you?"),
    (f"Hello.\n{MARK}", "Hello.\n"),
    (f"As {MARK} said, it is so.", "As Ada L. said, it is so."),
    (f"That was {MARK}\nand no one else.", "That was Ada L.\nand no one else."),
    (f"> {AT_ITS_HEAD}: on Friday", "> Ben: on Friday"),
    ("⟦from ?: someone⟧\nHello.", "Hello."),
    (MARK, ""),
    ("The meaning ⟦e⟧ of e, and ⟦from a to b⟧.", "The meaning ⟦e⟧ of e, and ⟦from a to b⟧."),
    ("⟦from U1: a\nb⟧", "⟦from U1: a\nb⟧"),
    ("It ends in ⟦from U1: Ad", "It ends in ⟦from U1: Ad"),
]


@pytest.mark.parametrize(("answer", "seen"), ANSWERS)
def test_a_mark_on_its_own_line_goes_and_any_other_becomes_the_name(answer: str, seen: str) -> None:
    assert without_echoes(answer) == seen
    assert without_echoes(answer, is_cut=True) == seen.removesuffix("⟦from U1: Ad")


pieces = st.sampled_from([MARK, AT_ITS_HEAD, "⟦", "⟧", "⟦from U1", ": ", "\n", " ", "word", "⟦e⟧", "⟦from U1: a⟦"])


@settings(max_examples=100)
@given(st.lists(pieces, max_size=8).map("".join), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_text_that_grows_shows_what_the_whole_has_and_takes_nothing_back(text: str, sizes: list[int]) -> None:
    whole, echoes, shown, at = without_echoes(text), Echoes(), "", 0
    for number in range(len(text)):
        size = sizes[number % len(sizes)]
        shown += echoes.add(text[at : at + size])
        at += size
        assert whole.startswith(shown)
    assert shown + echoes.end() == whole


def test_only_what_may_be_a_mark_is_held_back() -> None:
    echoes = Echoes()
    assert echoes.add("The meaning ⟦") == "The meaning "
    assert echoes.add("e⟧ of e") == "⟦e⟧ of e"
    assert len(echoes.add("⟦from U1: " + "a" * 1_000)) > 900
