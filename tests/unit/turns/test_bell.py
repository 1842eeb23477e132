"""The bell, and what rings it from other processes."""

from __future__ import annotations

import pytest

from bot.ports.cluster_store import Topic
from bot.turns.bell import Bell


@pytest.mark.parametrize("topic", ["work", "signals", "asks"])
def test_what_another_process_tells_of_rings_for_that_and_for_nothing_else(topic: Topic) -> None:
    bell = Bell()
    bell.hear(topic)
    rung = {"work": bell.work.is_set(), "signals": bell.signals.is_set(), "asks": bell.asks.is_set()}
    assert [name for name, is_set in rung.items() if is_set] == [topic]
