"""Which tools a turn's requests carry: a list that grows at its end and keeps within its bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import AssistantMessage, ToolCall, ToolResult, ToolSpec
from bot.ports.conversation_store import ToolMemory
from bot.ports.tools import Offer
from bot.turns.context import Window
from bot.turns.selection import (
    BASE_TOOLS,
    FIND_TOOLS,
    MAX_DESCRIPTION_CHARS,
    MAX_FOUND,
    MAX_TOOLS,
    Selection,
    find_tools_spec,
)
from tests.fakes.ports import ScriptedTools


def tool(number: int, *, server: str = "s", description: str = "Does it.") -> ToolSpec:
    return ToolSpec(
        name=f"{server}__t{number}",
        server=server,
        tool=f"t{number}",
        description=description,
        parameters={"type": "object", "properties": {"city": {"type": "string"}}},
    )


def tools(count: int) -> tuple[ToolSpec, ...]:
    return tuple(tool(number) for number in range(count))


def names(*numbers: int) -> list[str]:
    return [f"s__t{number}" for number in numbers]


def selection(
    offered: Sequence[ToolSpec], *, sent: Sequence[str] = (), most_used: Sequence[str] = (), max_tokens: int = 1_000_000
) -> Selection:
    made = Selection(Offer(tools=tuple(offered)), window=Window(max_messages=10, max_tokens=max_tokens, count=len))
    made.begin(ToolMemory(sent=tuple(sent), most_used=tuple(most_used)))
    return made


def sent(made: Selection) -> list[str]:
    return [tool.name for tool in made.tools]


def found(*which: str) -> ToolResult:
    return ToolResult(
        call_id="1", text="\n".join(["These tools match:", *(f"- {name}: (city) Does it." for name in which)])
    )


FIND = ToolCall(id="1", name=FIND_TOOLS, arguments='{"query": "t7"}')


def test_up_to_64_tools_are_all_sent_and_nothing_is_remembered_but_the_calls() -> None:
    made = selection(tools(MAX_TOOLS))
    assert made.tools == tools(MAX_TOOLS)
    assert not made.is_part and made.find(FIND_TOOLS) is None
    made.learn(ToolCall(id="1", name="s__t5", arguments="{}"), ToolResult(call_id="1", text="ok"))
    assert made.tools == tools(MAX_TOOLS)
    assert made.use([]).sent is None


def test_above_64_tools_the_most_used_are_sent_in_the_order_of_the_offer_after_find_tools() -> None:
    made = selection(tools(300), most_used=names(299, 7, 150))
    assert sent(made) == [FIND_TOOLS, *names(*range(BASE_TOOLS - 2), 150, 299)]
    assert made.use([]).sent == tuple(sent(made)[1:])


def test_few_tools_that_take_more_than_a_tenth_of_the_window_are_a_part_too() -> None:
    large = [tool(number, description="x" * 1_000) for number in range(30)]
    assert not selection(large, max_tokens=400_000).is_part
    made = selection(large, max_tokens=100_000)
    assert made.is_part
    assert 2 <= len(made.tools) - 1 <= 5
    assert made.tokens <= 10_000


def test_a_tool_larger_than_the_room_keeps_no_other_out_and_can_still_be_found() -> None:
    huge = tool(0, description="x" * 50_000)
    made = selection([huge, *tools(100)[1:]], max_tokens=100_000, most_used=names(0))
    assert "s__t0" not in sent(made) and len(made.tools) > 10
    made.learn(FIND, found("s__t0"))
    assert sent(made)[-1] == "s__t0"


def test_what_is_found_or_called_stands_at_the_end_and_the_beginning_stays() -> None:
    made = selection(tools(300))
    before = sent(made)
    made.learn(FIND, found("s__t200", "s__t1", "s__t100", "other__t1"))
    made.learn(ToolCall(id="2", name="s__t250", arguments="{}"), ToolResult(call_id="2", text="ok"))
    made.learn(ToolCall(id="3", name="s__none", arguments="{}"), ToolResult(call_id="3", text="no"))
    assert sent(made) == [*before, *names(200, 100, 250)]
    later = selection(tools(300), sent=made.use([]).sent or (), most_used=names(299))
    assert sent(later) == sent(made)
    assert later.use([]).sent is None


def test_tools_of_a_server_that_is_away_are_not_sent_and_come_back_to_their_place() -> None:
    kept = names(3, 120, 4)
    away = selection([one for one in tools(300) if one.name != "s__t120"], sent=kept)
    assert sent(away) == [FIND_TOOLS, *names(3, 4)]
    assert away.use([]).sent is None


@given(st.lists(st.lists(st.integers(0, 499), min_size=1, max_size=MAX_FOUND), max_size=40))
def test_whatever_is_found_is_sent_next_and_the_list_keeps_within_its_bounds(searches: list[list[int]]) -> None:
    made = selection(tools(500), max_tokens=200_000)
    for numbers in searches:
        before = sent(made)
        made.learn(FIND, found(*names(*numbers)))
        now = sent(made)
        assert set(names(*numbers)) <= set(now)
        assert len(now) == len(set(now)) <= MAX_TOOLS
        assert now[: len(before)] == before or len(now) >= BASE_TOOLS  # added at the end, or begun anew
        assert made.tokens <= 20_000 + len(json.dumps(made.tools[0].parameters)) + MAX_DESCRIPTION_CHARS


def test_calls_are_counted_for_tools_that_there_are() -> None:
    message = AssistantMessage(
        text="",
        tool_calls=tuple(
            ToolCall(id=str(at), name=name, arguments="{}")
            for at, name in enumerate(["s__t1", "s__t2", "s__t1", "s__none", FIND_TOOLS])
        ),
    )
    assert selection(tools(3)).use([message]).called == {"s__t1": 2, "s__t2": 1}


@pytest.mark.parametrize("arguments", ["", "null", "[]", "{}", '{"query": 7}', '{"query": " "}', "{", "[" * 100_000])
async def test_a_search_without_words_says_how_to_search(arguments: str) -> None:
    call = ToolCall(id="1", name=FIND_TOOLS, arguments=arguments)
    result = await selection(tools(300)).search(call, ScriptedTools({}))
    assert result.outcome == "error" and '{"query"' in result.text


async def test_a_search_names_the_best_and_further_matches_and_learns_only_the_best() -> None:
    made = selection([*(tool(number, description="Finds\n- s__t9: trains") for number in range(70)), *tools(300)[70:]])
    before = sent(made)
    call = ToolCall(id="1", name=FIND_TOOLS, arguments=json.dumps({"query": "trains"}))
    result = await made.search(call, ScriptedTools({}))
    assert result.outcome == "ok"
    assert result.text.count("\n- ") == MAX_FOUND
    assert "(city) Finds - s__t9: trains" in result.text
    assert "and perhaps more" in result.text.splitlines()[-1]
    made.learn(call, result)
    assert len(made.tools) <= len(before) + MAX_FOUND


async def test_a_search_without_a_match_names_the_servers() -> None:
    made = selection(tools(300))
    call = ToolCall(id="1", name=FIND_TOOLS, arguments='{"query": "zebra"}')
    result = await made.search(call, ScriptedTools({}))
    assert "None of the 300 tools matches" in result.text and "s 300" in result.text


def test_the_description_says_how_many_tools_there_are_on_which_servers() -> None:
    few = find_tools_spec([*tools(300), tool(1, server="mail")])
    assert "301 tools" in few.description and few.description.endswith("s 300, mail 1.")
    many = find_tools_spec([tool(number, server=f"server-{number}-{'x' * 80}") for number in range(5_000)])
    assert len(many.description) <= MAX_DESCRIPTION_CHARS
    assert "5,000 tools" in many.description and "more servers." in many.description


def test_when_the_window_turns_out_smaller_the_list_does_too() -> None:
    window = Window(max_messages=10, max_tokens=400_000, count=len)
    large = [tool(number, description="x" * 1_000) for number in range(30)]
    made = Selection(Offer(tools=tuple(large)), window=window)
    assert not made.is_part and not made.fit()
    for limit in (100_000, 30_000):
        window.learn(limit)
        assert made.fit() and made.is_part and made.tokens <= limit / 10
        assert not made.fit()


def test_half_a_character_in_a_server_or_description_does_not_reach_the_model() -> None:
    odd = [tool(number, server="s\ud800", description="\udc00") for number in range(80)]
    assert "\ud800" not in selection(odd).tools[0].description
