"""The words of the Home tab."""

from __future__ import annotations

from adapters.slack.home import server_list
from bot.ports.tools import ServerStatus


def test_each_server_is_one_line_with_the_states_of_its_replicas() -> None:
    statuses = [
        ServerStatus(server="shop", replica="a", state="ready", tool_count=1),
        ServerStatus(server="shop", replica="b", state="down", detail="*no* route"),
        ServerStatus(server="wiki", replica="c", state="idle"),
    ]
    assert server_list(statuses) == ("- **shop**: ready; down (\\*no\\* route), 1 tool\n- **wiki**: idle, 0 tools")
    assert server_list([]) == "No tool server is set up."
