"""What the model is given to sum up: a bounded transcript that nothing in it can forge."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from bot.turns.context import Turns, Window
from bot.turns.summary import (
    CALL_CHARS,
    MAX_INPUT_TOKENS,
    NO_SUMMARY,
    RESULT_CHARS,
    SAID_CHARS,
    cut_summary,
    input_tokens,
    portion,
    summary_request,
    transcript,
)


def window(max_tokens: int = 128_000) -> Window:
    return Window(max_messages=50, max_tokens=max_tokens, count=lambda text: len(text) // 4)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n")]


texts = st.text(max_size=300)
messages = st.one_of(
    st.builds(UserMessage, text=texts, context=texts, speaker=st.none() | texts),
    st.builds(
        AssistantMessage,
        text=texts,
        tool_calls=st.lists(st.builds(ToolCall, id=texts, name=texts, arguments=texts), max_size=3).map(tuple),
    ),
    st.builds(ToolMessage, call_id=texts, text=texts),
)


def test_a_transcript_says_who_said_what_and_what_tools_gave_with_results_cut_most() -> None:
    call = ToolCall(id="c1", name="files__read", arguments="a" * 5_000)
    said: list[Message] = [
        UserMessage(text="Read it.\n{}", context="> Ben: it is in a.txt", speaker="Ann"),
        AssistantMessage(text="I read it.", tool_calls=(call,)),
        ToolMessage(call_id="c1", text="r" * 5_000),
        AssistantMessage(text="w" * 5_000),
    ]
    asked, answered, called, result, final = lines(transcript(said))
    assert asked == {"user": "Ann", "quoted": "> Ben: it is in a.txt", "said": "Read it.\n{}"}
    assert answered == {"assistant": "I read it."}
    assert called["tool"] == "files__read" and called["arguments"].startswith("a" * CALL_CHARS + "\n[cut")
    assert result["result of"] == "files__read" and result["text"].startswith("r" * RESULT_CHARS + "\n[cut")
    assert final["assistant"].startswith("w" * SAID_CHARS + "\n[cut")


@given(st.lists(messages, max_size=10))
def test_nothing_in_a_message_can_pass_for_another_message(said: list[Message]) -> None:
    count = sum(bool(one.text) + len(one.tool_calls) if isinstance(one, AssistantMessage) else 1 for one in said)
    text = transcript(said)
    assert len(lines(text) if text else []) == count
    request = summary_request("", text, window=window())
    request.messages[0].text.encode()  # also with halves of surrogate pairs in it


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=12), st.integers(100, 6_000))
def test_a_portion_is_of_the_oldest_whole_turns_and_keeps_to_its_size_unless_one_turn_is_too_long(
    sizes: list[int], most: int
) -> None:
    turns: Turns = [(number, UserMessage(text="x" * size)) for number, size in enumerate(sizes)]
    past, text = portion(turns, window=window(), max_tokens=most)
    assert len(lines(text)) == past + 1
    assert len(text) // 4 <= most + 10 or past == 0


def test_a_turn_that_is_too_long_for_one_call_is_cut_in_all_its_texts() -> None:
    said = [(1, UserMessage(text="q" * 9_000)), (1, AssistantMessage(text="a" * 9_000))]
    past, text = portion(said, window=window(), max_tokens=300)
    assert past == 1 and len(text) <= 1_200
    asked, answered = lines(text)
    assert asked["said"].startswith("qqq") and answered["assistant"].startswith("aaa")


def test_the_request_has_the_summary_so_far_and_asks_for_a_length_that_suits_the_window() -> None:
    large, small = (summary_request("", "{}", window=window(tokens)) for tokens in (128_000, 8_000))
    assert NO_SUMMARY in large.messages[0].text and large.purpose == "summary" and not large.tools
    assert "at most 1800 words" in large.system and "at most 480 words" in small.system
    assert "- Ann likes tea." in summary_request("- Ann likes tea.", "{}", window=window()).messages[0].text
    assert (input_tokens(window()), input_tokens(window(8_000))) == (MAX_INPUT_TOKENS, 4_000)


def test_a_summary_that_is_far_too_long_is_cut() -> None:
    assert cut_summary(" - short\n", window=window(8_000)) == "- short"
    assert 6_000 <= len(cut_summary("x" * 100_000, window=window(8_000))) <= 6_404


def test_a_summary_that_was_written_for_a_larger_window_is_cut_before_the_next_one_is_made_of_it() -> None:
    request = summary_request("x" * 24_000, "{}", window=window(8_000))
    assert 6_000 <= request.messages[0].text.count("x") <= 6_404
