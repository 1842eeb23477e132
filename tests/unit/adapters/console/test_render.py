"""What the terminal is given to show."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from adapters.console import render
from bot.domain.answers import Example
from bot.domain.events import ConversationKey
from bot.domain.turns import CallState, TraceLine, TurnView
from bot.text.terminal import visible

KEY = ConversationKey(platform="console", space="local", channel="default")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

REORDERS = ("\u202e", "\u2067", "\u061c", "&#x202e;", "&#8207;", "<http://a/%E2%80%AE>", "[a](http://b/%E2%80%AEc)")

hostile = st.lists(
    st.sampled_from(
        [
            "\x1b[31m",
            "\x1b]8;;http://x\x07",
            "\x1b]0;t\x1b\\",
            "\x9b2J",
            "\x1b",
            "\x07",
            "&#27;",
            "&#x9b;",
            "\r",
            *REORDERS,
        ]
    )
    | st.text()
).map("".join)


def call(
    state: CallState = "ok",
    *,
    arguments: str = '{"a": 15, "b": "x y"}',
    result: str = "",
    files: tuple[str, ...] = (),
    progress: str = "",
) -> TraceLine:
    return TraceLine(
        call_id="c1",
        server="calculator",
        tool="calculate",
        state=state,
        arguments=arguments,
        result=result,
        seconds=0.26,
        attachments=files,
        progress=progress,
    )


def drawn(text: str, *, width: int = 60) -> str:
    """Return the Markdown as it looks on a terminal without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(render.markdown(text))
    return file.getvalue()


def test_arguments_that_are_nested_deeper_than_can_be_read_are_shown_as_they_are() -> None:
    assert "[[[" in render.call_line(call(arguments="[" * 5_000), width=80)


def words(text: str) -> str:
    return " ".join(text.split())


# --- untrusted text --------------------------------------------------------------------------------------------


@given(text=hostile)
def test_no_text_keeps_anything_that_a_terminal_obeys(text: str) -> None:
    assert not OBEYED.search(visible(text))


@given(text=hostile)
def test_no_markdown_makes_rich_write_an_escape_of_the_texts_own(text: str) -> None:
    # Styles are rich's own escapes and are all that is left to remove.
    shown = re.sub(r"\x1b\[[0-9;]*m", "", drawn(text))
    assert not OBEYED.search(shown)


@given(text=hostile)
def test_no_trace_line_keeps_anything_that_a_terminal_obeys(text: str) -> None:
    line = TraceLine(
        call_id=text, server=text, tool=text, state="error", arguments=text, result=text, attachments=(text,)
    )
    assert not OBEYED.search(render.call_line(line, width=80))
    assert "\n" not in render.call_line(line, width=80)
    assert not OBEYED.search(render.call_details(line))
    assert not OBEYED.search(render.attachment_lines(line))
    view = TurnView(turn_id=1, conversation=KEY, state="running", notice=text, trace=(line,))
    assert not OBEYED.search(render.status(view, elapsed_s=0))
    assert not OBEYED.search(render.numbered([Example(title=text, text=text)]))
    assert not OBEYED.search(render.unknown_command(text, None))


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cc"])))
@example("tab\tand\nnewline stay")
def test_harmless_text_is_shown_unchanged(text: str) -> None:
    assert visible(text) == text


def test_a_whole_escape_sequence_goes_and_leaves_no_rest() -> None:
    assert visible("a\x1b[1;31mred\x1b[0m b\x1b]0;title\x07c\x9b2Jd") == "ared bcd"


# --- the trace -------------------------------------------------------------------------------------------------


def test_an_ended_call_is_one_line_with_sign_name_arguments_and_seconds() -> None:
    assert render.call_line(call(), width=80) == '  ✓ calculator.calculate  a=15, b="x y"  0.3 s'


def test_a_call_that_did_not_succeed_says_how_it_ended() -> None:
    assert render.call_line(call("timeout"), width=80) == '  ✗ calculator.calculate  a=15, b="x y"  0.3 s  timed out'


def test_where_the_encoding_lacks_the_signs_plain_ones_are_used() -> None:
    assert render.call_line(call(), width=80, is_ascii=True).startswith("  + calculator")
    assert render.call_line(call("error"), width=80, is_ascii=True).startswith("  x calculator")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_long_arguments_are_cut_so_that_the_line_fits(width: int) -> None:
    line = render.call_line(call(arguments='{"content": "' + "x" * 500 + '"}'), width=width)
    assert len(line) <= width
    assert line.endswith("…  0.3 s")


def test_arguments_that_are_no_json_object_are_shown_as_they_are() -> None:
    assert "{broken json" in render.call_line(call(arguments="{broken\njson"), width=80)
    assert "[1, 2]" in render.call_line(call(arguments="[1, 2]"), width=80)


def test_details_hold_arguments_and_result_whole() -> None:
    details = render.call_details(call(arguments='{"a": 1}', result="one\ntwo"))
    assert details == '      arguments: {"a": 1}\n      result: one\n        two'


def test_attachments_are_shown_by_name() -> None:
    assert render.attachment_lines(call(files=("a.png", "b.wav"))) == "      file: a.png\n      file: b.wav"


# --- words -----------------------------------------------------------------------------------------------------


def view(text: str = "", *, notice: str = "", trace: tuple[TraceLine, ...] = ()) -> TurnView:
    return TurnView(turn_id=1, conversation=KEY, state="running", text=text, notice=notice, trace=trace)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (None, "thinking (3 s)"),
        (view(), "thinking (3 s)"),
        (view("Hel"), "answering (3 s)"),
        (view("Hel", trace=(call("running"),)), "running calculator.calculate (3 s)"),
        (
            view(trace=(call("running", progress="7 of 9 \x1b[2Jpages"), call("asked", progress="not yet"))),
            "running calculator.calculate (7 of 9 pages), calculator.calculate (3 s)",
        ),
        (view("Hel", trace=(call("ok", progress="9 of 9 pages"),)), "answering (3 s)"),
        (view(notice="The model is busy."), "The model is busy. (3 s)"),
    ],
)
def test_the_status_says_what_the_turn_is_doing(shown: TurnView | None, words: str) -> None:
    assert render.status(shown, elapsed_s=3.2) == words


def test_choices_are_numbered_from_one() -> None:
    choices = [Example(title="Sum", text="What is 1 + 1?"), Example(title="Time", text="What time\nis it?")]
    assert render.numbered(choices).splitlines()[:2] == ["  1. What is 1 + 1?", "  2. What time is it?"]


# --- Markdown --------------------------------------------------------------------------------------------------


def test_markdown_is_drawn() -> None:
    assert words(drawn("# Head\n\nSome **bold** `code`.\n\n- one\n- two")) == "Head Some bold code. • one • two"


def test_html_stays_visible_as_text() -> None:
    assert "Use <div> here" in drawn("Use <div> here")
    assert "<section>" in drawn("<section>\nx\n</section>")


def test_a_line_break_stays_a_line_break() -> None:
    assert [line.strip() for line in drawn("one\ntwo").strip().splitlines()] == ["one", "two"]


def test_a_link_shows_where_it_leads() -> None:
    assert "the page (http://example.com/x)" in drawn("[the page](http://example.com/x)")


@given(lines=st.integers(1, 60), max_lines=st.integers(1, 20))
def test_streamed_text_is_never_higher_than_allowed_and_ends_with_the_newest(lines: int, max_lines: int) -> None:
    console = Console(width=40, file=io.StringIO())
    text = "\n".join(f"line {number}" for number in range(lines))
    shown = console.render_lines(render.growing_text(text, max_lines=max_lines), console.options)
    rows = ["".join(segment.text for segment in row).strip() for row in shown]
    rows = [row for row in rows if row]
    assert len(rows) == min(lines, max_lines)
    assert rows[-1] == f"line {lines - 1}"


def test_a_very_long_streamed_text_is_drawn_from_its_end_alone() -> None:
    console = Console(width=40, file=io.StringIO())
    text = "x" * (10 * render.GROWING_CHARS) + " the end"
    rows = console.render_lines(render.growing_text(text, max_lines=2), console.options)
    assert "the end" in "".join(segment.text for row in rows for segment in row)
