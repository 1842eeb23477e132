"""Merging settings into a `.env`: what is wanted is read back, and everything else stands."""

from __future__ import annotations

import io

import pytest
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.setup.env_file import Change, merge, values_of
from bot.domain.errors import SettingsError

MINE = "# my model\nexport OPENAI_MODEL=old   # a comment\n\nTZ='Europe/Berlin'\n#OPENAI_BASE_URL=http://x/v1\n# end"


def test_a_setting_is_changed_where_it_stands_and_its_comment_stays() -> None:
    text, changes = merge(MINE, {"OPENAI_MODEL": "qwen3:8b"})
    assert text == MINE.replace("=old ", "=qwen3:8b ")
    assert changes == [Change(name="OPENAI_MODEL", before="old", after="qwen3:8b")]


def test_a_new_setting_goes_below_the_comment_that_shows_it_or_to_the_end() -> None:
    text, _ = merge(MINE, {"OPENAI_BASE_URL": "http://y/v1", "SLACK_BOT_TOKEN": "xoxb-1"})
    assert text == MINE.replace("x/v1\n", "x/v1\nOPENAI_BASE_URL=http://y/v1\n") + "\nSLACK_BOT_TOKEN=xoxb-1\n"


def test_a_setting_that_goes_is_commented_out_and_comes_back_below_its_comment() -> None:
    text, changes = merge(MINE, {"OPENAI_MODEL": None})
    assert text == MINE.replace("export OPENAI_MODEL", "# export OPENAI_MODEL")
    assert changes == [Change(name="OPENAI_MODEL", before="old", after=None)]
    again, _ = merge(text, {"OPENAI_MODEL": "new"})
    assert "a comment\nOPENAI_MODEL=new\n" in again


def test_what_is_there_already_changes_nothing() -> None:
    assert merge(MINE, {"OPENAI_MODEL": "old", "TZ": "Europe/Berlin", "SLACK_BOT_TOKEN": None}) == (MINE, [])


def test_an_empty_file_and_one_with_windows_line_ends() -> None:
    assert merge("", {"A": "1"})[0] == "A=1\n"
    assert merge("A=1\r\nB=2\r\n", {"A": "3", "C": "4"})[0] == "A=3\r\nB=2\r\nC=4\r\n"


def test_a_lower_case_name_is_the_same_setting_and_of_two_lines_the_last_counts() -> None:
    assert merge("openai_model=a\nOPENAI_MODEL=b\n", {"OPENAI_MODEL": "c"})[0] == "openai_model=a\nOPENAI_MODEL=c\n"
    assert values_of(merge("openai_model=a\nOPENAI_MODEL=b\n", {"OPENAI_MODEL": None})[0]) == {}


@pytest.mark.parametrize(
    "value", ["two words", "it's", 'say "x"', "a #b", "${HOME}", "$5", r"C:\x\y", "ключ", "#", "'"]
)
def test_any_value_is_read_back_as_it_was(value: str) -> None:
    assert values_of(merge(MINE, {"A": value})[0])["A"] == value


def test_a_quotation_mark_without_a_partner_is_refused_with_the_cure() -> None:
    with pytest.raises(SettingsError, match="no partner"):
        merge("A='open\nB=1\n", {"C": "it's"})


NAMES = st.sampled_from(["OPENAI_MODEL", "SLACK_BOT_TOKEN", "TZ", "openai_model", "A"])
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" "), max_size=12)
QUOTED = st.builds("{}{}{}".format, quote := st.sampled_from(["", "'", '"']), VALUES, quote)
LINES = st.one_of(
    st.builds(
        "{}{}={}{}".format,
        st.sampled_from(["", "export ", "  ", "#", "# "]),
        NAMES,
        QUOTED,
        st.sampled_from(["", " # why"]),
    ),
    st.builds("# {}".format, VALUES),
    st.sampled_from(["", "   ", "A", "just words", 'B="two\nlines"']),
)
FILES = st.builds(lambda lines, end: end.join(lines), st.lists(LINES, max_size=6), st.sampled_from(["\n", "\r\n"]))
WANTED = st.dictionaries(
    st.sampled_from(["OPENAI_MODEL", "SLACK_BOT_TOKEN", "A", "NEW"]), VALUES.filter(bool) | st.none(), max_size=3
)


@given(text=FILES, wanted=WANTED)
def test_whatever_the_file_is_all_is_read_back_or_nothing_is_merged(text: str, wanted: dict[str, str | None]) -> None:
    try:
        merged, changes = merge(text, wanted)
    except SettingsError:
        return
    found = read(merged)
    for name, value in wanted.items():
        assert found.get(name) == value
    assert {name: value for name, value in found.items() if name not in wanted} == {
        name: value for name, value in read(text).items() if name not in wanted
    }
    assert [comment for comment in comments_of(text) if comment not in comments_of(merged)] == []
    assert merge(merged, wanted) == (merged, [])
    assert (merged == text) == (not changes)


@given(wanted=WANTED)
def test_in_a_sound_file_only_a_backslash_at_the_end_is_refused(wanted: dict[str, str | None]) -> None:
    if not any((value or "").endswith("\\") for value in wanted.values()):
        assert read(merge(MINE, wanted)[0]).items() >= {n: v for n, v in wanted.items() if v is not None}.items()


def read(text: str) -> dict[str, str]:
    values = dotenv_values(stream=io.StringIO(text, newline=""), interpolate=False)
    return {name.upper(): value.replace("${:-$}{", "${") for name, value in values.items() if value}


def comments_of(text: str) -> list[str]:
    """Return the comments; what looks like one inside of quotation marks is none."""
    lines = [one for one in parse_stream(io.StringIO(text, newline="")) if one.key is None and not one.error]
    return [line for one in lines if (line := one.original.string.strip()).startswith("#")]
