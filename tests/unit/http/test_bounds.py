"""How many may connect follows from how many descriptors there are."""

from __future__ import annotations

import pytest

from bot.http.bounds import bounds_for


@pytest.mark.parametrize(
    ("descriptors", "connections", "unfinished_each"),
    [(None, 512, 128), (1_000_000, 512, 128), (1_024, 256, 64), (256, 64, 16), (10, 8, 4)],
)
def test_connections_take_a_quarter_of_the_descriptors_at_most(
    descriptors: int | None, connections: int, unfinished_each: int
) -> None:
    bounds = bounds_for(descriptors)
    assert (bounds.connections, bounds.unfinished_each) == (connections, unfinished_each)
