"""How often one person may do something, and what they hear of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from hypothesis import given
from hypothesis import strategies as st

from bot.intake.rates import MAX_PEOPLE, MIN_PAUSE_S, Allowance


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def allowance(clock: Clock, *, per_minute: int = 60) -> Allowance:
    return Allowance("presses", per_minute=per_minute, clock=clock)


def spent(gate: Allowance, *, times: int, person: str = "ann", key: str = "k") -> list[str | None]:
    """Do it so often; return of each what the person hears, None where it was taken."""
    outcomes = [gate.spend(person, f"{key}{number}") for number in range(times)]
    return [None if outcome is None else outcome.notice for outcome in outcomes]


def test_a_minutes_worth_is_taken_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    gate = allowance(clock)
    assert spent(gate, times=60) == [None] * 60
    clock.now += 1.01
    assert spent(gate, times=1, key="later") == [None]


def test_a_thousand_too_many_are_refused_with_one_sentence_and_a_few_lines_of_the_log() -> None:
    clock = Clock()
    gate = allowance(clock)
    spent(gate, times=60)
    with structlog.testing.capture_logs() as logged:
        first, *others = spent(gate, times=1_001, key="more")
    assert first is not None and "60 presses in a minute" in first
    assert set(others) == {""}
    assert [line.get("count") for line in logged] == [None, 1, 10, 100, 1_000]


def test_the_sentence_says_when_it_works_again_and_then_it_does() -> None:
    clock = Clock()
    gate = allowance(clock)
    spent(gate, times=60)
    (sentence,) = spent(gate, times=1, key="more")
    found = re.search(r"again in (\d+) s", sentence or "")
    assert found is not None
    clock.now += int(found[1])
    assert spent(gate, times=1, key="again") == [None]


def test_someone_who_never_stops_is_told_six_times_a_minute_at_most() -> None:
    clock = Clock()
    gate, told = allowance(clock), 0
    for number in range(3_000):
        clock.now += 0.1
        told += bool((spent(gate, times=1, key=f"{number}-")[0] or "").strip())
    assert told <= 300 / MIN_PAUSE_S + 1


def test_people_are_counted_apart_and_a_second_delivery_costs_nothing() -> None:
    gate = allowance(Clock(), per_minute=2)
    assert [gate.spend("ann", key) for key in ("a", "a", "a", "b", "b")] == [None] * 5
    assert gate.spend("bob", "a") is None
    assert gate.spend("ann", "c") is not None and gate.is_paused("ann") and not gate.is_paused("bob")


def test_what_is_remembered_is_bounded() -> None:
    gate = allowance(Clock())
    for number in range(MAX_PEOPLE + 100):
        gate.spend(f"person{number}", "k")
    assert len(gate._spent) <= MAX_PEOPLE  # pyright: ignore[reportPrivateUsage]


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=60))
def test_no_minute_and_burst_holds_more_than_twice_the_rate(pauses: Sequence[float]) -> None:
    clock = Clock()
    gate = allowance(clock, per_minute=5)
    taken: list[float] = []
    for number, pause_s in enumerate(pauses):
        clock.now += pause_s
        if gate.spend("ann", str(number)) is None:
            taken.append(clock.now)
    assert all(sum(at <= each < at + 60 for each in taken) <= 10 for at in taken)
