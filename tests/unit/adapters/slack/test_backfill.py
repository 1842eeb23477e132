"""Which threads are remembered, to be looked through for what was missed."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from adapters.slack.api import Web
from adapters.slack.backfill import MAX_THREADS, Backfill
from adapters.slack.identities import Identities
from adapters.slack.installs import OneToken
from adapters.slack.parse import conversation_key
from tests.unit.adapters.slack.test_installs import MemoryNotes


async def remembered(*threads: str) -> list[str]:
    """Let the bot be asked something in these threads, one after the other; return those that it has noted."""
    notes = MemoryNotes()

    async def take(event: object) -> None:
        raise AssertionError(f"nothing is fetched: {event}")

    async with aiohttp.ClientSession() as session:
        web = Web(OneToken("xoxb-test"), session)
        details: dict[str, Any] = {"max_age_s": 900.0, "tick_s": 10.0, "take": take}
        backfill = Backfill(web, identities=Identities(web), notes=notes, **details)
        for thread in threads:
            await backfill.note(conversation_key("T1", "C1", thread))
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
