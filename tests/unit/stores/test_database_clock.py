"""The database's clock, as a process keeps it."""

from __future__ import annotations

import pytest

from bot.stores.postgres.clock import DatabaseClock


class Steady:
    """Seconds of a clock that is never set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_shows_what_the_database_showed_and_goes_on_from_there() -> None:
    steady = Steady()
    clock = DatabaseClock(steady)
    clock.read(5_000.5, asked_at=100.0, answered_at=101.0)
    assert clock() == pytest.approx(5_000.0)
    steady.now += 7
    assert clock() == pytest.approx(5_007.0)


def test_a_worse_reading_that_agrees_changes_nothing_and_a_better_one_does() -> None:
    steady = Steady()
    clock = DatabaseClock(steady)
    clock.read(5_000.01, asked_at=100.0, answered_at=100.02)
    clock.read(5_000.9, asked_at=100.0, answered_at=101.0)
    assert clock() == pytest.approx(5_000.0)
    clock.read(5_000.006, asked_at=100.0, answered_at=100.002)
    assert clock() == pytest.approx(5_000.005)


def test_a_reading_that_contradicts_is_believed_since_a_clock_may_be_set_or_drift() -> None:
    steady = Steady()
    clock = DatabaseClock(steady)
    clock.read(5_000.001, asked_at=100.0, answered_at=100.002)
    clock.read(9_000.5, asked_at=100.0, answered_at=101.0)
    assert clock() == pytest.approx(9_000.0)
