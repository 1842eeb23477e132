"""Whose turn it is, whatever has happened before."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.rota import Rota, Share

A, B = Share("ann", "1"), Share("bob", "1")
people = st.sampled_from(["ann", "bob", "eve"])
shares = st.builds(Share, people, st.sampled_from(["1", "2"]))


def served(rota: Rota, waiting: list[Share], *, turns: int) -> list[Share]:
    """Serve so many of those that wait, and return who it was."""
    order: list[Share] = []
    for _ in range(turns):
        share = min(waiting, key=rota.rank)
        waiting.remove(share)
        rota.serve(share)
        order.append(share)
    return order


def joined(*waiting: Share) -> tuple[Rota, list[Share]]:
    rota = Rota()
    for share in waiting:
        rota.join(share)
    return rota, list(waiting)


def test_people_take_turns_however_many_one_has() -> None:
    rota, waiting = joined(*[A] * 50, B, B)
    assert served(rota, waiting, turns=6) == [A, B, A, B, A, A]


def test_of_one_person_the_conversations_take_turns() -> None:
    other = Share("ann", "2")
    rota, waiting = joined(A, A, A, other, B)
    assert served(rota, waiting, turns=5) == [A, B, other, A, A]


def test_someone_who_comes_late_is_next_and_has_saved_nothing_up() -> None:
    rota, waiting = joined(*[A] * 50)
    served(rota, waiting, turns=20)
    for _ in range(3):
        rota.join(B)
        waiting.append(B)
    order = served(rota, waiting, turns=6)
    assert B in order[:2] and A in order[:3] and order.count(B) == 3


def test_what_costs_more_leaves_more_turns_to_others() -> None:
    rota, waiting = joined(*[A] * 5, *[B] * 20)
    order: list[Share] = []
    while len(order) < 12:
        share = min(waiting, key=rota.rank)
        waiting.remove(share)
        rota.serve(share, cost=5 if share == A else 1)
        order.append(share)
    assert Counter(order) == {A: 2, B: 10}


@given(st.lists(shares, min_size=1, max_size=60))
def test_nobody_who_waits_gets_two_turns_less_than_another_who_waits(waiting: list[Share]) -> None:
    rota, left = joined(*waiting)
    counts = {share.person: 0 for share in waiting}
    while left:
        (share,) = served(rota, left, turns=1)
        counts[share.person] += 1
        still = [counts[person] for person in {each.person for each in left}]
        assert not still or counts[share.person] - min(still) <= 1


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "serve"]), shares), max_size=80))
def test_any_history_ranks_all_that_wait_and_is_forgotten_once_no_one_waits(history: list[tuple[str, Share]]) -> None:
    rota, waiting = Rota(), list[Share]()
    for what, share in history:
        if what == "join":
            rota.join(share)
            waiting.append(share)
        elif share in waiting:
            waiting.remove(share)
            (rota.leave if what == "leave" else rota.serve)(share)
    assert all(0 <= tag <= len(history) for share in waiting for tag in rota.rank(share))
    for share in waiting:
        rota.leave(share)
    rota.join(A)
    assert rota.rank(A) == (0.0, 0.0)
