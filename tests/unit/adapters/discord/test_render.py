"""What Discord is given to show: within its limits, and no text of a tool, a model or a person can act in a trace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.discord import render
from adapters.discord.markdown import answer_text
from adapters.discord.parse import parse_mark
from adapters.discord.render import Shown, part_message, split_answer
from bot.domain.answers import CommandAnswer, Example
from bot.domain.messages import Attachment
from bot.domain.turns import CallState, TraceLine

# --- the limits, from https://docs.discord.com/developers/resources/message and .../components/reference ---


def check(shown: Shown) -> None:
    """Discord takes such a message: 2,000 characters that are not all white space, five rows, 8 MiB of a file."""
    assert 1 <= len(shown.text) <= 2_000 and shown.text.strip()
    if shown.file is not None:
        assert 0 < len(shown.file.data) < 10 * 1024 * 1024
        shown.file.data.decode()
    assert len(shown.rows) <= 5
    for row in shown.rows:
        check_row(row)
    ids = [component["custom_id"] for row in shown.rows for component in row["components"]]
    assert len(set(ids)) == len(ids)


def check_row(row: dict[str, Any]) -> None:
    assert row["type"] == 1
    kinds = [component["type"] for component in row["components"]]
    assert kinds == [3] or (set(kinds) == {2} and len(kinds) <= 5)
    for component in row["components"]:
        assert 1 <= len(component["custom_id"]) <= 100
        if component["type"] == 2:
            assert component["style"] in (1, 2, 3, 4)
            assert component.get("label") or component["emoji"]["name"]
            assert len(component.get("label", "")) <= 80
        else:
            check_select(component)


def check_select(select: dict[str, Any]) -> None:
    assert len(select["placeholder"]) <= 150
    assert 1 <= len(select["options"]) <= 25
    values = [option["value"] for option in select["options"]]
    assert len(set(values)) == len(values)
    for option in select["options"]:
        assert all(1 <= len(text) <= 100 and text.strip() for text in option.values())


# --- what texts can be ---

HOSTILE = [
    "<@1>", "@everyone", "`", "``", "```", "~~~", "*", "_x_", "||", "|", "-|-", "\n", "\n\n", "# ", "#### ", "> ", "- ",
    "https://example.com", "[a](https://b.c)", "\x1b[31m", "\\", "\u200d", "漢字", "👩‍👩‍👧", "\u2028", "\x00",
]  # fmt: skip
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=12).map("".join)
long_texts = st.tuples(hostile | st.sampled_from(["`", "\x00", "x", "é\n", "漢"]), st.integers(1, 4_000)).map(
    lambda pair: (pair[0] * pair[1])[:30_000]
)
cells = st.sampled_from(["", "a", "**bold**", "漢字", "`x`", "a long cell " * 6, "```", "\\|", "1"]) | st.text(
    alphabet="ab`*|-:# ", max_size=8
)


@st.composite
def tables(draw: st.DrawFn) -> str:
    width, prefix = draw(st.integers(1, 4)), draw(st.sampled_from(["", "", "> ", "- ", "   ", "> - "]))
    rows = [draw(st.lists(cells, min_size=width, max_size=width)) for _ in range(draw(st.integers(1, 12)))]
    rule = draw(st.lists(st.sampled_from(["---", ":-:", "--:"]), min_size=width, max_size=width))
    following = re.sub(r"[^> ]", " ", prefix)
    lines = [f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]]]
    return "\n".join(f"{following if number else prefix}{line}" for number, line in enumerate(lines))


answers = st.lists(tables() | hostile | st.sampled_from(["words " * 90, "```py\ncode\n```"]), max_size=25).map(
    "\n\n".join
)
lines = st.builds(
    TraceLine,
    call_id=st.just("c"),
    server=hostile,
    tool=hostile | long_texts,
    state=st.sampled_from(get_args(CallState)),
    arguments=hostile | long_texts,
    result=hostile | long_texts,
    seconds=st.floats(min_value=0, max_value=1e6),
    attachments=st.lists(hostile | long_texts, max_size=3).map(tuple),
)
many_lines = st.lists(lines, max_size=4) | st.tuples(lines, st.integers(20, 300)).map(lambda pair: [pair[0]] * pair[1])
examples = st.builds(Example, title=hostile | long_texts, text=hostile | long_texts)
command_answers = st.builds(
    CommandAnswer,
    text=answers | long_texts,
    choices=st.lists(examples, max_size=3).map(tuple)
    | st.tuples(examples, st.integers(20, 120)).map(lambda pair: (pair[0],) * pair[1]),
)


def line(
    state: CallState = "ok", *, tool: str = "calculate", result: str = "42", arguments: str = '{"a": 1}'
) -> TraceLine:
    return TraceLine(
        call_id="c1", server="toolbridge", tool=tool, state=state, arguments=arguments, result=result, seconds=0.21
    )


def code_blocks(text: str) -> list[str]:
    """The code blocks as Discord finds them: any three backticks end one."""
    return re.findall(r"```\n(.*?)\n```", text, re.DOTALL)


# --- answers ---

TABLE = """\
| City | Temp | Note |
|------|-----:|------|
| **Oslo** | -3 | `cold` & [more](https://a.b) |
| 東京 | 12 | a \\| b |
"""
SHOWN_TABLE = """\
```
City | Temp | Note
-----+------+--------------------------
Oslo |   -3 | cold & more (https://a.b)
東京 |   12 | a | b
```"""


def test_a_table_becomes_a_code_block_with_aligned_columns() -> None:
    assert answer_text(f"Before\n\n{TABLE}\nAfter **that**") == f"Before\n\n{SHOWN_TABLE}\n\nAfter **that**"


def test_a_table_stays_within_its_list_or_quotation() -> None:
    assert answer_text("> | a | b |\n> |---|---|\n> | 1 | 2 |") == "> ```\n> a | b\n> --+--\n> 1 | 2\n> ```"
    nested = "- item\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |\n- next"
    assert answer_text(nested) == "- item\n\n  ```\n  a | b\n  --+--\n  1 | 2\n  ```\n- next"


def test_nothing_in_a_table_ends_its_code_block() -> None:
    shown = answer_text("| a | b |\n|---|---|\n| ``` | <@1> |\n\nend")
    assert [block.splitlines()[2].replace("\u200d", "") for block in code_blocks(shown)] == ["``` | <@1>"]


def test_headings_that_discord_does_not_know_are_bold() -> None:
    text = "# One\n### Three\n#### Four\n###### **Six** ##\n```\n#### code\n```"
    assert answer_text(text) == "# One\n### Three\n**Four**\n**Six**\n```\n#### code\n```"


@pytest.mark.parametrize("text", ["a | b", "```\n| a |\n|---|\n```", "||hidden||", "- [x] done\n1. a\n", "  a\n\n", ""])
def test_what_discord_can_show_stays_as_it_is(text: str) -> None:
    assert answer_text(text) == text


@given(text=answers)
def test_what_was_made_for_discord_is_not_changed_again(text: str) -> None:
    for part in split_answer(text)[: render.MAX_PARTS - 1]:
        assert answer_text(part) == part


@given(table=tables())
def test_no_table_is_left_and_no_letter_of_it_is_lost(table: str) -> None:
    parser = MarkdownIt("commonmark").enable("table")
    shown = answer_text(table)
    assert not any(token.type == "table_open" for token in parser.parse(shown))
    assert re.sub(r"\W", "", shown) == re.sub(r"\W", "", table)  # of cells beyond the head's as well


@given(text=answers | long_texts)
@example(text="| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 3_000)
@example(text=" " * 30_000)
@example(text="`" * 30_000)
@example(text="a|b\n-|-\n\n" * 2_000)
@example(text="#### " * 2_000)
@settings(deadline=None)
def test_every_part_of_an_answer_is_a_message_that_discord_takes(text: str) -> None:
    parts = split_answer(text)
    assert len(parts) <= 6
    for part in parts:
        check(part_message(part))
    assert all(len(part) <= 1_900 and part_message(part).file is None for part in parts[:5])
    assert bool(parts) == bool(text)


@given(text=answers | long_texts, share=st.floats(0, 1))
@settings(deadline=None)
def test_parts_that_are_full_stay_as_they_are_when_text_is_added(text: str, share: float) -> None:
    begun = split_answer(text[: int(len(text) * share)])[:-1]
    assert split_answer(text)[: len(begun)] == begun


@given(some=st.lists(st.text(alphabet="abc", min_size=1, max_size=12), min_size=1), times=st.integers(1, 2_000))
@settings(deadline=None)
def test_all_of_a_very_long_answer_is_there_the_rest_of_it_as_a_file(some: list[str], times: int) -> None:
    words = (some * times)[:8_000]
    text = " ".join(words)
    messages = [part_message(part) for part in split_answer(text)]
    shown = " ".join(message.text.partition("\n-# ")[0] for message in messages)
    rest = messages[-1].file.data.decode() if messages[-1].file else ""
    assert f"{shown} {rest}".split() == words
    if rest:
        assert len(messages) == 6
        assert messages[-1].text.endswith(f"attached file answer.md ({len(rest):,} more characters).")


def test_code_that_goes_on_in_the_file_is_code_there_too() -> None:
    text = "```py\n" + "".join(f"line = {number}\n" for number in range(2_000)) + "```\n"
    last = part_message(split_answer(text)[-1])
    assert last.text.startswith("```py\n") and last.text.rpartition("\n-# ")[0].endswith("\n```")
    assert last.file is not None
    assert last.file.data.decode().startswith("```py\nline = ") and last.file.data.endswith(b"line = 1999\n```\n")
    assert (last.file.name, last.file.mime_type) == ("answer.md", "text/markdown")


def test_a_part_without_text_says_so() -> None:
    assert part_message(" \n").text == "_(no text)_"
    assert part_message("\n Hello \n").text == "Hello"  # Discord drops white space around a text: it is found as it is


def test_buttons_under_an_answer_mark_its_turn_and_part() -> None:
    assert render.feedback_row(7, 2) == {
        "type": 1,
        "components": [
            {"type": 2, "style": 2, "custom_id": "tb:good:7:2", "emoji": {"name": "👍"}},
            {"type": 2, "style": 2, "custom_id": "tb:bad:7:2", "emoji": {"name": "👎"}},
        ],
    }
    assert render.stop_row(7, 2) == {
        "type": 1,
        "components": [{"type": 2, "style": 4, "custom_id": "tb:stop:7:2", "label": "Stop"}],
    }


@given(turn=st.integers(0, 10**12), part=st.integers(0, 10**6))
def test_a_mark_is_read_back_from_its_button(turn: int, part: int) -> None:
    for row in (render.feedback_row(turn, part), render.stop_row(turn, part), render.details_row(turn, part)):
        check_row(row)
        for button in row["components"]:
            mark = parse_mark(button["custom_id"])
            assert mark is not None and (mark.turn, mark.number) == (turn, part)


# --- small texts ---


@given(notice=hostile | long_texts, question=hostile | long_texts)
def test_notices_and_names_of_threads_are_short(notice: str, question: str) -> None:
    check(Shown(text=render.notice_text(notice)))
    name = render.thread_name(question)
    assert 1 <= len(name) <= 100 and name.isprintable() and name.strip()


def test_the_name_of_a_thread_has_no_secret_of_the_question_also_where_it_is_cut() -> None:
    token = "ghp_" + "a1B2" * 9
    assert render.thread_name(f"push with {token}") == "push with [hidden]"
    assert "a1B2" not in render.thread_name(f"{'please ' * 13}{token}")


# --- the trace ---


def test_the_trace_has_a_line_for_each_call_and_a_button_for_the_details() -> None:
    calls = [line(), line("running", tool="weather"), line("timeout"), line("asked", tool="read_file")]
    shown = render.trace_message(calls, turn_id=7)
    assert shown.text.splitlines() == [
        "✓ calculate · toolbridge · 0.2 s",
        "… weather · toolbridge · running",
        "⏱ calculate · toolbridge · timeout · 0.2 s",
        "◌ read\\_file · toolbridge · asked",
    ]
    button = {"type": 2, "style": 2, "custom_id": "tb:details:7:0", "label": "Details"}
    assert shown.rows == ({"type": 1, "components": [button]},)


def test_a_call_without_an_end_is_unfinished_once_the_turn_is_over() -> None:
    assert render.trace_message([line("running")], turn_id=7, is_running=False).text == (
        "? calculate · toolbridge · unfinished"
    )


def test_the_first_of_very_many_calls_are_summed_up() -> None:
    shown = render.trace_message([line("error")] * 10 + [line()] * 200, turn_id=7)
    first, *others = shown.text.splitlines()
    assert first == f"{210 - len(others)} tool calls before these, 10 without success"
    assert set(others) == {"✓ calculate · toolbridge · 0.2 s"} and len(others) > 50
    check(shown)


def test_a_turn_without_calls_has_a_trace_that_says_so() -> None:
    assert render.trace_message([], turn_id=7).text == "No tool calls"


@given(calls=many_lines)
def test_any_trace_is_a_message_that_discord_takes(calls: Sequence[TraceLine]) -> None:
    check(render.trace_message(calls, turn_id=10**12, is_running=False))
    for number, call in enumerate(calls[:3], start=1):
        check(render.call_message(call, turn_id=10**12, number=number))


@given(name=hostile)
def test_no_name_formats_pings_or_links(name: str) -> None:
    shown = render.trace_message([replace(line(), tool=name, server=name)], turn_id=7).text
    assert len(shown.splitlines()) == 1
    bare = re.sub(r"\\.", "", shown.replace("(no name)", ""))  # what has no backslash before it
    assert not re.search(r"[\\`*_~|<>@#:\[\]()]", bare)


def test_a_call_is_shown_with_arguments_and_result() -> None:
    call = replace(line(result="line 1\n```\nline 2"), attachments=("a_b.png",))
    assert render.call_message(call, turn_id=7, number=2).text == (
        "**2.** ✓ calculate · toolbridge · 0.2 s\n"
        'Arguments\n```\n{"a": 1}\n```\n'
        "Result\n```\nline 1\n`\u200d``\nline 2\n```\n"
        "Files: a\\_b.png"
    )
    assert "Result" not in render.call_message(line("running"), turn_id=7, number=1).text


def test_a_long_result_takes_the_room_that_short_arguments_leave() -> None:
    text = render.call_message(line(result="x" * 9_000), turn_id=7, number=1).text
    assert "Result (the first 1,7" in text and "of 9,000 characters)" in text
    assert max(map(len, code_blocks(text))) > 1_700
    text = render.call_message(line(arguments="y" * 9_000), turn_id=7, number=1).text
    assert max(map(len, code_blocks(text))) > 1_500


@given(arguments=hostile | long_texts, result=hostile | long_texts)
def test_no_argument_and_no_result_leaves_its_code_block(arguments: str, result: str) -> None:
    call = line(arguments=arguments, result=result)
    for text in (render.call_message(call, turn_id=7, number=1).text, render.details_message([call]).text):
        assert text.count("```") == 4
        shown = [block.replace("\u200d", "") for block in code_blocks(text)]
        for block, whole in zip(shown, (arguments, result), strict=True):
            assert whole.replace("\u200d", "").startswith(block) or (block == "(empty)" and not whole.strip())


# --- the details ---


def test_details_that_fit_are_shown_whole() -> None:
    shown = render.details_message([line(), line("error", result="no")], note="The turn is over.")
    assert shown.file is None
    assert shown.text == (
        "The turn is over.\n\n"
        '**1.** ✓ calculate · toolbridge · 0.2 s\nArguments\n```\n{"a": 1}\n```\nResult\n```\n42\n```\n\n'
        '**2.** ✗ calculate · toolbridge · error · 0.2 s\nArguments\n```\n{"a": 1}\n```\nResult\n```\nno\n```'
    )


def test_details_that_do_not_fit_are_a_file_with_all_of_them() -> None:
    long, ticks = "x" * 5_000, "```" * 50
    shown = render.details_message([line(result=long), line(result=ticks, tool="weather")])
    assert shown.text.endswith("\n1 tool call after this one\n-# The file details.txt has all of it.")
    assert shown.file is not None and shown.file.name == "details.txt"
    told = shown.file.data.decode()
    assert long in told and ticks in told and "=== 2. weather · toolbridge · ok · 0.2 s" in told


def test_a_turn_without_tools_has_details_that_say_so() -> None:
    assert render.details_message([]) == Shown(text="No tool was used.")
    assert render.details_message([], note="It is not yours.") == Shown(text="It is not yours.")


@given(calls=many_lines, note=hostile | long_texts)
def test_any_details_are_a_message_that_discord_takes(calls: Sequence[TraceLine], note: str) -> None:
    shown = render.details_message(calls, note=note)
    check(shown)
    if shown.file is not None:
        told = shown.file.data.decode()
        assert all(call.result.encode(errors="replace").decode() in told for call in calls)


def test_a_file_of_details_is_not_larger_than_discord_takes() -> None:
    shown = render.details_message([line(result="é" * 3_000_000)] * 3)
    check(shown)
    assert shown.file is not None and shown.file.data.endswith(b"too long for a file]\n")


# --- commands ---


def answered(text: str = "Hi", *, choices: Sequence[Example] = ()) -> CommandAnswer:
    return CommandAnswer(text=text, choices=tuple(choices))


def test_a_short_answer_has_no_pages() -> None:
    assert render.command_message(answered(), command="help", argument="") == Shown(text="Hi")
    assert render.command_message(answered("\n"), command="help", argument="").text == "(nothing)"


def test_a_long_answer_is_turned_page_by_page_and_each_button_says_where_to() -> None:
    answer = answered("\n".join(f"- tool {number}" for number in range(600)))
    seen: list[str] = []
    page, turns = 0, 0
    while True:
        shown = render.command_message(answer, command="tools", argument="tool", page=page)
        check(shown)
        text, _, count = shown.text.rpartition("\n-# ")
        seen += text.splitlines()
        buttons = {button["label"]: button["custom_id"] for button in shown.rows[0]["components"]}
        assert ("Previous" in buttons) == (page > 0)
        if "Next" not in buttons:
            assert count == f"Page {turns + 1} of {turns + 1}"
            break
        turned = render.parse_page_request(buttons["Next"])
        assert turned is not None and turned[1:] == ("tools", "tool")
        page, turns = turned.page, turns + 1
    assert seen == answer.text.splitlines()


def test_a_page_past_the_end_is_the_last() -> None:
    answer = answered("word " * 1_000)
    last = render.command_message(answer, command="help", argument="", page=2)
    assert render.command_message(answer, command="help", argument="", page=99) == last


def test_examples_are_chosen_from_lists_and_found_again_where_they_are_by_then() -> None:
    examples = [Example(title=f"Title {number}", text=f"Do {number}") for number in range(30)]
    rows = render.command_message(answered(choices=examples), command="examples", argument="").rows
    first, second = [row["components"][0] for row in rows]
    assert (first["custom_id"], second["custom_id"]) == ("tb:example:0", "tb:example:1")
    assert (len(first["options"]), len(second["options"])) == (25, 5)
    option = second["options"][0]
    assert (option["label"], option["description"]) == ("Title 25", "Do 25")
    assert render.find_example(option["value"], examples) == examples[25]
    assert render.find_example(option["value"], examples[20:]) == examples[25]
    assert render.find_example(option["value"], examples[:25]) is None
    assert render.find_example("nonsense", examples) is None


@given(answer=command_answers, argument=hostile | long_texts, page=st.integers(-1, 40))
@settings(deadline=None)
def test_any_answer_of_a_command_is_a_message_that_discord_takes(
    answer: CommandAnswer, argument: str, page: int
) -> None:
    shown = render.command_message(answer, command="history", argument=argument, page=page)
    check(shown)
    for row in shown.rows:
        for component in row["components"]:
            if component["custom_id"].startswith("tb:example:"):
                for option in component["options"]:
                    assert render.find_example(option["value"], answer.choices) in answer.choices


def test_a_file_is_an_attachment_as_any_other() -> None:
    shown = part_message("word " * 5_000)
    assert isinstance(shown.file, Attachment)
