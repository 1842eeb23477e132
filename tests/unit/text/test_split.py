"""Answers are cut where a reader would, within the limit, and the same way however much text follows."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.text.split import cut, split_markdown

LINES = [
    "A sentence of words. And another one!",
    "word",
    "",
    "   ",
    "# Heading",
    "- item one",
    "  - item two",
    "1. first",
    "```python",
    "```",
    "~~~",
    "    ```js",
    "    ```",
    "  - ```sh",
    "> ```",
    "> quoted",
    "print('x')",
    "    deep = 1",
    "| a | b |",
    "|---|---|",
    "| 1 | 2 |",
    "a | b",
    "--|--",
    "x" * 90,
    "日本語。" * 9,
    "e\u0301" * 12,
    "👩‍👩‍👧" * 5,
    "\r",
]

texts = st.lists(st.sampled_from(LINES) | st.text(max_size=12), max_size=40).map("\n".join)
limits = st.integers(min_value=1, max_value=200)


words = st.lists(st.sampled_from(["some", "words", "of", "it."]), min_size=1, max_size=30).map(" ".join)
code_lines = st.lists(st.sampled_from(["", "x = 1", "    y", "| a | b |", "# z"]), max_size=15)
fences = st.builds(
    lambda marker, info, lines: "\n".join([marker + info, *lines, marker]),
    st.sampled_from(["```", "~~~~"]),
    st.sampled_from(["", "py", "js title"]),
    code_lines,
)
tables = st.integers(1, 15).map(lambda rows: "| a | b |\n|---|---|\n" + "\n".join(["| 1 | v |"] * rows))
answers = st.lists(words | fences | tables, max_size=8).map("\n\n".join)


def code_and_cells(text: str) -> tuple[list[str], list[str]]:
    """The lines of code and the cells below the headers that a reader of the rendered text sees."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    code = [line for token in tokens if token.type == "fence" for line in token.content.split("\n") if line.strip()]
    cells = [after.content for token, after in pairwise(tokens) if token.type == "td_open"]
    return code, cells


def marks_at_begin(part: str) -> list[str]:
    """The part without what a cut may have put before it: an opening fence, or two rows."""
    lines = part.split("\n")
    shorter = [part]
    if re.match(r"[ >\t]*(```|~~~)", lines[0]):
        shorter.append("\n".join(lines[1:]))
    if len(lines) > 1 and "|" in lines[0] and "|" in lines[1]:
        shorter.append("\n".join(lines[2:]))
    return shorter


def marks_at_end(part: str) -> list[str]:
    """The part without what a cut may have put behind it: a closing fence."""
    before, _, last = part.rpartition("\n")
    return [part, before] if re.fullmatch(r"[ >\t]*(`{3,}|~{3,})", last) else [part]


def visible(text: str) -> str:
    return "".join(text.split())


def is_told_by(parts: list[str], text: str) -> bool:
    """Tell whether the parts, without the marks of their cuts, are the text but for white space."""
    wanted = visible(text)
    reached = {0}
    for part in parts:
        bodies = {visible(body) for whole in marks_at_begin(part) for body in marks_at_end(whole)}
        reached = {at + len(body) for at in reached for body in bodies if wanted.startswith(body, at)}
    return len(wanted) in reached


@given(text=texts, max_chars=limits)
@example(text=" " * 50 + "x", max_chars=7)
@example(text="```\n" + "\n" * 300 + "x\n```", max_chars=60)
@settings(max_examples=100)
def test_every_part_fits_and_none_is_empty_and_no_text_is_lost(text: str, max_chars: int) -> None:
    parts = split_markdown(text, max_chars=max_chars)
    assert all(0 < len(part) <= max_chars for part in parts)
    assert bool(parts) == bool(text)
    if text.strip():
        assert len(text) <= max_chars or all(part.strip() for part in parts)
        assert is_told_by(parts, text)


@given(text=texts, max_chars=limits, share=st.floats(min_value=0, max_value=1))
@settings(max_examples=100)
def test_finished_parts_stay_as_they_are_when_text_is_added(text: str, max_chars: int, share: float) -> None:
    begun = split_markdown(text[: int(len(text) * share)], max_chars=max_chars)[:-1]
    assert split_markdown(text, max_chars=max_chars)[: len(begun)] == begun


@given(text=texts, max_chars=limits, max_parts=st.integers(min_value=1, max_value=5))
def test_the_last_of_so_many_parts_holds_all_the_rest(text: str, max_chars: int, max_parts: int) -> None:
    parts = split_markdown(text, max_chars=max_chars, max_parts=max_parts)
    unlimited = split_markdown(text, max_chars=max_chars)
    assert len(parts) == min(max_parts, len(unlimited))
    assert parts[: max_parts - 1] == unlimited[: max_parts - 1]
    if text.strip():
        assert is_told_by(parts, text)


def test_a_text_grows_character_by_character_without_moving_a_cut() -> None:
    text = "\n".join(LINES * 3)
    whole = split_markdown(text, max_chars=120)
    for end in range(len(text)):
        begun = split_markdown(text[:end], max_chars=120)[:-1]
        assert whole[: len(begun)] == begun


@given(
    lines=st.lists(st.sampled_from([line for line in LINES if line.strip() and "`" not in line and "|" not in line])),
    max_chars=st.integers(min_value=30, max_value=200),
)
def test_every_part_but_the_last_is_half_full_at_least(lines: list[str], max_chars: int) -> None:
    parts = split_markdown("\n".join(lines), max_chars=max_chars)
    assert all(len(part) >= max_chars // 2 - 1 for part in parts[:-1])


def test_a_text_that_fits_is_left_alone() -> None:
    assert split_markdown("  a\n\n", max_chars=5) == ["  a\n\n"]
    assert split_markdown("", max_chars=5) == []


def test_white_space_alone_is_one_part() -> None:
    assert split_markdown(" \n" * 20, max_chars=5) == [" \n \n "]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two.\n\nthree four\nfive six seven", ["one two.", "three four", "five six seven"]),
        ("one two three\nfour five six seven", ["one two three", "four five six seven"]),
        ("One two three. Four five six", ["One two three.", "Four five six"]),
        ("one two three four five six", ["one two three four", "five six"]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
        ("一二三四五六七八九十一二。三四五六七八九十", ["一二三四五六七八九十一二。", "三四五六七八九十"]),
    ],
    ids=["blank line", "line", "sentence", "space", "hard", "sentence without spaces"],
)
def test_a_part_ends_where_a_reader_would_pause(text: str, parts: list[str]) -> None:
    assert split_markdown(text, max_chars=20) == parts


def test_a_code_block_that_would_be_cut_moves_to_the_next_part() -> None:
    words = "Some words before it, enough for a part."
    block = "```python\nprint(1)\n\nprint(2)\n\nprint(3)\n```"
    assert split_markdown(f"{words}\n\n{block}", max_chars=70) == [words, block]


def test_a_code_block_longer_than_a_part_is_closed_and_opened_again() -> None:
    lines = [f"line {number}" for number in range(10, 30)]
    text = "\n".join(["~~~~python title", *lines, "~~~~", "", "after"])
    parts = split_markdown(text, max_chars=100)
    assert len(parts) > 2
    assert all(part.startswith("~~~~python title\nline") for part in parts)
    assert all(part.endswith("\n~~~~") for part in parts[:-1])
    assert parts[-1].endswith("\n~~~~\n\nafter")
    assert [line for part in parts for line in part.split("\n") if line.startswith("line")] == lines


def test_the_blank_lines_of_a_cut_code_block_stay() -> None:
    text = "```\n" + "\n".join(["a", "", "b", ""] * 20) + "\n```"
    parts = split_markdown(text, max_chars=40)
    code = "\n".join(part.removeprefix("```\n").removesuffix("\n```") for part in parts)
    assert f"```\n{code}\n```" == text


@given(text=answers, max_chars=st.integers(min_value=80, max_value=300))
@settings(max_examples=100)
def test_code_is_still_code_and_a_row_a_row_in_whichever_part_they_are(text: str, max_chars: int) -> None:
    parts = [code_and_cells(part) for part in split_markdown(text, max_chars=max_chars)]
    code = [line for lines, _ in parts for line in lines]
    cells = [cell for _, row in parts for cell in row]
    assert (code, cells) == code_and_cells(text)


def test_a_closing_fence_that_does_not_fit_leaves_no_empty_block_behind() -> None:
    text = "```\n" + "\n".join(["12345678"] * 6) + "\n```\n\nThe end of it."
    for max_chars in range(40, 70):
        assert not any("```\n```" in part for part in split_markdown(text, max_chars=max_chars))


def test_a_code_block_deep_in_a_list_is_still_closed_after_a_cut() -> None:
    body = "\n".join(f"        call({number})" for number in range(12))
    text = f"10. Do this:\n\n    1. And:\n\n        ```sh\n{body}\n        ```\n\nDone. And some more words."
    last = split_markdown(text, max_chars=160)[-1]
    assert last.startswith("```sh\ncall(")
    assert "\n```\n\nDone." in last


def test_a_table_that_fits_a_part_stays_whole() -> None:
    words = "Some words before the table, enough for a part."
    table = "| name | size |\n|---|---|\n| one | 1 |\n| two | 2 |"
    assert split_markdown(f"{words}\n\n{table}", max_chars=75) == [words, table]


def test_a_table_longer_than_a_part_repeats_its_header() -> None:
    header = "| n | text |\n|--:|:--|"
    rows = [f"| {number} | row |" for number in range(10, 37)]
    parts = split_markdown("\n".join([header, *rows, "", "after"]), max_chars=100)
    assert len(parts) > 3
    assert all(part.startswith(f"{header}\n| ") for part in parts)
    assert [line for part in parts for line in part.split("\n") if line.endswith("row |")] == rows
    assert parts[-1].endswith("| 36 | row |\n\nafter")


def test_no_part_ends_between_a_tables_header_and_its_first_row() -> None:
    for before in range(20, 60):
        text = "x" * before + "\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\n" + "words " * 20
        assert not any(part.endswith(("| a | b |", "|---|---|")) for part in split_markdown(text, max_chars=70))


@pytest.mark.parametrize("cluster", ["e\u0301\u0323", "👩‍👩‍👧", "👍🏽", "\U0001f1e9\U0001f1ea", "\\*", "❤\ufe0f"])
def test_a_sign_of_several_characters_is_not_cut(cluster: str) -> None:
    for offset in range(len(cluster)):
        parts = split_markdown("x" * offset + cluster * 40, max_chars=41)
        assert all(len(part.replace("x", "")) % len(cluster) == 0 for part in parts)


def test_a_million_characters_are_cut_whatever_they_are() -> None:
    for piece in ("word ", "x", ".", " \t", "| a ", "```\n", "> ", "\n- ", "-|-\n", "\\", "\u0301"):
        text = piece * (1_000_000 // len(piece))
        parts = split_markdown(text, max_chars=9_000)
        assert all(0 < len(part) <= 9_000 for part in parts)


@given(text=st.text(), max_chars=st.integers(min_value=1, max_value=40))
def test_a_shortened_line_says_that_it_is_one(text: str, max_chars: int) -> None:
    line = cut(text, max_chars)
    assert len(line) <= max_chars and "\n" not in line
    assert line == " ".join(text.split()) or line.endswith("…")
