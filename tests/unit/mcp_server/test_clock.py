from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.clock import local_time

NOW = datetime(2026, 11, 22, 14, 5, 10, 999_999, tzinfo=UTC)


def test_a_time_zone_shows_the_moment_on_its_own_clocks() -> None:
    tokyo = local_time("Asia/Tokyo", now=NOW)
    assert datetime.fromisoformat(tokyo.local_time) == NOW.replace(microsecond=0)
    assert tokyo.sentence() == "It is 23:05:10 on Sunday, 2026-11-22 in Asia/Tokyo (JST, UTC+09:00)."


def test_summer_time_changes_the_offset_and_the_abbreviation() -> None:
    winter, summer = (local_time("Europe/London", now=NOW.replace(month=month)) for month in (1, 7))
    assert (winter.abbreviation, winter.utc_offset) == ("GMT", "+00:00")
    assert (summer.abbreviation, summer.utc_offset) == ("BST", "+01:00")


@pytest.mark.parametrize("written", ["america/new_york", "AMERICA/NEW_YORK", " America/New York "])
def test_a_name_is_known_in_any_case_and_with_spaces(written: str) -> None:
    assert local_time(written, now=NOW).timezone == "America/New_York"


@pytest.mark.parametrize(
    ("written", "suggested"),
    [("Tokyo", "Asia/Tokyo"), ("Europe/Londn", "Europe/London"), ("Sao Paulo", "America/Sao_Paulo")],
)
def test_an_unknown_name_is_an_error_that_suggests_the_nearest(written: str, suggested: str) -> None:
    with pytest.raises(ToolError, match=f"unknown time zone '{written}'; the nearest names are: {suggested}"):
        local_time(written, now=NOW)


@pytest.mark.parametrize("written", ["", "Mars/Phobos", "../../etc/passwd", "America", "posixrules", "x" * 100_000])
def test_a_name_that_resembles_none_gets_advice_instead_of_a_guess(written: str) -> None:
    with pytest.raises(ToolError, match="unknown time zone") as caught:
        local_time(written, now=NOW)
    assert len(str(caught.value)) < 250


@given(st.text())
def test_any_text_is_a_time_zone_or_a_tool_error(written: str) -> None:
    try:
        shown = local_time(written, now=NOW)
    except ToolError:
        return
    assert datetime.fromisoformat(shown.local_time).utcoffset() == NOW.astimezone(ZoneInfo(shown.timezone)).utcoffset()
