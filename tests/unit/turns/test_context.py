"""The model's window: whole turns, a stable beginning, a kept budget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage, UserMessage
from bot.domain.turns import Post
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from bot.turns.context import (
    HISTORY_SHARE,
    OUTPUT_SHARE,
    SHRUNK_RESULT_CHARS,
    SUMMARY_REFILL,
    TOKENS_A_MESSAGE,
    WINDOW_REFILL,
    Turns,
    Window,
    after_turn,
    count_tokens,
    cut_result,
    last_turn_that_leaves,
    load_history,
    middle_turn,
    shrink,
    up_to_turn,
    with_summary,
)

ROOM = ConversationKey(platform="test", space="team", channel="room")


def window(*, max_messages: int = 8, max_tokens: int = 100_000) -> Window:
    return Window(max_messages=max_messages, max_tokens=max_tokens, count=len)


def plain_turn(number: int, text: str = "x") -> list[tuple[int, Message]]:
    return [(number, UserMessage(text=text)), (number, AssistantMessage(text=text))]


def tool_turn(number: int, calls: int) -> list[tuple[int, Message]]:
    asked = tuple(ToolCall(id=f"{number}-{call}", name="add", arguments="{}") for call in range(calls))
    return [
        (number, UserMessage(text="?")),
        (number, AssistantMessage(text="", tool_calls=asked)),
        *((number, ToolMessage(call_id=call.id, text="1")) for call in asked),
        (number, AssistantMessage(text="!")),
    ]


def kept(turns: Turns, *, limits: Window, max_tokens: int) -> Turns:
    past = last_turn_that_leaves(turns, window=limits, max_tokens=max_tokens)
    return turns if past is None else after_turn(turns, past)


def size(turns: Turns) -> int:
    return sum(count_tokens(message, len) for _, message in turns)


histories = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=20).map(
    lambda shapes: [
        item
        for number, (calls, length) in enumerate(shapes, start=1)
        for item in (tool_turn(number, calls) if calls else plain_turn(number, "x" * length))
    ]
)
limits = st.builds(window, max_messages=st.integers(2, 30), max_tokens=st.just(0))


# --- what stays ------------------------------------------------------------------------------------------------


def test_a_history_that_fits_stays_whole() -> None:
    turns = [item for number in range(1, 5) for item in plain_turn(number)]
    assert last_turn_that_leaves(turns, window=window(max_messages=8), max_tokens=1_000) is None


def test_nothing_has_to_leave_where_nothing_is() -> None:
    for max_tokens in (1_000, 0, -1):
        assert last_turn_that_leaves([], window=window(), max_tokens=max_tokens) is None


def test_one_message_too_many_moves_the_window_by_a_quarter() -> None:
    turns = [item for number in range(1, 6) for item in plain_turn(number)]
    assert last_turn_that_leaves(turns, window=window(max_messages=8), max_tokens=1_000) == 2
    assert 8 * WINDOW_REFILL == 6


def test_one_token_too_many_moves_the_window_by_a_quarter() -> None:
    turns = [item for number in range(1, 5) for item in plain_turn(number, "x" * 46)]  # 100 tokens each
    assert last_turn_that_leaves(turns, window=window(), max_tokens=400) is None
    assert last_turn_that_leaves(turns, window=window(), max_tokens=399) == 2


def test_the_newest_turn_stays_as_long_as_it_fits_by_itself() -> None:
    turns = [*plain_turn(1), *tool_turn(2, 5)]  # 2 and 8 messages
    assert last_turn_that_leaves(turns, window=window(max_messages=8), max_tokens=1_000) == 1


def test_a_newest_turn_that_is_too_large_by_itself_leaves_with_the_rest() -> None:
    turns = [*plain_turn(1), *tool_turn(2, 6)]
    assert kept(turns, limits=window(max_messages=8), max_tokens=1_000) == []
    assert kept(turns, limits=window(max_messages=100), max_tokens=0) == []
    assert kept(turns, limits=window(max_messages=100), max_tokens=-5) == []


@given(histories, limits, st.integers(-10, 600))
def test_what_is_kept_keeps_to_both_limits_and_is_the_end_of_the_history(
    turns: Turns, limits: Window, max_tokens: int
) -> None:
    left = kept(turns, limits=limits, max_tokens=max_tokens)
    assert len(left) <= limits.max_messages
    assert not left or size(left) <= max_tokens
    assert list(left) == list(turns)[len(turns) - len(left) :]


@given(histories, limits, st.integers(-10, 600))
def test_a_tool_call_never_stays_without_its_result_nor_a_result_without_its_call(
    turns: Turns, limits: Window, max_tokens: int
) -> None:
    left = kept(turns, limits=limits, max_tokens=max_tokens)
    asked = [call.id for _, message in left if isinstance(message, AssistantMessage) for call in message.tool_calls]
    given_back = [message.call_id for _, message in left if isinstance(message, ToolMessage)]
    assert asked == given_back
    assert not left or isinstance(left[0][1], UserMessage)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(6, 20))
def test_the_beginning_stays_the_same_from_turn_to_turn_until_the_window_moves(calls: list[int], most: int) -> None:
    sent: Turns = []
    for number, count in enumerate(calls, start=1):
        before, grown = sent, [*sent, *(tool_turn(number, count) if count else plain_turn(number))]
        sent = kept(grown, limits=window(max_messages=most), max_tokens=10_000)
        assert sent, "each of these turns fits by itself"
        if list(sent[: len(before)]) != list(before):
            assert len(grown) > most
            # it moves far enough not to move again at once, unless only the newest turn is left
            assert len(sent) <= most * WINDOW_REFILL or len({turn_id for turn_id, _ in sent}) == 1


def test_a_history_whose_turns_ended_in_another_order_is_cut_where_they_stand_in_it() -> None:
    turns = [*plain_turn(1), *plain_turn(4), *plain_turn(2), *plain_turn(5)]  # the second waited for a decision
    assert last_turn_that_leaves(turns, window=window(max_messages=6), max_tokens=1_000) == 4
    assert kept(turns, limits=window(max_messages=6), max_tokens=1_000) == [*plain_turn(2), *plain_turn(5)]
    assert middle_turn(turns) == 4


# --- the window in the store -----------------------------------------------------------------------------------


async def store_turns(store: Store, count: int) -> list[int]:
    ids: list[int] = []
    await store.heartbeat("us", lease_s=60)
    for number in range(count):
        event = MessageReceived(
            conversation=ROOM,
            event_key=f"k{number}",
            author_id="u1",
            author_name="Ann",
            text="q",
            sent_at=datetime(2026, 11, 1, tzinfo=UTC),
        )
        await store.accept(event, worker="us", max_waiting=10)
        (turn,) = await store.claim("us", serves=["test/"], limit=1)
        messages = [message for _, message in plain_turn(number, f"turn {number}")]
        post = Post(key="k", conversation=ROOM, turn_id=turn.lease.turn_id, part=0, text="a")
        await store.reply(turn.lease, state="answered", messages=messages, posts=[post], usage=Usage())
        await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)
        ids.append(turn.lease.turn_id)
    return ids


async def test_what_does_not_fit_beside_one_question_is_left_out_of_that_request_alone(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        ids = await store_turns(store, 5)
        narrow, wide = window(max_messages=8), window(max_messages=100)
        first = await load_history(store, ROOM, window=narrow, beside_tokens=0)
        assert first.is_behind and [turn_id for turn_id, _ in first.turns] == [one for one in ids[2:] for _ in range(2)]
        whole = await load_history(store, ROOM, window=wide, beside_tokens=0)
        assert not whole.is_behind and len(whole.turns) == 10


async def test_a_first_question_that_takes_more_than_the_window_leaves_an_empty_history(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        assert (await load_history(store, ROOM, window=window(max_tokens=2_000), beside_tokens=2_500)).turns == ()


async def test_what_is_sent_with_the_history_takes_its_place(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store_turns(store, 4)
        limits = window(max_messages=100, max_tokens=200)
        whole = (await load_history(store, ROOM, window=limits, beside_tokens=0)).turns
        assert len(whole) == 8
        free = 200 * (1 - OUTPUT_SHARE) - size(whole)
        assert (await load_history(store, ROOM, window=limits, beside_tokens=int(free))).turns == whole
        assert len((await load_history(store, ROOM, window=limits, beside_tokens=int(free) + 1)).turns) < 8


@given(st.integers(1_000, 1_000_000), st.integers(0, 2_000_000))
def test_the_history_has_a_quarter_of_the_window_however_much_is_sent_with_it(most: int, beside: int) -> None:
    room = window(max_tokens=most).history_tokens(beside_tokens=beside)
    assert int(most * HISTORY_SHARE) <= room <= most * (1 - OUTPUT_SHARE)
    assert room == int(most * HISTORY_SHARE) or room + beside + int(most * OUTPUT_SHARE) <= most


async def test_tools_that_are_larger_than_the_window_leave_the_conversation_in_it(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store_turns(store, 4)  # of 24 tokens each
        history = await load_history(store, ROOM, window=window(max_tokens=500), beside_tokens=80_000)
        assert len(history.turns) == 8


def test_a_window_keeps_to_the_smallest_context_that_an_endpoint_has_named() -> None:
    one = window(max_tokens=128_000)
    for limit, kept in ((None, 128_000), (200_000, 128_000), (32_768, 32_768), (65_536, 32_768), (7, 32_768)):
        one.learn(limit)
        assert one.max_tokens == kept


# --- the summary -----------------------------------------------------------------------------------------------


def test_a_summary_is_marked_and_begins_the_first_message_so_that_the_two_sides_still_alternate() -> None:
    messages = [message for _, message in plain_turn(1)] + [UserMessage(text="And now?")]
    first, *rest = with_summary(messages, "- Ann likes tea.")
    assert rest == messages[1:] and isinstance(first, UserMessage) and first.text == "x"
    assert first.context.startswith("⟦Summary of the conversation") and "- Ann likes tea.\n⟦End" in first.context
    assert with_summary(messages, "") == tuple(messages)


def test_a_summary_stands_before_what_the_first_message_points_at() -> None:
    (message,) = with_summary([UserMessage(text="This?", context="> Ben: no")], "- Ann likes tea.")
    assert isinstance(message, UserMessage) and message.context.endswith("⟦End of the summary⟧\n\n> Ben: no")


@given(histories, limits, st.integers(0, 600))
def test_the_window_is_moved_ahead_of_need_with_room_for_more(turns: Turns, limits: Window, max_tokens: int) -> None:
    early = last_turn_that_leaves(turns, window=limits, max_tokens=max_tokens, is_early=True)
    late = last_turn_that_leaves(turns, window=limits, max_tokens=max_tokens)
    assert late is None or early is not None
    if early is not None:
        left = after_turn(turns, early)
        assert len({turn_id for turn_id, _ in left}) <= 1 or len(left) <= limits.max_messages * SUMMARY_REFILL
        assert list(up_to_turn(turns, early)) + list(left) == list(turns)


# --- sizes -----------------------------------------------------------------------------------------------------


def test_a_message_counts_with_its_calls() -> None:
    call = ToolCall(id="1", name="add", arguments='{"a": 1}')
    assert count_tokens(UserMessage(text="four"), len) == TOKENS_A_MESSAGE + 4
    assert count_tokens(AssistantMessage(text="four", tool_calls=(call, call)), len) == 3 * TOKENS_A_MESSAGE + 4 + 22
    assert count_tokens(ToolMessage(call_id="1", text="123"), len) == TOKENS_A_MESSAGE + 3


@pytest.mark.parametrize(("max_tokens", "max_chars"), [(128_000, 20_000), (8_000, 8_000), (2_000, 2_000)])
def test_one_tool_result_takes_at_most_a_quarter_of_the_window(max_tokens: int, max_chars: int) -> None:
    assert window(max_tokens=max_tokens).max_result_chars == max_chars


def test_a_result_that_fits_is_given_whole_and_a_longer_one_says_that_it_was_cut() -> None:
    assert cut_result("x" * 2_000, max_chars=2_000) == "x" * 2_000
    assert cut_result("x" * 2_001, max_chars=2_000) == "x" * 2_000 + "\n[cut: the first 2,000 of 2,001 characters]"


def test_shrinking_cuts_tool_results_and_nothing_else() -> None:
    long = "x" * (SHRUNK_RESULT_CHARS + 200)
    messages: Sequence[Message] = (
        UserMessage(text=long),
        AssistantMessage(text=long),
        ToolMessage(call_id="1", text=long),
        ToolMessage(call_id="2", text="short"),
    )
    shrunk = shrink(messages, max_chars=SHRUNK_RESULT_CHARS)
    assert shrink(shrunk, max_chars=SHRUNK_RESULT_CHARS) == shrunk
    assert shrunk[:2] == tuple(messages[:2]) and shrunk[3] == messages[3]
    assert shrunk[2] == ToolMessage(call_id="1", text=cut_result(long, max_chars=SHRUNK_RESULT_CHARS))


@given(histories)
def test_the_newer_half_is_at_most_half_of_the_turns_whole_and_the_newest(turns: Turns) -> None:
    past = middle_turn(turns)
    half = [] if past is None else after_turn(turns, past)
    all_ids, half_ids = sorted({turn_id for turn_id, _ in turns}), sorted({turn_id for turn_id, _ in half})
    assert half_ids == all_ids[len(all_ids) - len(all_ids) // 2 :]
    assert list(half) == [item for item in turns if item[0] in half_ids]
