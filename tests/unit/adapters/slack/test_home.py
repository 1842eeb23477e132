"""The words of the Home tab."""

from __future__ import annotations

import pytest

from adapters.slack.home import server_list, use_so_far
from bot.domain.answers import CommandAnswer
from bot.ports.tools import ServerStatus


def test_each_server_is_one_line_with_the_states_of_its_replicas() -> None:
    statuses = [
        ServerStatus(server="shop", replica="a", state="ready", tool_count=1),
        ServerStatus(server="shop", replica="b", state="down", detail="*no* route"),
        ServerStatus(server="wiki", replica="c", state="idle"),
    ]
    assert server_list(statuses) == ("- **shop**: ready; down (\\*no\\* route), 1 tool\n- **wiki**: idle, 0 tools")
    assert server_list([]) == "No tool server is set up."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "- **You**: 2 turns, 5 tokens in\n- **All conversations**: 9 turns",
            "**Your use so far**: 2 turns, 5 tokens in",
        ),
        ("The database is full.", "The database is full."),
    ],
)
def test_the_use_is_that_of_the_person_and_a_failure_is_shown_as_it_is(text: str, shown: str) -> None:
    assert use_so_far(CommandAnswer(text=text)) == shown
