"""Backoff: waits that double up to a bound, spread by jitter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.backoff import Backoff

seconds = st.floats(0.001, 1_000)


def test_the_wait_doubles_with_each_failure_up_to_the_bound() -> None:
    backoff = Backoff(first_s=1.0, max_s=10.0)
    assert [backoff.wait_s(failures) for failures in range(6)] == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0]


@given(seconds, seconds, st.integers(0, 100_000))
def test_no_number_of_failures_makes_the_wait_longer_than_the_bound(
    first_s: float, max_s: float, failures: int
) -> None:
    assert 0.0 <= Backoff(first_s=first_s, max_s=max_s).wait_s(failures) <= max_s


@given(seconds, st.floats(0.0, 1.0), st.integers(1, 20))
def test_jitter_takes_at_most_its_share_off(first_s: float, jitter: float, failures: int) -> None:
    whole = Backoff(first_s=first_s).wait_s(failures)
    spread = Backoff(first_s=first_s, jitter=jitter).wait_s(failures)
    assert whole * (1 - jitter) <= spread <= whole


def test_jitter_gives_clients_that_failed_together_different_waits() -> None:
    backoff = Backoff(first_s=1.0, jitter=0.5)
    assert len({backoff.wait_s(3) for _ in range(20)}) > 1
