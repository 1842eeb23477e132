"""The lines that were typed in the terminal, and how some of them go."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.history import FileHistory

from bot.text.typed_lines import entry_text, without_conversation, without_older

NOON = datetime(2026, 11, 1, 12, 0)  # noqa: DTZ001  (local, as the file has it)
HERE, THERE = "console/local/main/", "console/local/release%20x/"
# As prompt_toolkit writes it, without a conversation.
OLD = "\n# 2026-10-01 12:00:00.000001\n+typed long ago\n"


def entry(line: str, *, at: datetime = NOON, conversation: str = HERE) -> str:
    return entry_text(line, at=at, conversation=conversation)


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), min_size=1), max_size=5))
def test_prompt_toolkit_reads_every_line_as_it_was_typed(lines: list[str]) -> None:
    text = "".join(entry(line) for line in lines)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "typed"
        file.write_text(text, encoding="utf-8", newline="")
        assert list(FileHistory(str(file)).load_history_strings())[::-1] == lines
    assert without_older(text, NOON.timestamp()) == text
    assert without_conversation(text, THERE) == text


def test_the_lines_of_one_conversation_go_and_those_that_do_not_say_where_they_are_from() -> None:
    text = OLD + entry("here\nand here") + entry("there", conversation=THERE)
    assert without_conversation(text, HERE) == entry("there", conversation=THERE)


def test_lines_that_are_too_old_go_and_those_without_a_time() -> None:
    text = "+no time\n" + OLD + entry("new")
    assert without_older(text, NOON.timestamp()) == entry("new")
    assert without_older(text, NOON.timestamp() + 1) == ""


@settings(max_examples=50)
@given(st.text("+# \n2026-:.main/", max_size=60))
def test_a_file_of_any_content_is_cut(text: str) -> None:
    assert without_conversation(text, HERE).count("\n") <= text.count("\n") + 3
    newer = without_older(text, 0.0)
    assert without_older(newer, 0.0) == newer
