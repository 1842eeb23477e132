"""Which threads are remembered, to be searched for what was missed."""

from __future__ import annotations

import json

from adapters.slack.backfill import MAX_THREADS, Threads
from adapters.slack.parse import conversation_key
from tests.unit.adapters.slack.test_installs import MemoryNotes


async def remembered(*asked: str) -> list[str]:
    """Ask the bot something in these threads, one after the other; return those that it has noted."""
    notes = MemoryNotes()
    threads = Threads(notes)
    for thread in asked:
        await threads.note(conversation_key("T1", "C1", thread))
    return json.loads(notes.kept["slack/channel/T1/C1"])


async def test_the_threads_that_were_used_last_are_remembered() -> None:
    threads = [f"17000000{number:02}.000100" for number in range(MAX_THREADS + 1)]
    assert await remembered(*threads) == threads[1:]


async def test_a_thread_that_goes_on_for_long_is_not_forgotten_for_newer_ones() -> None:
    first, *others = [f"17000000{number:02}.000100" for number in range(MAX_THREADS)]
    later = ["1700000100.000100", "1700000101.000100"]
    noted = await remembered(first, *others, first, *later)
    assert first in noted
    assert len(noted) == MAX_THREADS
    assert not {*others[:2]} & {*noted}


async def test_after_a_restart_the_channels_that_were_used_last_come_first() -> None:
    notes = MemoryNotes()
    before = Threads(notes)
    for channel, thread in (("C1", "1700000001.000100"), ("C2", "1700000002.000100"), ("C1", "1700000003.000100")):
        await before.note(conversation_key("T1", channel, thread))
    threads = Threads(notes)
    await threads.recall()
    assert threads.newest_first() == [
        ("T1", "C1", ["1700000001.000100", "1700000003.000100"]),
        ("T1", "C2", ["1700000002.000100"]),
    ]
    assert [*threads.teams()] == ["T1"]
