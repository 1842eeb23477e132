"""Payloads of platforms, in any shape."""

from __future__ import annotations

from adapters.shared.payloads import MAX_ITEMS, dicts_of, list_of


def test_of_an_endless_list_the_beginning_is_read() -> None:
    assert len(list_of([1] * 100_000)) == MAX_ITEMS
    assert dicts_of([{"n": number} for number in range(100_000)])[-1] == {"n": MAX_ITEMS - 1}


def test_a_list_is_read_as_it_is_where_it_is_known_to_be_long() -> None:
    assert len(list_of([1] * 5_000, at_most=10_000)) == 5_000
