"""References of messages that grow, as the next process finds them."""

from __future__ import annotations

from adapters.shared.kept import KeptMessages
from tests.fakes.hosts import MemoryNotes


async def test_the_next_process_finds_what_was_kept_of_the_turn_and_of_no_other_until_it_is_forgotten() -> None:
    notes = MemoryNotes()
    await KeptMessages(notes=notes, platform="slack", turn_id=1).keep(0, "1.1")
    await KeptMessages(notes=notes, platform="slack", turn_id=12).keep(1, "1.2")
    await KeptMessages(notes=notes, platform="discord", turn_id=1).keep(0, "7")
    next_one = KeptMessages(notes=notes, platform="slack", turn_id=1)
    assert await next_one.read() == {0: "1.1"}
    assert await next_one.of_others() == {"1.2"}
    await KeptMessages(notes=notes, platform="slack", turn_id=1, kind="trace").keep(0, "1.3")
    assert await next_one.read() == {0: "1.1"}
    await next_one.forget()
    assert sorted(notes.kept) == ["discord/live/1/0", "slack/live/12/1", "slack/trace/1/0"]


async def test_a_turn_of_which_nothing_grew_costs_nothing() -> None:
    notes = MemoryNotes()
    await KeptMessages(notes=notes, platform="slack", turn_id=1).forget()
    assert notes.kept == {}
