"""What both chat platforms show of an ask."""

from __future__ import annotations

import pytest

from adapters.shared.asks import channel_line
from bot.domain.asks import AskView


def view(place: str) -> AskView:
    return AskView(ask_id=1, kind="approval", state="pending", title="Run it?", lines=(), place=place)


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("discord:1:2", "Ada asks for it in discord:1:2.", ("Ada asks for it in", "2")),
        ("discord:1:2", "in discord:1:9. asks for it in discord:1:2.", ("in discord:1:9. asks for it in", "2")),
        ("discord:1:2", "Only discord:1:2 may decide.", None),
        ("slack:T1:C1", "Ada asks for it in slack:T1:C1.", None),
        ("discord:dm", "Ada asks for it in direct messages.", None),
        ("discord:1:2> <@3", "Ada asks for it in discord:1:2> <@3.", None),
        ("", "Ada asks for it in .", None),
    ],
)
def test_only_the_channel_that_the_core_names_at_the_end_of_a_line_is_drawn(
    place: str, line: str, found: tuple[str, str] | None
) -> None:
    assert channel_line(view(place), line, "discord") == found
