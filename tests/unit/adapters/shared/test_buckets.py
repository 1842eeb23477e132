"""The bucket of a rate on a clock that the tests turn: how many calls, whose turn, and what refusals change."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.buckets import AGING_S, REGROW_S, RESERVED_S, Bucket, Caller, Priority, Queue, Rate
from bot.domain.rota import Share

POSTS = Rate(calls=25, period_s=25)
ANSWER, PROGRESS = Priority.ANSWER, Priority.PROGRESS
priorities = st.sampled_from(Priority)
seconds = st.floats(min_value=0, max_value=300)
# What happens, and how long after what happened before: someone asks, or a call is refused for so many seconds.
asked = st.tuples(seconds, priorities)
refused = st.tuples(seconds, st.integers(min_value=0, max_value=60))


def queue(rate: Rate = POSTS) -> Queue:
    return Queue(Bucket(rate, 0.0))


def drain(line: Queue, now: float, *, until: float = float("inf")) -> list[tuple[float, Caller]]:
    """Let the time pass until nobody waits, or until then; return who was admitted when."""
    admitted = [(now, caller) for caller in line.admit(now)]
    while (next_s := line.next_s(now)) is not None and now + next_s <= until:
        now += max(next_s, 1e-6)
        admitted += [(now, caller) for caller in line.admit(now)]
    return admitted


def join(line: Queue, *priorities_: Priority, now: float = 0.0) -> list[Caller]:
    callers = [Caller(priority, now + 1e-6 * number) for number, priority in enumerate(priorities_)]
    for caller in callers:
        line.join(caller)
    return callers


def test_a_burst_goes_at_once_and_the_rest_one_a_second() -> None:
    line = queue()
    callers = join(line, *[ANSWER] * 28)
    times = drain(line, 0.0)
    assert [caller for _, caller in times] == callers
    assert [round(at, 3) for at, _ in times] == [0.0] * 25 + [1.0, 2.0, 3.0]


@given(st.lists(asked | refused, max_size=60))
def test_never_more_calls_than_the_bucket_and_its_rate_and_none_in_a_pause(
    happens: list[tuple[float, Priority | int]],
) -> None:
    line, now = queue(), 0.0
    made: list[float] = []
    pauses: list[tuple[float, float]] = []
    for after_s, what in happens:
        made += [at for at, _ in drain(line, now, until=now + after_s)]
        now += after_s
        if isinstance(what, Priority):
            line.join(Caller(what, now))
        else:
            line.bucket.refuse(now, sent_at=now, retry_after_s=what)
            pauses.append((now, now + what))
        made += [now for _ in line.admit(now)]
        assert 1 <= line.bucket.ceiling <= POSTS.calls
    made += [at for at, _ in drain(line, now)]
    assert not any(start < at < end - 1e-6 for at in made for start, end in pauses)
    for first, at in enumerate(made):
        for last in range(first, len(made)):
            assert last - first + 1 <= POSTS.calls + (made[last] - at) + 1e-3


@given(st.integers(min_value=0, max_value=60), st.lists(priorities, min_size=1, max_size=40))
def test_after_a_refusal_the_pause_is_kept_and_then_calls_go_one_by_one(pause_s: int, waiting: list[Priority]) -> None:
    line = queue(Rate(calls=2, period_s=2))  # half of it is 1
    line.bucket.take()
    line.bucket.refuse(0.5, sent_at=0.0, retry_after_s=pause_s)
    join(line, *waiting, now=0.5)
    times = [at for at, _ in drain(line, 0.5)]
    assert times[0] >= 0.5 + pause_s and len(times) == len(waiting)
    assert all(later - earlier >= 1 - 1e-3 for earlier, later in pairwise(times))


@given(st.lists(priorities, max_size=60))
def test_answers_go_first_and_each_kind_in_its_order(waiting: list[Priority]) -> None:
    line = queue(Rate(calls=1, period_s=0.001))  # nobody waits for long enough to age
    join(line, *waiting)
    order = [caller for _, caller in drain(line, 0.0)]
    assert order == sorted(order, key=lambda caller: (caller.priority, caller.since))


def test_progress_leaves_most_of_a_bucket_to_the_answers_that_follow_it() -> None:
    line = queue()
    join(line, *[PROGRESS] * 20)
    assert len(line.admit(0.0)) == 6
    join(line, *[ANSWER] * 20, now=0.1)
    assert [caller.priority for caller in line.admit(0.1)] == [ANSWER] * 19


def test_what_no_answer_has_taken_for_a_while_is_open_to_progress() -> None:
    line = queue()
    join(line, *[PROGRESS] * 20)
    times = [at for at, _ in drain(line, 0.0)]
    assert times[5] == 0.0 and times[-1] <= RESERVED_S + 0.1


def test_progress_that_has_waited_long_takes_its_turn_however_many_answers_come() -> None:
    line, now = queue(Rate(calls=1, period_s=1)), 0.0
    (trace,) = join(line, PROGRESS)
    line.bucket.take()
    while line.next_s(now) is not None and now < 60:
        join(line, ANSWER, ANSWER, now=now + 0.5)  # twice as many as can go
        now += 1.0
        if trace in line.admit(now):
            break
    assert AGING_S <= now <= AGING_S + 1


def test_calls_that_were_under_way_together_halve_the_ceiling_once_and_it_does_not_fall_below_one() -> None:
    bucket = Bucket(POSTS, 0.0)
    for _ in range(20):
        bucket.refuse(1.0, sent_at=0.0, retry_after_s=1)
    assert bucket.ceiling == 12
    ceilings: list[int] = []
    for number in range(2, 8):
        bucket.refuse(float(number), sent_at=float(number), retry_after_s=1)
        ceilings.append(bucket.ceiling)
    assert ceilings == [6, 3, 1, 1, 1, 1]


@given(st.integers(min_value=0, max_value=40), st.floats(min_value=0, max_value=REGROW_S - 1))
def test_the_ceiling_grows_by_one_for_each_minute_without_a_refusal(minutes: int, more_s: float) -> None:
    bucket = Bucket(POSTS, 0.0)
    bucket.refuse(5.0, sent_at=0.0, retry_after_s=1)
    now = 5.0 + minutes * REGROW_S + more_s
    is_full = bucket.is_full(now)
    assert bucket.ceiling == min(12 + minutes, 25)
    assert bucket.level <= bucket.ceiling and is_full == (minutes >= 13)


@given(st.lists(priorities, max_size=40), priorities)
def test_the_wait_that_is_foretold_is_never_longer_than_the_real_one(waiting: list[Priority], own: Priority) -> None:
    line = queue(Rate(calls=5, period_s=5))
    join(line, *waiting)
    line.admit(0.0)
    caller = Caller(own, 0.5)
    foretold_s = line.wait_s(caller, 0.5)
    line.join(caller)
    admitted_at = next(at for at, each in drain(line, 0.5) if each is caller)
    assert foretold_s <= admitted_at - 0.5 + 1e-3


# --- people ---

people = st.sampled_from(["ann", "bob", "eve"]).map(Share)


def test_another_person_is_the_next_but_one_behind_a_flood() -> None:
    line = queue()
    flood = [Caller(ANSWER, 0.0, Share("ann", "1")) for _ in range(60)]
    for caller in flood:
        line.join(caller)
    assert len(line.admit(0.0)) == 25
    quiet = Caller(ANSWER, 0.5, Share("bob", "2"))
    assert line.wait_s(quiet, 0.5) < 1
    line.join(quiet)
    times = drain(line, 0.5)
    assert [caller for _, caller in times].index(quiet) <= 1
    assert next(at for at, caller in times if caller is quiet) <= 2.0


def test_answers_go_before_the_progress_of_others_whoever_they_are() -> None:
    line = queue(Rate(calls=1, period_s=1))
    line.bucket.take()
    trace = Caller(PROGRESS, 0.0, Share("bob"))
    answers = [Caller(ANSWER, 0.1, Share("ann")) for _ in range(3)]
    for caller in (trace, *answers):
        line.join(caller)
    assert [caller for _, caller in drain(line, 0.1, until=6.0)] == [*answers, trace]


@given(st.lists(st.tuples(priorities, people), max_size=40), st.tuples(priorities, people))
def test_the_wait_that_is_foretold_is_never_longer_than_the_real_one_among_several_people(
    waiting: list[tuple[Priority, Share]], own: tuple[Priority, Share]
) -> None:
    line = queue(Rate(calls=5, period_s=5))
    for number, (priority, share) in enumerate(waiting):
        line.join(Caller(priority, 1e-6 * number, share))
    line.admit(0.0)
    caller = Caller(own[0], 0.5, own[1])
    foretold_s = line.wait_s(caller, 0.5)
    line.join(caller)
    admitted_at = next(at for at, each in drain(line, 0.5) if each is caller)
    assert foretold_s <= admitted_at - 0.5 + 1e-3
