"""What Slack is given to show: within Block Kit's limits, and no text of a tool, a model or a person can act in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.slack import mrkdwn, render
from adapters.slack.render import Blocks
from bot.domain.answers import CommandAnswer, Example, Pick
from bot.domain.events import ConversationKey
from bot.domain.turns import CallState, TraceLine, TurnView

# --- the limits of Block Kit, each from the page of its element under https://docs.slack.dev/reference/block-kit ---


def check_text(text: dict[str, Any], *, longest: int, kinds: tuple[str, ...] = ("plain_text",)) -> None:
    assert text["type"] in kinds
    assert 1 <= len(text["text"]) <= longest and text["text"].strip()


def check_confirm(confirm: dict[str, Any]) -> None:
    for field, longest in {"title": 100, "text": 300, "confirm": 30, "deny": 30}.items():
        check_text(confirm[field], longest=longest)


def check_element(element: dict[str, Any]) -> None:
    assert 1 <= len(element["action_id"]) <= 255
    if "confirm" in element:
        check_confirm(element["confirm"])
    match element["type"]:
        case "button":
            check_text(element["text"], longest=75)
            assert 1 <= len(element["value"]) <= 2_000
        case "static_select":
            check_text(element["placeholder"], longest=150)
            assert 1 <= len(element["options"]) <= 100
            for option in element["options"]:
                check_text(option["text"], longest=75)
                assert 1 <= len(option["value"]) <= 150
        case "feedback_buttons":
            for button in (element["positive_button"], element["negative_button"]):
                check_text(button["text"], longest=75)
                assert 1 <= len(button["value"]) <= 2_000
        case other:
            raise AssertionError(f"no such element here: {other}")


def check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "markdown":
            assert 1 <= len(block["text"]) <= 12_000 and block["text"].strip()
        case "section":
            check_text(block["text"], longest=3_000, kinds=("mrkdwn",))
            if "accessory" in block:
                check_element(block["accessory"])
        case "header":
            check_text(block["text"], longest=150)
        case "context":
            assert 1 <= len(block["elements"]) <= 10
            for text in block["elements"]:
                check_text(text, longest=3_000, kinds=("mrkdwn",))
        case "actions" | "context_actions":
            assert 1 <= len(block["elements"]) <= (25 if block["type"] == "actions" else 5)
            for element in block["elements"]:
                check_element(element)
        case "rich_text":
            assert block["elements"]
            for part in block["elements"]:
                assert part["type"] in ("rich_text_section", "rich_text_preformatted")
                assert all(text["type"] == "text" and text["text"] for text in part["elements"])
                assert sum(len(text["text"]) for text in part["elements"]) <= 3_000
        case other:
            raise AssertionError(f"no such block here: {other}")


def check_blocks(blocks: Blocks, *, most: int) -> None:
    assert 1 <= len(blocks) <= most
    for block in blocks:
        check_block(block)
    ids = [element["action_id"] for block in blocks for element in block.get("elements", []) if "action_id" in element]
    assert len(set(ids)) == len(ids)


def check_message(message: tuple[Blocks, str]) -> None:
    blocks, text = message
    check_blocks(blocks, most=50)
    assert len(text) <= 3_000
    # https://github.com/slackapi/bolt-js/issues/2509: all blocks of a message together
    shown = [block["text"] if block["type"] == "markdown" else "" for block in blocks]
    assert sum(map(len, [*shown, *texts_of(blocks)])) <= 13_000


def check_view(view: dict[str, Any]) -> None:
    check_blocks(view["blocks"], most=100)
    assert all(block["type"] != "markdown" for block in view["blocks"])
    assert len(json.dumps(view, ensure_ascii=False).encode()) <= 250_000
    if view["type"] == "modal":
        check_text(view["title"], longest=24)
        check_text(view["close"], longest=24)


def texts_of(value: object) -> Iterator[str]:
    """Every text of a text object or a rich text, at any depth."""
    if isinstance(value, dict):
        if value.get("type") in ("mrkdwn", "plain_text", "text"):
            yield str(value["text"])
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def mrkdwn_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield str(value["text"])
        for inner in value.values():
            yield from mrkdwn_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mrkdwn_of(inner)


HOSTILE = [
    "<!channel>",
    "<@U0123>",
    "`",
    "```",
    "*",
    "_x_",
    "~",
    "&",
    "&amp;",
    "<http://x|y>",
    "\n",
    "\x1b[31m",
    "\\",
    '"',
]
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=12).map("".join)
long_texts = st.tuples(hostile | st.sampled_from(["&", "\x00", "x", "é\n", "<!here>"]), st.integers(1, 4_000)).map(
    lambda pair: (pair[0] * pair[1])[:60_000]
)
lines = st.builds(
    TraceLine,
    call_id=st.just("c"),
    server=hostile,
    tool=hostile,
    state=st.sampled_from(get_args(CallState)),
    arguments=long_texts,
    result=long_texts,
    seconds=st.floats(min_value=0, max_value=1e6),
    attachments=st.lists(hostile, max_size=3).map(tuple),
)
many_lines = st.lists(lines, max_size=4) | st.tuples(lines, st.integers(20, 300)).map(lambda pair: [pair[0]] * pair[1])
examples = st.builds(Example, title=hostile, text=hostile | long_texts)
picks = st.builds(
    Pick,
    conversation=st.builds(
        ConversationKey,
        platform=st.just("slack"),
        space=st.just("T1"),
        channel=st.just("C1"),
        thread=st.just("1700000000.000100") | st.text(max_size=200),
    ),
    label=hostile,
)
answers = st.builds(
    CommandAnswer,
    text=hostile | long_texts,
    choices=st.lists(examples, max_size=40).map(tuple),
    picks=(
        st.lists(picks, max_size=3) | st.tuples(picks, st.integers(90, 120)).map(lambda pair: [pair[0]] * pair[1])
    ).map(tuple),
)


def line(
    state: CallState = "ok", *, tool: str = "calculate", result: str = "42", arguments: str = '{"a": 1}'
) -> TraceLine:
    return TraceLine(
        call_id="c1", server="toolbridge", tool=tool, state=state, arguments=arguments, result=result, seconds=0.21
    )


# --- answers ---


def test_a_part_of_an_answer_is_one_markdown_block() -> None:
    assert render.answer_blocks("**Hello**", turn_id=7, is_last=False) == [{"type": "markdown", "text": "**Hello**"}]


def test_under_the_last_part_people_can_rate_the_answer() -> None:
    assert render.answer_blocks("Hello", turn_id=7, is_last=True)[1:] == [
        {
            "type": "context_actions",
            "elements": [
                {
                    "type": "feedback_buttons",
                    "action_id": "tb:feedback",
                    "positive_button": {"text": {"type": "plain_text", "text": "Good answer"}, "value": "good:7"},
                    "negative_button": {"text": {"type": "plain_text", "text": "Bad answer"}, "value": "bad:7"},
                }
            ],
        }
    ]


@given(text=long_texts | st.just(" ").map(lambda space: space * 9_000))
@example(text="")
@example(text="<!here" * 1_500)
def test_any_part_of_an_answer_is_a_message_that_slack_takes(text: str) -> None:
    text = text[:9_000]
    blocks = render.answer_blocks(text, turn_id=7, is_last=True)
    check_message((blocks, render.notification(text)))
    shown = blocks[0]["text"].replace("\u2060", "")
    assert shown == text.replace("\u2060", "") or not text.strip()


@pytest.mark.parametrize(
    "ping",
    [
        "<!channel>",
        "<!here|here>",
        "<!everyone>",
        "<!subteam^S12|x>",
        "<@U0123AB>",
        "<#C0123|general>",
        "<!date^1^{date}|x>",
    ],
)
def test_what_would_ping_is_shown_as_it_was_written(ping: str) -> None:
    assert render.neutralize(f"a {ping} b") == f"a <\u2060{ping[1:]} b"


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "<!DOCTYPE html>",
        "<!-- note -->",
        "<https://example.com>",
        "vector<@annotated>",
        "@channel",
        "#include <a>",
    ],
)
def test_what_does_not_ping_stays_as_it_is(text: str) -> None:
    assert render.neutralize(text) == text


@given(text=hostile)
def test_to_neutralize_again_changes_nothing(text: str) -> None:
    once = render.neutralize(text)
    assert render.neutralize(once) == once
    assert once.replace("\u2060", "") == text.replace("\u2060", "")


def test_a_notification_is_the_answer_without_its_signs() -> None:
    text = "# Title\n\nA **bold** [link](https://example.com/x) & `code` <!here>\n\n```py\na < b\n```\n- item"
    assert render.notification(text) == "Title A bold link &amp; code &lt;!here&gt; a &lt; b item"


@given(text=long_texts)
def test_a_notification_pings_nobody_and_is_not_too_long(text: str) -> None:
    shown = render.notification(text)
    assert len(shown) <= 3_000
    assert not re.search(r"[<>\n]|&(?!amp;|lt;|gt;)", shown)


# --- status ---


def view(*trace: TraceLine, notice: str = "") -> TurnView:
    key = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.1")
    return TurnView(turn_id=1, conversation=key, state="running", trace=trace, notice=notice)


def test_the_status_says_what_is_being_done() -> None:
    assert render.status_text(view()) == "is thinking…"
    assert render.status_text(view(line("ok"), line("running", tool="weather"))) == "is using weather…"
    assert render.status_text(view(line("running"), notice="The model is busy.")) == "The model is busy."


@given(tools=st.lists(hostile, max_size=5), notice=hostile)
def test_the_status_is_one_short_line(tools: list[str], notice: str) -> None:
    status = render.status_text(view(*(line("running", tool=tool) for tool in tools), notice=notice))
    assert len(status) <= 100 and "\n" not in status


# --- the trace ---


def test_the_trace_has_a_line_for_each_call_and_a_button_for_the_details() -> None:
    calls = [line(), line("running", tool="weather"), line("timeout"), line("asked", tool="read_file")]
    blocks, text = render.trace_blocks(calls, turn_id=7, is_running=True)
    assert blocks == [
        {
            "type": "context",
            "elements": [
                {
                    "type": "mrkdwn",
                    "verbatim": True,
                    "text": "✓ calculate · toolbridge · 0.2 s\n"
                    "… weather · toolbridge · running\n"
                    "⏱ calculate · toolbridge · timeout · 0.2 s\n"
                    "◌ read_file · toolbridge · asked",
                }
            ],
        },
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "action_id": "tb:details",
                    "text": {"type": "plain_text", "text": "Details"},
                    "value": "7",
                }
            ],
        },
    ]
    assert text == "4 tool calls, 1 without success"


def test_a_call_that_never_ended_is_not_shown_as_running_for_ever() -> None:
    blocks, _ = render.trace_blocks([line("running")], turn_id=7, is_running=False)
    assert blocks[0]["elements"][0]["text"] == "? calculate · toolbridge · unfinished"


def test_of_very_many_calls_the_first_are_summed_up() -> None:
    calls = [line("error")] * 10 + [line(tool=f"tool{number}") for number in range(25)]
    shown = "\n".join(mrkdwn_of(render.trace_blocks(calls, turn_id=7)[0])).split("\n")
    assert shown[0] == "10 tool calls before these, 10 without success"
    assert [entry.split()[1] for entry in shown[1:]] == [f"tool{number}" for number in range(25)]


@given(trace=many_lines, is_running=st.booleans())
@example(trace=[line(tool="x" * 9_000)] * 30, is_running=True)
@settings(deadline=None)
def test_any_trace_is_a_message_that_slack_takes(trace: list[TraceLine], is_running: bool) -> None:
    check_message(render.trace_blocks(trace, turn_id=7, is_running=is_running))
    for number, call in enumerate(trace[:3], start=1):
        check_message(render.call_blocks(call, turn_id=7, number=number))


@given(name=hostile)
@example(name="_x_ ~y~ *z* `c` <!channel>")
@example(name="<!channel><!channel><http://x|y>000000_x_```")
@example(name="<!channel><!channel>```<http://x|y>00000~00")
def test_no_name_of_a_tool_formats_mentions_or_links_anything(name: str) -> None:
    call = TraceLine(call_id="c", server=name, tool=name, state="ok", arguments="{}", attachments=(name,))
    made = [render.trace_blocks([call], turn_id=7), render.call_blocks(call, turn_id=7, number=1)]
    for text in mrkdwn_of([*made[0][0], *made[1][0], *render.details_view([call], turn_id=7, note=name)["blocks"]]):
        inner = text.replace("*1.*", "")
        assert not re.search(r"[<>*`]|&(?!amp;|lt;|gt;)", inner)
        assert not re.search(r"(?<![^\W_])_\S|\S_(?![^\W_])", inner)
        assert not re.search(r"(?<!\w)~\S|\S~(?!\w)", inner)


def test_a_full_trace_shows_a_calls_arguments_and_result_as_they_are() -> None:
    blocks, text = render.call_blocks(line(result="```\n<!channel>"), turn_id=7, number=2)
    assert text == "2. ✓ calculate · toolbridge · 0.2 s"
    assert list(texts_of(blocks[1])) == ["Arguments", '{"a": 1}', "Result", "```\n<!channel>"]
    assert [part["type"] for part in blocks[1]["elements"]] == ["rich_text_section", "rich_text_preformatted"] * 2


def test_a_full_trace_says_how_much_of_a_result_it_shows() -> None:
    blocks, _ = render.call_blocks(line(result="x" * 5_000), turn_id=7, number=1)
    assert list(texts_of(blocks[1]))[2:] == ["Result (the first 2,900 of 5,000 characters)", "x" * 2_900]


# --- details ---


def preformatted(blocks: Sequence[dict[str, Any]], *, after: str) -> str:
    """The text under a label, over all blocks that it takes."""
    parts = [part for block in blocks if block["type"] == "rich_text" for part in block["elements"]]
    found, is_found = "", False
    for part in parts:
        text = part["elements"][0]["text"]
        if part["type"] == "rich_text_section":
            is_found = text.startswith(after)
        elif is_found:
            found += text
    return found


def test_the_details_show_exactly_what_ran() -> None:
    result = "\n".join(f"row {number}\t<b>&amp;</b> `x`" for number in range(1_000))
    arguments = json.dumps({"text": "x" * 4_000})
    made = render.details_view([line(arguments=arguments, result=result)], turn_id=7)
    check_view(made)
    assert made["title"]["text"] == "What ran"
    assert preformatted(made["blocks"], after="Arguments") == arguments
    assert preformatted(made["blocks"], after="Result") == result
    assert "tb:whole" not in json.dumps(made)


def test_a_result_that_no_view_can_hold_is_offered_as_a_file() -> None:
    made = render.details_view([line(), line(result="y" * 300_000)], turn_id=7)
    shown = preformatted(made["blocks"], after="Result").replace("42", "")
    offer = made["blocks"][-1]
    assert offer["text"]["text"] == f"The first {len(shown):,} of 300,000 characters of this result."
    assert offer["accessory"]["action_id"] == "tb:whole:2"
    assert json.loads(offer["accessory"]["value"]) == {"turn": 7, "call": 2}
    assert offer["accessory"]["text"]["text"] == "Whole result as a file"


def test_the_details_begin_with_the_note() -> None:
    made = render.details_view([], turn_id=7, note="They are kept for <30 days>.")
    assert list(texts_of(made["blocks"])) == ["They are kept for &lt;30 days&gt;."]
    assert list(texts_of(render.details_view([], turn_id=7)["blocks"])) == ["No tool was used."]


@given(trace=many_lines, note=hostile | long_texts)
@settings(deadline=None, max_examples=60)
def test_any_details_are_a_view_that_slack_takes(trace: list[TraceLine], note: str) -> None:
    made = render.details_view(trace, turn_id=7, note=note)
    check_view(made)


@given(call=lines, others=st.integers(0, 40))
@settings(deadline=None)
def test_a_result_is_shown_whole_or_offered_whole(call: TraceLine, others: int) -> None:
    call = replace(call, state="ok", result=call.result or "x")
    blocks = render.details_view([call, *[line(result="")] * others], turn_id=7)["blocks"]
    shown = preformatted(blocks, after="Result").removesuffix("(empty)" * min(others, render.MAX_VIEW_CALLS - 1))
    assert call.result.startswith(shown)
    assert (shown != call.result) is ("tb:whole:1" in json.dumps(blocks))


# --- commands ---


def command(answer: CommandAnswer, *, name: str = "tools", argument: str = "", page: int = 0) -> tuple[Blocks, str]:
    return render.command_blocks(answer, command=name, argument=argument, page=page, place="1.5")


def test_a_short_answer_is_one_markdown_block() -> None:
    assert command(CommandAnswer(text="**Nothing** is running.")) == (
        [{"type": "markdown", "text": "**Nothing** is running."}],
        "Nothing is running.",
    )


def test_a_long_answer_is_turned_page_by_page() -> None:
    answer = CommandAnswer(text="\n".join(f"- `tool{number}`: does something useful" for number in range(300)))
    read: list[str] = []
    page: int | None = 0
    while page is not None:
        blocks, _ = command(answer, argument="use", page=page)
        read.append(blocks[0]["text"])
        buttons = {button["action_id"]: json.loads(button["value"]) for button in blocks[2]["elements"]}
        assert all(
            asked | {"page": 0} == {"command": "tools", "argument": "use", "thread": "1.5", "page": 0}
            for asked in buttons.values()
        )
        assert ("tb:page:prev" in buttons) is (page > 0)
        page = buttons["tb:page:next"]["page"] if "tb:page:next" in buttons else None
    assert len(read) > 2
    assert "\n".join(read) == answer.text
    assert command(answer, page=99)[0][0]["text"] == read[-1]


def test_examples_whose_buttons_would_be_too_much_for_one_message_have_none() -> None:
    choices = tuple(
        Example(title=f"Example {number}", text=str(number) * size) for number, size in enumerate([9, 1_990] * 5)
    )
    blocks, _ = command(CommandAnswer(text="**Examples**", choices=choices))
    buttons = [button for block in blocks[1:] for button in block["elements"]]
    assert [button["text"]["text"] for button in buttons] == [f"Example {number}" for number in (0, 2, 4, 6, 8)]
    choices = tuple(Example(title=f"Example {number}", text="x" * 1_500) for number in range(10))
    check_message(command(CommandAnswer(text="**Examples**", choices=choices)))
    blocks, _ = command(CommandAnswer(text="**Examples**", choices=choices))
    assert sum(len(button["value"]) for block in blocks[1:] for button in block["elements"]) <= 6_000


def test_every_example_has_its_button() -> None:
    choices = tuple(Example(title=f"Example {number}", text=f"Do {number}") for number in range(1, 8))
    blocks, _ = command(CommandAnswer(text="**Examples**", choices=choices))
    assert [len(block["elements"]) for block in blocks[1:]] == [5, 2]
    assert blocks[2]["elements"][1] == {
        "type": "button",
        "action_id": "tb:example:7",
        "text": {"type": "plain_text", "text": "Example 7"},
        "value": '{"text":"Do 7","thread":"1.5"}',
    }


def test_a_conversation_is_picked_and_to_forget_it_is_confirmed() -> None:
    key = ConversationKey(platform="slack", space="T1", channel="C1", thread="1700000000.000100")
    answer = CommandAnswer(text="Which?", picks=(Pick(conversation=key, label="About the weather"),))
    picker = command(answer, name="history")[0][-1]["elements"][0]
    assert picker == {
        "type": "static_select",
        "action_id": "tb:pick",
        "placeholder": {"type": "plain_text", "text": "Choose a conversation"},
        "options": [
            {
                "text": {"type": "plain_text", "text": "About the weather"},
                "value": '{"c":"history","t":"1700000000.000100"}',
            }
        ],
    }
    assert command(answer, name="clear")[0][-1]["elements"][0]["confirm"]["style"] == "danger"


@given(answer=answers, argument=long_texts, page=st.integers(-1, 30), name=st.sampled_from(["tools", "clear"]))
@example(answer=CommandAnswer(text="\n"), argument="", page=0, name="tools")
@settings(deadline=None, max_examples=60)
def test_any_answer_to_a_command_is_a_message_that_slack_takes(
    answer: CommandAnswer, argument: str, page: int, name: str
) -> None:
    blocks, text = command(answer, name=name, argument=argument, page=page)
    check_message(([block for block in blocks if "tb:pick" not in json.dumps(block)], text))
    check_blocks(blocks, most=50)


@given(answer=answers)
@example(answer=CommandAnswer(text=" \n" * 4_000))
@example(answer=CommandAnswer(text="word " * 80_000))
@settings(deadline=None, max_examples=60)
def test_any_home_tab_and_any_shortcut_is_a_view_that_slack_takes(answer: CommandAnswer) -> None:
    check_view(render.home_view(answer))
    check_view(render.shortcut_view(history=answer, tools=answer))


def test_the_home_tab_shows_the_text_and_the_examples() -> None:
    made = render.home_view(CommandAnswer(text="**Hello**", choices=(Example(title="Try", text="Do it"),)))
    assert made["type"] == "home"
    assert made["blocks"][0] == {"type": "section", "text": {"type": "mrkdwn", "text": "*Hello*", "verbatim": True}}
    assert json.loads(made["blocks"][1]["elements"][0]["value"]) == {"text": "Do it", "thread": ""}


def test_the_shortcut_shows_history_and_tools_and_can_stop_and_clear() -> None:
    made = render.shortcut_view(history=CommandAnswer(text="- one"), tools=CommandAnswer(text="`calculate`"))
    buttons = {button["action_id"]: button for button in made["blocks"][0]["elements"]}
    assert list(buttons) == ["tb:run:stop", "tb:run:clear", "tb:run:usage"]
    assert "confirm" in buttons["tb:run:clear"]
    assert list(texts_of(made["blocks"][1:])) == ["History", "• one", "Tools", "`calculate`"]


# --- mrkdwn ---


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** and *it* and ~~gone~~", "*bold* and _it_ and ~gone~"),
        ("## A **big** title", "*A big title*"),
        ("`a < b` & c", "`a &lt; b` &amp; c"),
        ("- one\n- two\n  1. a\n  2. b", "• one\n• two\n    1. a\n    2. b"),
        ("3. three\n4. four", "3. three\n4. four"),
        ("[a|b](https://example.com/?a=1&b=|)", "<https://example.com/?a=1&amp;b=%7C|a¦b>"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ("[x](ftp://example.com)", "x"),
        ("> one\n> two", "> one\n> two"),
        ("```py\nif a < b:\n    `x`\n```", "```\nif a &lt; b:\n    `x`\n```"),
        ("````\n```\n````", "```\n`\u2060`\u2060`\n```"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```"),
        ("\\*not bold\\* and \\_x\\_ and snake_case", "\u2217not bold\u2217 and \u02cdx\u02cd and snake_case"),
        ("<b>&amp;</b>", "&lt;b&gt;&amp;&lt;/b&gt;"),
        ("one\ntwo\n\nthree\n\n---", "one\ntwo\n\nthree\n\n———"),
    ],
)
def test_markdown_becomes_slacks_own_markup(markdown: str, mrkdwn: str) -> None:
    assert render.to_mrkdwn(markdown) == mrkdwn


@given(markdown=hostile)
def test_no_markdown_becomes_a_mention(markdown: str) -> None:
    shown = render.to_mrkdwn(markdown)
    assert not re.search(r"<(?!https?://|mailto:)", shown)
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)


def words_of(convert: Callable[[str], str], text: str) -> list[str]:
    return re.findall(r"[a-z]+", convert(text))


@given(
    words=st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=12),
    sign=st.sampled_from(["- ", "1. ", "> ", "# ", ""]),
)
def test_no_word_is_lost_on_the_way_to_mrkdwn(words: list[str], sign: str) -> None:
    text = "\n".join(f"{sign}**{word}** {word}" for word in words)
    assert words_of(render.to_mrkdwn, text) == words_of(str, text)


@pytest.mark.parametrize(("channel", "where"), [("C1", "your message in <#C1>"), ("D1", "your message")])
def test_a_refused_answer_names_the_channel_where_it_has_a_name(channel: str, where: str) -> None:
    conversation = ConversationKey(platform="slack", space="T1", channel=channel, thread="1.2")
    [block] = render.refused_blocks(conversation, "", "It is *closed*.")
    assert block["text"]["text"].startswith(f"My answer to {where} could not be posted there.")


def test_a_moment_reads_well_after_on_whatever_day_it_is() -> None:
    sentence = "It opens again on [2026-11-30 00:00 UTC](time:1795996800)."
    assert mrkdwn.to_mrkdwn(sentence) == (
        "It opens again on <!date^1795996800^{date_short} at {time}|2026-11-30 00:00 UTC>."
    )


def test_a_window_says_a_moment_by_the_operators_clocks() -> None:
    (block,) = render.notice_view("Form", "It opens again on [2026-11-30 00:00 UTC](time:1796083200).")["blocks"]
    assert block["text"] == {"type": "plain_text", "text": "It opens again on 2026-11-30 00:00 UTC."}
