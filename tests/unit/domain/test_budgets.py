"""Days and months by the clocks of a time zone, and what is counted where."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.budgets import periods_at, place_ledger
from bot.domain.events import ConversationKey

# Clocks that go forwards at midnight (Cairo, Beirut), by half an hour (Lord Howe), that skipped a whole day (Apia), ...
ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia"]


BERLIN, CAIRO = "Europe/Berlin", "Africa/Cairo"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("zone", "time", "day", "month", "day_ends", "month_ends"),
    [
        ("UTC", "2026-11-30T23:59:59Z", "2026-11-30", "2026-11", "2026-12-01T00:00Z", "2026-12-01T00:00Z"),
        ("UTC", "2028-02-29T12:00Z", "2028-02-29", "2028-02", "2028-03-01T00:00Z", "2028-03-01T00:00Z"),
        ("UTC", "2026-12-31T00:00Z", "2026-12-31", "2026-12", "2027-01-01T00:00Z", "2027-01-01T00:00Z"),
        (BERLIN, "2026-11-29T23:30Z", "2026-11-30", "2026-11", "2026-12-01T00:00+01:00", "2026-12-01T00:00+01:00"),
        # The days of 23 and of 25 hours.
        (BERLIN, "2026-03-29T00:30+01:00", "2026-03-29", "2026-03", "2026-03-30T00:00+02:00", "2026-04-01T00:00+02:00"),
        (BERLIN, "2026-10-25T00:30+02:00", "2026-10-25", "2026-10", "2026-10-26T00:00+01:00", "2026-11-01T00:00+01:00"),
        # There was no midnight in Cairo on that day: it began at one o'clock.
        (CAIRO, "2024-04-25T12:00+02:00", "2024-04-25", "2024-04", "2024-04-26T01:00+03:00", "2024-05-01T00:00+03:00"),
    ],
)
def test_days_and_months_end_at_midnight_by_the_clocks_of_the_zone(
    zone: str, time: str, day: str, month: str, day_ends: str, month_ends: str
) -> None:
    today, this_month = periods_at(at(time), ZoneInfo(zone))
    assert (today.key, this_month.key) == (day, month)
    assert (today.ends_at, this_month.ends_at) == (at(day_ends), at(month_ends))


@given(st.integers(0, 4_000_000_000), st.sampled_from(ZONES))
def test_a_period_ends_exactly_where_the_next_one_begins(seconds: int, name: str) -> None:
    zone = ZoneInfo(name)
    for index, period in enumerate(periods_at(seconds, zone)):
        assert seconds < period.ends_at
        assert periods_at(period.ends_at - 1, zone)[index].key == period.key
        assert periods_at(period.ends_at, zone)[index].key > period.key
        assert datetime.fromtimestamp(seconds, UTC).astimezone(zone).date().isoformat().startswith(period.key)


def test_a_thread_belongs_to_its_channel_and_each_direct_conversation_is_its_own_place() -> None:
    channel = ConversationKey(platform="slack", space="T1", channel="C042")
    thread = ConversationKey(platform="slack", space="T1", channel="C042", thread="1.1")
    assert place_ledger(channel) == place_ledger(thread) == "place:slack:T1:C042"
    ones, others = (ConversationKey(platform="slack", space="T1", channel=name) for name in ("D1", "D2"))
    assert place_ledger(ones) != place_ledger(others)
    names = [ConversationKey(platform="console", space="local", channel=name) for name in ("main", "work")]
    assert {place_ledger(name) for name in names} == {"place:console"}
