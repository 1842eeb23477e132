"""The line that says for what `toolbridge run` is ready."""

from __future__ import annotations

from bot.cli.ready import ready_line
from bot.ports.platform import Connection
from bot.ports.tools import ServerState, ServerStatus
from tests.fakes.platforms import Platform


def platform(name: str, *, detail: str = "", is_open: bool = True) -> Platform:
    made = Platform(name)
    made.connection = Connection(is_open=is_open, detail=detail)
    return made


def server(name: str, tools: int, *, replica: str = "a", state: ServerState = "ready") -> ServerStatus:
    return ServerStatus(server=name, replica=replica, state=state, tool_count=tools)


def test_it_names_who_the_bot_is_where_and_what_it_has() -> None:
    platforms = [
        platform("slack", detail="as @toolbridge in 1 workspace"),
        platform("discord", detail="as @toolbridge in 3 servers"),
    ]
    servers = [server("a", 1), server("b", 20), server("b", 20, replica="b"), server("c", 0)]
    assert ready_line(platforms, servers, model="gpt-4.1") == (
        "ready: Slack as @toolbridge in 1 workspace, Discord as @toolbridge in 3 servers, 21 tools of 3 servers, "
        "model gpt-4.1"
    )


def test_what_is_not_there_yet_is_named_as_such() -> None:
    platforms = [platform("slack"), platform("discord", is_open=False)]
    servers = [server("a", 1), server("b", 0, state="down")]
    assert ready_line(platforms, servers, model="m") == (
        "ready: Slack, Discord not connected yet, 1 tool of 1 of 2 servers, model m"
    )
