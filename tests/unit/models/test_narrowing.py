"""Which tools are at fault where an endpoint refuses some and names none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import ToolSpec
from bot.models.narrowing import find_refused, may_be_about_tools
from bot.models.refusals import read_refusal

TOOLS = tuple(ToolSpec(name=f"s__{n}", server="s", tool=str(n), description="", parameters={}) for n in range(128))


class Judge:
    """An endpoint that refuses some tools, and more than so many of them."""

    def __init__(self, *, bad: Sequence[ToolSpec] = (), most: int = 1_000, is_down: bool = False) -> None:
        self.asked = 0
        self._bad = {tool.name for tool in bad}
        self._most = most
        self._is_down = is_down

    async def takes(self, tools: Sequence[ToolSpec]) -> bool:
        self.asked += 1
        return not self._is_down and len(tools) <= self._most and not any(tool.name in self._bad for tool in tools)


@given(count=st.integers(1, 128), data=st.data())
async def test_the_one_bad_tool_is_found_with_few_questions(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sampled_from(TOOLS[:count]))
    judge = Judge(bad=(bad,))
    assert await find_refused(TOOLS[:count], judge.takes) == (bad,)
    assert judge.asked <= 10


async def test_of_two_bad_tools_the_first_is_found_first() -> None:
    assert await find_refused(TOOLS, Judge(bad=(TOOLS[100], TOOLS[3])).takes) == (TOOLS[3],)


async def test_where_they_are_too_many_together_those_go_for_which_there_is_no_room() -> None:
    assert await find_refused(TOOLS, Judge(most=58).takes) == TOOLS[58:]
    assert await find_refused(TOOLS[:3], Judge(most=1).takes) == TOOLS[1:3]


async def test_none_is_found_where_the_tools_are_not_at_fault() -> None:
    fine, down = Judge(), Judge(is_down=True)
    assert await find_refused(TOOLS, fine.takes) == ()
    assert await find_refused(TOOLS, down.takes) == ()
    assert await find_refused((), fine.takes) == ()
    assert (fine.asked, down.asked) == (1, 2)


@pytest.mark.parametrize(
    ("status", "error", "may_be"),
    [
        (400, {"message": "Request contains an invalid argument.", "status": "INVALID_ARGUMENT"}, True),
        (400, {"message": "Failed to initialize samplers: failed to parse grammar"}, True),
        (500, {"message": "JSON schema conversion failed: Unrecognized schema"}, True),
        (400, {"message": "Invalid schema for one of the functions."}, True),
        (422, {}, True),
        (400, {"message": "Your request may not include cats."}, False),
        (400, {"message": "Unknown name in the schema", "param": "messages[2].tool_calls"}, False),
        (500, {"message": "The server had an error."}, False),
        (429, {"message": "Too many tools, slow down: rate limit."}, False),
        (400, {"message": "The tool was flagged", "code": "content_filter"}, False),
        (401, {"message": "No access to tools"}, False),
    ],
)
def test_a_refusal_that_may_be_about_the_tools_is_told_from_others(
    status: int, error: dict[str, str], may_be: bool
) -> None:
    assert may_be_about_tools(read_refusal({"error": error}, status=status)) == may_be
